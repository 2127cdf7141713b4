"""From a genome and its annotation to a labelled data set: the engine of `prepare promoters`, `splice` and `tfbs`.

The sequence is read once, into a temporary file that is mapped into memory. Positives are cut and negatives found a
contig at a time; of what came before only examples are kept. Then all are split.
"""

import contextlib
import dataclasses
import functools
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int8, Int64, Integer

from dnabert_jax.data.manifest import EXAMPLES_FORMAT, FILE_NAME, file_digest
from dnabert_jax.data_prep.derived.contigs import (
    Contig,
    Contigs,
    ContigSites,
    Examples,
    Place,
    Regions,
    copy_contigs,
    first_of_each,
    joined,
    smallest_keys,
)
from dnabert_jax.data_prep.derived.table import write_examples
from dnabert_jax.data_prep.derived.tasks import ACCEPTOR, DONOR, KIND_RULES, DerivedJob, Notes, Task
from dnabert_jax.data_prep.sources import SequenceFile, sequence_files
from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import loci, read_bed
from dnabert_jax.io.contigs import ContigNames, contig_key
from dnabert_jax.io.left_out import BEYOND, LeftOut
from dnabert_jax.io.text import first_few, valid_unicode
from dnabert_jax.outputs import output_directory
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes
from dnabert_jax.storage import Location, file_name, local_copy, scratch_directory
from dnabert_jax.typed_json import to_json

SPLITS = ("train", "validation", "test")

_ENOUGH, _HALF = 20, 0.5
_SLACK = 4
"""Times the maximum of each label that may wait to be thinned out."""

_NAMED = 5
"""Contigs that an error names at most."""

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
    """

    files: list[SequenceFile]
    blacklist: dict[str, list[tuple[int, int]]]
    left_out: LeftOut
    sources: list[dict[str, Any]]


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
    task: Task, progress: Progress = lambda *_: None, genome: tuple[Background, Contigs] | None = None
) -> DerivedManifest:
    """Makes the directory `task.job.out` and returns its manifest; an error leaves nothing there.

    Args:
        genome: the background of the job and all records; they are read here if not given.
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
        if genome is None:
            background = stack.enter_context(read_background(job, directory, progress))
            target = stack.enter_context(scratch_directory(directory)) / "genome"
            wanted = {contig_key(name) for name in sites}
            contigs = copy_contigs(background.files, wanted, target, lambda done: progress("read", done, None))
        else:
            background, contigs = genome
        notes.left_out.update(background.left_out)
        derivation = Derivation(task, sites, contigs, notes)
        contig_of = {name: contig for contig, name in derivation.used.items()}
        examples, introns = derivation.examples(background.blacklist)
        assembly = assembly_figures(introns, str(task.annotation))
        split, figures = derivation.split(examples)
        names = list(map(valid_unicode, derivation.used))
        order = np.argsort(split, kind="stable")
        examples, of_split = examples.take(order), [SPLITS[number] for number in split[order]]
        write_examples(directory, examples, of_split, task, names, lambda done: progress("write", done, len(examples)))
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
        **{kind: KIND_RULES[kind] for kind in task.origins[1:]},
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
    for column, values in (("label", task.labels), ("group", task.groups), ("origin", task.origins)):
        for (name, number), count in Counter(zip(split, getattr(examples, column).tolist(), strict=True)).items():
            counts[name].setdefault(column, {})[values[number]] = count
    return counts


class Derivation:
    """The work on one task.

    Args:
        sites: positives, by contig as the annotation names it.
        notes: takes up what is left out.

    Attributes:
        used: the annotation's name of each contig that has sites.
    """

    def __init__(self, task: Task, sites: Mapping[str, ContigSites], contigs: Contigs, notes: Notes):
        self._task, self._sites, self._contigs, self._notes = task, sites, contigs, notes
        self._records, records_so_far = ContigNames(contigs.places), ContigNames()
        self.used: dict[str, str] = {}
        # Seeds the splits. It counts what was not meant after all, too: chrM, which MT stands for until chrMT follows.
        self._contigs_tried = 0
        alike = defaultdict(list)
        for name in sites:
            alike[contig_key(name)].append(name)
        for contig, (first, end) in contigs.places.items():
            records_so_far.add(contig)
            candidates = alike[contig_key(contig)] if end > first else []
            self._contigs_tried += any(records_so_far.find(name) == contig for name in candidates)
            names = [name for name in candidates if self._records.find(name) == contig]
            if len(names) > 1:
                raise InputError(
                    f"{task.annotation} names the contig {contig} in several ways: {', '.join(names)}. Use one of them."
                )
            if names:
                self.used[contig] = names[0]

    def examples(self, blacklist: Mapping[str, Sequence[tuple[int, int]]]) -> tuple[Examples, Int64[np.ndarray, "2 2"]]:
        """Returns all examples, each sequence once, by contig and place, and the sum of their `canonical_ends`.

        Args:
            blacklist: intervals that no example may touch, by contig.

        Raises:
            InputError: there are no positives, or no negatives.
        """
        task, left_out = self._task, self._notes.left_out
        intervals: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for name, listed in blacklist.items():
            intervals[contig_key(name)] += listed
        introns, parts = np.zeros((2, 2), np.int64), []
        for number, (contig, name) in enumerate(self.used.items()):
            # Of the contig's own name, so that other contigs do not change what is drawn.
            rng = np.random.default_rng([task.job.seed, zlib.crc32(contig.encode("utf-8", "surrogateescape"))])
            place = Place(self._contigs[contig], self._sites[name], Regions(intervals[contig_key(contig)]), rng)
            introns += canonical_ends(place.contig, place.sites.dinucleotides)
            positives = self._positives(place, number)
            parts += [positives, *self._negatives(place, positives)]
            if task.maximum is not None and sum(map(len, parts)) > _SLACK * task.maximum * len(task.labels):
                parts = [smallest_keys(joined(parts), task.maximum)]
        self._check_positives(sum(int((part.label > 0).sum()) for part in parts))
        examples = joined(parts)
        if task.maximum is not None:
            examples = smallest_keys(examples, task.maximum)
        first = first_of_each(examples)
        left_out.add("another example has their sequence, on either strand", count=int((~first).sum()))
        examples = examples.take(first)
        examples = examples.take(np.lexsort((examples.origin, examples.reverse, examples.start, examples.contig)))
        if not (examples.label == 0).any():
            missing = "; ".join(f"{kind}: {count:,} not found" for kind, count in self._notes.missing.items())
            raise InputError(f"No negatives were found for {task.annotation} ({missing or 'none were asked for'}).")
        return examples, introns

    def _positives(self, place: Place, number: int) -> Examples:
        """Returns the positives of a contig, which has this number in the examples, and counts those left out."""
        task, contig, length = self._task, place.contig, self._task.length

        def leave_out(reason: str, starts: Int64[np.ndarray, " n"]) -> None:
            if len(starts):
                listed = (f"{contig.name}:{start}-{start + length}" for start in starts[:3].tolist())
                self._notes.left_out.add(reason, *listed, count=len(starts))

        inside = contig.inside(place.sites.start, length)
        leave_out(BEYOND, place.sites.start[~inside])
        start, reverse, label = (
            column[inside] for column in (place.sites.start, place.sites.reverse, place.sites.label)
        )
        codes = contig.cut(start, reverse, length)
        fits = np.ones(len(start), bool)
        reasons = {
            "they have N or another ambiguity letter": (codes >= AMBIGUOUS).any(axis=1),
            "they touch the blacklist": place.blacklist.overlap(start, length),
            **task.unfit(codes, label),
        }
        for reason, rows in reasons.items():
            leave_out(reason, start[rows & fits])
            fits &= ~rows
        count = int(fits.sum())
        return Examples(
            contig=np.full(count, number, np.int32),
            start=start[fits],
            reverse=reverse[fits],
            label=label[fits],
            group=task.group(codes[fits]),
            origin=np.zeros(count, np.int8),
            key=place.rng.random(count),
            codes=codes[fits],
        )

    def _negatives(self, place: Place, positives: Examples) -> Iterator[Examples]:
        """Yields the negatives of a contig, kind by kind, and counts those not found."""
        task = self._task
        for group, kinds in enumerate(task.kinds):
            sources = positives.take(positives.group == group)
            for kind in kinds if len(sources) else ():
                templates = sources.take(_repeated(len(sources), task.ratio, place.rng))
                negatives = task.negatives(kind, place, templates)
                if lacking := len(templates) - len(negatives):
                    self._notes.missing[kind] += lacking
                yield dataclasses.replace(
                    negatives,
                    label=np.zeros(len(negatives), np.int8),
                    origin=np.full(len(negatives), task.origins.index(kind), np.int8),
                    key=place.rng.random(len(negatives)),
                )

    def _check_positives(self, positives: int) -> None:
        """Counts sites on contigs that are not used; raises InputError if there are no positives."""
        left_out, records, names = self._notes.left_out, self._records, set(self.used.values())
        for name, absent in self._sites.items():
            if name not in names:
                reason = records.why_not(name) if records.find(name) is None else "their contig has no bases"
                left_out.add(reason, name, count=len(absent.start))
        windows = sum(len(self._sites[name].start) for name in names)
        advice = ""
        if not names:
            advice = f"The records of the sequence are {first_few(records, _NAMED)}."
        elif 2 * left_out.counts[BEYOND] >= windows:
            advice = f"Is {self._task.annotation} of another build than the genome?"
            left_out.remark(
                f"{left_out.counts[BEYOND]:,} of {windows:,} windows reach beyond the ends of their contigs. {advice}"
            )
        left_out.check_some_left(positives, f"windows of {self._task.annotation}", advice)

    def split(self, examples: Examples) -> tuple[Int8[np.ndarray, " n"], dict[str, int | float]]:
        """Returns the number in SPLITS of each example; and how many loci there are, and the share of the largest."""
        task, job = self._task, self._task.job
        locus = loci(examples.contig, examples.start, examples.start + task.length, job.locus_distance)
        sizes = np.bincount(locus)
        figures = {"number": len(sizes), "largest share": float(sizes.max() / len(examples))}
        if job.test_contigs:
            validation, test = (
                {known_contig(self._records, name) for name in names}
                for names in (job.validation_contigs, job.test_contigs)
            )
            return split_contigs(examples.contig, list(self.used), validation, test), figures
        kind = examples.label.astype(np.int64) * len(task.groups) + examples.group
        rng = np.random.default_rng([job.seed, self._contigs_tried])
        return split_loci(locus, kind, job.validation_fraction, job.test_fraction, rng), figures


def split_loci(
    locus: Int64[np.ndarray, " n"],
    kind: Integer[np.ndarray, " n"],
    validation: float,
    test: float,
    rng: np.random.Generator,
) -> Int8[np.ndarray, " n"]:
    """Returns the number in SPLITS of each example: loci in random order, each to the split that lacks most of it.

    Args:
        kind: of each example, 0-based; each split gets about the same share of every kind.
    """
    counts = np.zeros((int(locus.max()) + 1, int(kind.max()) + 1))
    np.add.at(counts, (locus, kind), 1)
    shares = np.array([1 - validation - test, validation, test])
    target = np.outer(shares, counts.sum(axis=0))
    # A kind without examples lacks nothing.
    whole = np.where(target > 0, target, np.inf)
    room = np.where(shares > 0, target.sum(axis=1) + 1, 0).tolist()
    filled = np.zeros_like(target)
    chosen = np.zeros(len(counts), np.int8)
    sizes = counts.sum(axis=1).tolist()
    for number in rng.permutation(len(counts)).tolist():
        own, size = counts[number], sizes[number]
        # What is left of each split's target, as a share of it; a locus too large for all is trained on.
        lacks = ((target - filled) / whole @ own).tolist()
        split = max(range(len(SPLITS)), key=lambda s: lacks[s] if size <= room[s] else -math.inf)
        chosen[number] = split
        filled[split] += own
        room[split] -= size
    for name, share, got in zip(SPLITS, shares, filled.sum(axis=1), strict=True):
        if share > 0 and not got:
            raise InputError(
                f"The examples make {len(counts):,} loci, too few or too large for the split {name!r}: lower "
                "--locus-distance, or choose its contigs with --validation-contigs and --test-contigs."
            )
    return chosen[locus]


def split_contigs(
    contig: Integer[np.ndarray, " n"], names: list[str], validation: set[str], test: set[str]
) -> Int8[np.ndarray, " n"]:
    """Returns the number in SPLITS of each example, by its contig.

    Args:
        validation, test: names of the contigs of these splits; the others are for training.
    """
    of_contig = np.array([1 if name in validation else 2 if name in test else 0 for name in names], np.int8)
    split = of_contig[contig]
    for number, name in enumerate(SPLITS):
        if not (split == number).any():
            given = ", ".join(sorted((set(names) - validation - test, validation, test)[number])) or "no contig"
            raise InputError(f"The split {name!r} has no examples: they would come from {given}.")
    return split


def canonical_ends(contig: Contig, ends: Int64[np.ndarray, "d 3"]) -> Int64[np.ndarray, "2 2"]:
    """Counts donors and those that are GT, and acceptors and those that are AG, in certain bases of a contig."""
    ends = ends[contig.inside(ends[:, 0], 2)]
    codes = contig.cut(ends[:, 0], ends[:, 1] == 1, 2)
    certain, side = (codes < AMBIGUOUS).all(axis=1), ends[:, 2]
    canonical = (codes == base_codes(b"GTAG").reshape(2, 2)[side]).all(axis=1)
    counts = [[certain & (side == number), canonical & (side == number)] for number in (DONOR, ACCEPTOR)]
    return np.sum(counts, axis=2)


def assembly_figures(counts: Int64[np.ndarray, "2 2"], name: str) -> dict[str, int | float]:
    """Returns numbers of introns and shares of GT and AG, of counts as `canonical_ends` makes them, if there are any.

    Raises:
        InputError: most of 20 or more introns lack GT or AG, which nearly all have on the annotation's own sequence.
    """
    if not counts.any():
        return {}
    figures: dict[str, int | float] = {}
    for (seen, canonical), sites, bases, what in zip(
        counts.tolist(), ("donors", "acceptors"), ("GT", "AG"), ("begin with GT", "end with AG"), strict=True
    ):
        figures |= {sites: seen, f"{bases} share": canonical / seen if seen else 0.0}
        if seen >= _ENOUGH and canonical < _HALF * seen:
            raise InputError(
                f"Only {canonical / seen:.1%} of the {seen:,} introns of {name} {what} in this sequence: it is of "
                "another assembly than the annotation."
            )
    return figures


def known_contig(records: ContigNames, name: str) -> str:
    """Returns the record that a name stands for; raises InputError if there is none, or it is not clear which."""
    contig = records.find(name)
    if contig is None:
        raise InputError(
            f"The contig {name!r} is unknown: {records.why_not(name)}. It has {first_few(records, _NAMED)}."
        )
    return contig


def _repeated(count: int, ratio: float, rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """Returns numbers below `count`: each as often as the whole part of the ratio says; some, at random, once more."""
    whole = int(ratio)
    rest = rng.permutation(count)[: round((ratio - whole) * count)]
    return np.sort(np.concatenate([np.tile(np.arange(count), whole), rest]))
