"""The work on one task, a contig at a time: positives cut, negatives found, and all of them split."""

import dataclasses
import itertools
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int8, Int64, Integer

from dnabert_jax.data_prep.derived.contigs import (
    Contig,
    Contigs,
    Examples,
    Regions,
    first_of_each,
    joined,
    smallest_keys,
)
from dnabert_jax.data_prep.derived.task import ACCEPTOR, DONOR, ContigSites, Notes, Place, Task
from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import ContigNames, contig_key
from dnabert_jax.io.left_out import BEYOND
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes

SPLITS = ("train", "validation", "test")

_ENOUGH, _HALF = 20, 0.5
_SLACK = 4
"""Times the maximum of each label that may wait to be thinned out."""

_NAMED = 5
"""Contigs that an error names at most."""


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
            advice = f"The records of the sequence are {_some(records)}."
        elif 2 * left_out.counts[BEYOND] >= windows:
            advice = f"Is {self._task.annotation} of another build than the genome?"
            left_out.remark(
                f"{left_out.counts[BEYOND]:,} of {windows:,} windows reach beyond the ends of their contigs. {advice}"
            )
        left_out.check_some_left(positives, f"windows of {self._task.annotation}", advice)

    def split(self, examples: Examples) -> tuple[Int8[np.ndarray, " n"], dict[str, int | float]]:
        """Returns the number in SPLITS of each example; and how many loci there are, and the share of the largest."""
        task, job = self._task, self._task.job
        locus = loci(examples.contig, examples.start, task.length, job.locus_distance)
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


def loci(
    contig: Integer[np.ndarray, " n"], start: Int64[np.ndarray, " n"], length: int, distance: int
) -> Int64[np.ndarray, " n"]:
    """Returns the number of the locus of each window: two loci of a contig have at least `distance` bases between them.

    Windows that overlap, or have fewer bases than that between them, are of one locus, and so are all that such pairs
    connect.
    """
    order = np.lexsort((start, contig))
    new = np.ones(len(start), bool)
    same = contig[order][1:] == contig[order][:-1]
    new[1:] = ~same | (start[order][1:] - start[order][:-1] - length >= distance)
    numbers = np.empty(len(start), np.int64)
    numbers[order] = np.cumsum(new) - 1
    return numbers


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
    (donors, _), (acceptors, _) = counts.tolist()
    shares = [canonical / seen if seen else 0.0 for seen, canonical in counts.tolist()]
    for seen, share, what in ((donors, shares[0], "begin with GT"), (acceptors, shares[1], "end with AG")):
        if seen >= _ENOUGH and share < _HALF:
            raise InputError(
                f"Only {share:.1%} of the {seen:,} introns of {name} {what} in this sequence: it is of another "
                "assembly than the annotation."
            )
    return {"donors": donors, "GT share": shares[0], "acceptors": acceptors, "AG share": shares[1]}


def known_contig(records: ContigNames, name: str) -> str:
    """Returns the record that a name stands for; raises InputError if there is none, or it is not clear which."""
    contig = records.find(name)
    if contig is None:
        raise InputError(f"The contig {name!r} is unknown: {records.why_not(name)}. It has {_some(records)}.")
    return contig


def _repeated(count: int, ratio: float, rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """Returns numbers below `count`: each as often as the whole part of the ratio says; some, at random, once more."""
    whole = int(ratio)
    rest = rng.permutation(count)[: round((ratio - whole) * count)]
    return np.sort(np.concatenate([np.tile(np.arange(count), whole), rest]))


def _some(names: Iterable[str]) -> str:
    listed = list(itertools.islice(names, _NAMED + 1))
    return ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")
