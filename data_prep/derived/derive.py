"""From a genome and its annotation to a labelled data set: the engine of `prepare promoters`, `splice` and `tfbs`.

The sequence is read once, a contig at a time. Positives are cut and negatives found while their contig is in memory;
of what came before only examples are kept.
"""

import contextlib
import dataclasses
import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.derived.contigs import ContigSource, read_contigs
from data_prep.derived.derivation import Derivation
from data_prep.derived.examples import Examples
from data_prep.derived.job import DerivedJob
from data_prep.derived.manifest import FILE_NAME, TABLE, DerivedManifest
from data_prep.derived.splits import SPLITS
from data_prep.derived.table import Names, write_array_record, write_table
from data_prep.derived.task import Notes, Task
from data_prep.sources import sequence_files
from dnabert_jax.data.manifest import file_digest
from dnabert_jax.io.bed import read_bed
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.text import valid_unicode
from dnabert_jax.output_directory import output_directory
from dnabert_jax.storage import Location, file_name, local_copy
from dnabert_jax.typed_json import to_json

Progress = Callable[[str, int, int | None], object]
"""Is told of a phase, what was done of it since the last call, and its whole if known. Phases are "download",
"annotation", which is read in one go, and "upload", in bytes, "read", in letters, and "write", in examples."""

_LEAK = (
    "for validation alone; the test is for the chosen model (the paper's code makes one dev.tsv, and both chooses and "
    "measures on it: run_finetune.py, process_690.py)"
)


@dataclasses.dataclass(frozen=True)
class Background:
    """Holds the genome and the blacklist that several data sets share.

    Attributes:
        contigs: the records of the genome.
        blacklist: intervals that no example may touch, by contig.
        left_out: lines of the blacklist that are not used.
        sources: name, size and SHA-256 of the files of both.
    """

    contigs: ContigSource
    blacklist: dict[str, list[tuple[int, int]]]
    left_out: LeftOut
    sources: list[dict[str, Any]]


@contextlib.contextmanager
def read_background(job: DerivedJob, scratch: Path, progress: Progress) -> Iterator[Background]:
    """Yields the background of a job, whose blacklist is read and whose genome is read when it is asked for.

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
        contigs = functools.partial(read_contigs, files, progress=lambda letters: progress("read", letters, None))
        yield Background(contigs, dict(blacklist), left_out, sources)


def derive(
    task: Task,
    progress: Progress = lambda _phase, _done, _total: None,
    background: Background | None = None,
) -> DerivedManifest:
    """Makes the directory `task.job.out` and returns its manifest; an error leaves nothing there.

    Args:
        background: of the job; read here if not given.
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
        derivation = Derivation(task, sites, background.blacklist, notes)
        for contig in background.contigs(derivation.wanted, derivation.records):
            derivation.add(contig)
        examples = derivation.finished()
        check = derivation.check
        assembly = check.figures(str(task.annotation)) if check.seen.total() else {}
        split, figures = derivation.split(examples)
        contigs = [valid_unicode(contig) for contig in derivation.contigs]
        names = Names(task.set_name, contigs, task.labels, task.groups, task.origins)
        order = np.argsort(split, kind="stable")
        examples, of_split = examples.take(order), [SPLITS[number] for number in split[order]]
        write_table(directory / TABLE, examples, of_split, names)
        write_array_record(
            directory, examples, of_split, names, f"{task.name}, {task.protocol}: see manifest.json",
            lambda rows: progress("write", rows, len(examples)),
        )  # fmt: skip
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
            missing=dict(+notes.missing),
            contigs=derivation.contig_report(),
            assembly=assembly,
            splits=_counts(examples, of_split, names),
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
    """The job's settings without where its files lie; what the protocol gives in place of what was not given."""
    settled = {"length": task.length, "negatives": dict(zip(task.groups, task.kinds, strict=True))}
    settled |= {"negative_ratio": task.ratio, "maximum_per_label": task.maximum}
    files = ("fasta", "out", "gtf", "peaks", "blacklist")
    return {name: value for name, value in dataclasses.asdict(task.job).items() if name not in files} | settled


def _rules(task: Task) -> dict[str, str]:
    job = task.job
    rules = task.rules | {kind: task.kind_rules[kind] for kind in task.origins[1:]}
    rules["coordinates"] = "0-based, half-open, of the forward strand; what is made of a positive has that one's"
    rules["ambiguous bases"] = "no window has N or another ambiguity letter; lower case is read as upper case"
    rules["negative windows"] = (
        f"at least {job.negative_distance} bases from every site or peak (decoys excepted), outside of the blacklist"
    )
    rules["duplicates"] = "of examples with one sequence, on either strand, one is kept, a positive before a negative"
    rules["splits"] = (
        "by contig"
        if job.test_contigs
        else f"by locus: examples with fewer than {job.locus_distance} bases between them are in one split"
    )
    rules["model selection"] = _LEAK
    return rules


def _counts(examples: Examples, split: list[str], names: Names) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {name: {} for name in SPLITS if name in set(split)}
    columns = {
        "label": (examples.label, names.labels),
        "group": (examples.group, names.groups),
        "origin": (examples.origin, names.origins),
    }
    for column, (numbers, values) in columns.items():
        for (name, number), count in Counter(zip(split, numbers.tolist(), strict=True)).items():
            counts[name].setdefault(column, {})[values[number]] = count
    return counts
