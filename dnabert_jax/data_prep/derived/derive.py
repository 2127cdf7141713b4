"""From a genome and its annotation to a labelled data set: the engine of `prepare promoters`, `splice` and `tfbs`.

The sequence is read once, into a temporary file that is mapped into memory. Positives are cut and negatives found a
contig at a time; of what came before only examples are kept.
"""

import contextlib
import dataclasses
import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dnabert_jax.data.manifest import EXAMPLES_FORMAT, FILE_NAME, file_digest
from dnabert_jax.data_prep.derived.contigs import Contigs, Examples, copy_contigs
from dnabert_jax.data_prep.derived.derivation import SPLITS, Derivation, assembly_figures
from dnabert_jax.data_prep.derived.table import TABLE, write_array_record, write_table
from dnabert_jax.data_prep.derived.task import DerivedJob, Notes, Task
from dnabert_jax.data_prep.sources import SequenceFile, sequence_files
from dnabert_jax.io.bed import read_bed
from dnabert_jax.io.contigs import contig_key
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.text import valid_unicode
from dnabert_jax.outputs import output_directory
from dnabert_jax.storage import Location, file_name, local_copy, scratch_directory
from dnabert_jax.typed_json import to_json

Progress = Callable[[str, int, int | None], object]
"""Is told of a phase, what was done of it since the last call, and its whole if known. Phases are "download",
"annotation", which is read in one go, and "upload", in bytes, "read", in letters, and "write", in examples."""


@dataclasses.dataclass(frozen=True)
class DerivedManifest:
    """A whole data set.

    Attributes:
        name: of the data set: its peak file without endings, or its task.
        choices: every setting in force, by its flag's name.
        rules: what they mean, in words.
        sources: name, size and SHA-256 of each file that was read.
        labels: names in the order of their numbers, the negatives' first.
        left_out: positives that are no example, and duplicates, by reason.
        left_out_examples: the first few of each reason.
        remarks: what is unusual about the annotation.
        missing: negatives that were not found, by kind.
        contigs: number of positives on each contig that the sequence does not have (`absent`), and the names that
            were taken for one another (`renamed`).
        assembly: how many introns have GT and AG, if there are introns.
        splits: examples of each split, by label, group and origin.
        gc_content: mean share of C and G of the examples of each origin.
        loci: their number, and the share of the examples in the largest.
        files: SHA-256 of each other file, by name.
    """

    name: str
    task: str
    protocol: str
    choices: dict[str, Any]
    rules: dict[str, str]
    sources: list[dict[str, Any]]
    labels: tuple[str, ...]
    read: dict[str, int]
    left_out: dict[str, int]
    missing: dict[str, int]
    contigs: dict[str, dict[str, Any]]
    assembly: dict[str, int | float]
    splits: dict[str, dict[str, dict[str, int]]]
    gc_content: dict[str, float]
    loci: dict[str, int | float]
    files: dict[str, str]
    left_out_examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    format: str = EXAMPLES_FORMAT


@dataclasses.dataclass(frozen=True)
class Background:
    """Holds the genome and the blacklist that several data sets share.

    Attributes:
        files: the genome.
        blacklist: intervals that no example may touch, by contig.
        left_out: lines of the blacklist that are not used.
        sources: name, size and SHA-256 of the files of both.
        contigs: the records of the genome, if they were read.
    """

    files: list[SequenceFile]
    blacklist: dict[str, list[tuple[int, int]]]
    left_out: LeftOut
    sources: list[dict[str, Any]]
    contigs: Contigs | None = None


@contextlib.contextmanager
def read_background(job: DerivedJob, scratch: Path, progress: Progress) -> Iterator[Background]:
    """Yields the background of a job, of which the blacklist is read.

    Args:
        scratch: directory for copies of what lies on a store.
    """

    def downloaded(done: int) -> None:
        progress("download", done, None)

    blacklist: dict[str, list[tuple[int, int]]] = defaultdict(list)
    left_out, sources = LeftOut(), []
    with contextlib.ExitStack() as stack:
        for location in job.blacklist:
            path = stack.enter_context(local_copy(location, scratch, downloaded))
            for interval in read_bed(path, left_out, str(location)):
                blacklist[interval.contig].append((interval.start, interval.end))
            sources.append(_source(location, path))
        files = stack.enter_context(sequence_files(job.fasta, scratch, downloaded))
        sources += [_source(file.location, file.path) for file in files]
        yield Background(files, dict(blacklist), left_out, sources)


def derive(
    task: Task, progress: Progress = lambda _phase, _done, _total: None, background: Background | None = None
) -> DerivedManifest:
    """Makes the directory `task.job.out` and returns its manifest; an error leaves nothing there.

    Args:
        background: of the job, with contigs; read here if not given.
    """
    job, notes = task.job, Notes()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(output_directory(job.out, FILE_NAME, functools.partial(progress, "upload")))
        annotation = stack.enter_context(
            local_copy(task.annotation, directory, lambda done: progress("download", done, None))
        )
        size = annotation.stat().st_size if annotation.is_file() else 0
        progress("annotation", 0, size)
        sites = task.read(annotation, notes)
        progress("annotation", size, size)
        background = background or stack.enter_context(read_background(job, directory, progress))
        notes.left_out.update(background.left_out)
        contigs = background.contigs
        if contigs is None:
            target = stack.enter_context(scratch_directory(directory)) / "genome"
            wanted = {contig_key(name) for name in sites}
            contigs = copy_contigs(background.files, wanted, target, lambda done: progress("read", done, None))
        derivation = Derivation(task, sites, contigs, notes)
        contig_of = {name: contig for contig, name in derivation.used.items()}
        examples, introns = derivation.examples(background.blacklist)
        assembly = assembly_figures(introns, str(task.annotation))
        split, figures = derivation.split(examples)
        names = list(map(valid_unicode, derivation.used))
        order = np.argsort(split, kind="stable")
        examples, of_split = examples.take(order), [SPLITS[number] for number in split[order]]
        write_table(directory / TABLE, examples, of_split, task, names)
        write_array_record(
            directory, examples, of_split, task, names, lambda rows: progress("write", rows, len(examples))
        )
        manifest = DerivedManifest(
            name=task.set_name,
            task=task.name,
            protocol=task.protocol,
            choices=choices(task),
            rules=_rules(task),
            sources=[_source(task.annotation, annotation), *background.sources],
            labels=task.labels,
            read=dict(notes.read),
            left_out=dict(+notes.left_out.counts),
            left_out_examples={reason: listed for reason, listed in notes.left_out.examples.items() if listed},
            remarks=tuple(notes.left_out.remarks),
            missing=dict(notes.missing),
            contigs={
                "absent": {name: len(own.start) for name, own in sites.items() if name not in contig_of},
                "renamed": {name: contig_of[name] for name in sites if contig_of.get(name, name) != name},
            },
            assembly=assembly,
            splits=_counts(examples, of_split, task),
            gc_content={
                origin: float((examples.codes[examples.origin == number] >= 2).mean())
                for number, origin in enumerate(task.origins)
                if (examples.origin == number).any()
            },
            loci=figures,
            # Neither copies of sources nor the mark of the directory.
            files={
                path.name: file_digest(path)
                for path in sorted(directory.iterdir())
                if path.is_file() and not path.name.startswith(".")
            },
        )
        (directory / FILE_NAME).write_text(to_json(manifest), "utf-8")
    return manifest


def _source(location: Location, path: Path) -> dict[str, Any]:
    return {"name": file_name(location), "bytes": path.stat().st_size, "sha256": file_digest(path)}


def choices(task: Task) -> dict[str, object]:
    """Returns the job's settings, except where its files lie, with what the protocol gives for those not given."""
    settled = {"length": task.length, "negatives": dict(zip(task.groups, task.kinds, strict=True))}
    settled |= {"negative_ratio": task.ratio, "maximum_per_label": task.maximum}
    files = ("fasta", "out", "gtf", "peaks", "blacklist")
    return {name: value for name, value in dataclasses.asdict(task.job).items() if name not in files} | settled


def _rules(task: Task) -> dict[str, str]:
    job = task.job
    by_locus = f"by locus: examples with fewer than {job.locus_distance} bases between them are in one split"
    return {
        **task.rules,
        **{kind: task.kind_rules[kind] for kind in task.origins[1:]},
        "coordinates": "0-based, half-open, of the forward strand; what is made of a positive has that one's",
        "ambiguous bases": "no window has N or another ambiguity letter; lower case is read as upper case",
        "negative windows": f"at least {job.negative_distance} bases from every site or peak (decoys excepted), "
        "outside of the blacklist",
        "duplicates": "of examples with one sequence, on either strand, one is kept, a positive before a negative",
        "splits": "by contig" if job.test_contigs else by_locus,
        "model selection": "for validation alone; the test is for the chosen model (the paper's code makes one "
        "dev.tsv, and both chooses and measures on it: run_finetune.py, process_690.py)",
    }


def _counts(examples: Examples, split: list[str], task: Task) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {name: {} for name in SPLITS if name in set(split)}
    columns = {
        "label": (examples.label, task.labels),
        "group": (examples.group, task.groups),
        "origin": (examples.origin, task.origins),
    }
    for column, (numbers, values) in columns.items():
        for (name, number), count in Counter(zip(split, numbers.tolist(), strict=True)).items():
            counts[name].setdefault(column, {})[values[number]] = count
    return counts
