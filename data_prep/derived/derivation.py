"""The work on one task, a contig at a time: positives cut, negatives found, and all of them split."""

import dataclasses
import itertools
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int8, Int64

from data_prep.derived.contigs import Contig, ContigNames
from data_prep.derived.examples import Examples, first_of_each, joined, smallest_keys
from data_prep.derived.introns import AssemblyCheck
from data_prep.derived.regions import Regions, regions_of
from data_prep.derived.splits import loci, split_contigs, split_loci
from data_prep.derived.task import ContigSites, Notes, Task
from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import contig_key
from dnabert_jax.io.left_out import BEYOND
from dnabert_jax.sequence.kmers import AMBIGUOUS

_SLACK = 4
"""Times the maximum of each label that may wait to be thinned out."""

_NAMED = 5
"""Contigs that an error names at most."""


class Derivation:
    """The work on one task.

    Args:
        task: what to derive.
        blacklist: intervals that no example may touch, by contig.
        sites: positives, by contig as the annotation names it.
        notes: of what is read and left out.
    """

    def __init__(
        self, task: Task, sites: dict[str, ContigSites], blacklist: dict[str, list[tuple[int, int]]], notes: Notes
    ):
        self._task, self._notes = task, notes
        self._sites = sites
        self._by_plain = {contig_key(name): name for name in sites}
        self._blacklist: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for name, intervals in blacklist.items():
            self._blacklist[contig_key(name)] += intervals
        if len(self._by_plain) < len(sites):
            raise InputError(f"{task.annotation} names one contig in two ways, with and without chr: use one of them.")
        self.names = ContigNames()
        self.check = AssemblyCheck()
        self.contigs: list[str] = []
        self.examples: list[Examples] = []

    @property
    def wanted(self) -> set[str]:
        """Contigs with positives, as `contig_key` gives them."""
        return set(self._by_plain)

    def add(self, contig: Contig) -> None:
        """Cuts the positives of a contig and finds their negatives."""
        sites = self._sites[self._by_plain[contig_key(contig.name)]]
        self.check.add(contig, sites.dinucleotides)
        blacklist = regions_of(self._blacklist[contig_key(contig.name)])
        # Of the contig's own name, so that other contigs do not change what is drawn.
        rng = np.random.default_rng([self._task.job.seed, zlib.crc32(contig.name.encode())])
        positives = self._positives(contig, sites, blacklist, rng)
        parts = [positives]
        for group, kinds in enumerate(self._task.kinds):
            own = positives.take(positives.group == group)
            for kind in kinds if len(own) else ():
                templates = own.take(_repeated(len(own), self._task.ratio, rng))
                found = self._task.negatives(kind, contig, sites, templates, [sites.avoided, blacklist], rng)
                self._notes.missing[kind] += len(templates) - len(found)
                parts.append(
                    dataclasses.replace(
                        found,
                        label=np.zeros(len(found), np.int8),
                        origin=np.full(len(found), self._task.origins.index(kind), np.int8),
                        key=rng.random(len(found)),
                    )
                )
        self.contigs.append(contig.name)
        self.examples += parts
        most = self._task.maximum
        if most is not None and sum(map(len, self.examples)) > _SLACK * most * len(self._task.labels):
            self.examples = [smallest_keys(joined(self.examples), most)]

    def _positives(self, contig: Contig, sites: ContigSites, blacklist: Regions, rng: np.random.Generator) -> Examples:
        length, left_out = self._task.length, self._notes.left_out.counts
        inside = contig.inside(sites.start, length)
        left_out[BEYOND] += int((~inside).sum())
        start, reverse, label = (column[inside] for column in (sites.start, sites.reverse, sites.label))
        codes = contig.cut(start, reverse, length)
        out = np.zeros(len(start), bool)
        reasons = {
            "windows with N or another ambiguity letter": (codes >= AMBIGUOUS).any(axis=1),
            "windows in the blacklist": blacklist.overlap(start, length),
            **self._task.unfit(codes, label),
        }
        for reason, rows in reasons.items():
            left_out[reason] += int((rows & ~out).sum())
            out |= rows
        count = int((~out).sum())
        return Examples(
            contig=np.full(count, len(self.contigs), np.int32),
            start=start[~out],
            reverse=reverse[~out],
            label=label[~out],
            group=self._task.group(codes[~out]),
            origin=np.zeros(count, np.int8),
            key=rng.random(count),
            codes=codes[~out],
        )

    def finished(self) -> Examples:
        """All examples, each sequence once, by contig and place.

        Raises:
            InputError: there are no positives, or no negatives.
        """
        annotation = self._task.annotation
        if not self.contigs:
            raise InputError(
                f"None of the contigs of {annotation} ({_some(self._sites)}) is in the sequence, whose records are "
                f"{_some(self.names.by_plain.values())}."
            )
        examples = joined(self.examples)
        if self._task.maximum is not None:
            examples = smallest_keys(examples, self._task.maximum)
        first = first_of_each(examples)
        self._notes.left_out.counts["examples whose sequence, on either strand, another has"] += int((~first).sum())
        examples = examples.take(first)
        examples = examples.take(np.lexsort((examples.origin, examples.reverse, examples.start, examples.contig)))
        for positive, what in ((True, "positives"), (False, "negatives")):
            if not ((examples.label > 0) == positive).any():
                reasons = (self._notes.left_out.counts if positive else self._notes.missing) + Counter()
                listed = "; ".join(f"{reason}: {count:,}" for reason, count in reasons.items()) or "none was asked for"
                raise InputError(f"{annotation} gives no {what} ({listed}).")
        return examples

    def split(self, examples: Examples) -> tuple[Int8[np.ndarray, " n"], dict[str, int | float]]:
        """Number in SPLITS of each example; and how many loci there are, and the share of the largest.

        Raises:
            InputError: a split gets nothing, or a contig is named that there is not.
        """
        job = self._task.job
        locus = loci(examples.contig, examples.start, self._task.length, job.locus_distance)
        sizes = np.bincount(locus)
        figures = {"number": len(sizes), "largest share": float(sizes.max() / len(examples))}
        if job.test_contigs:
            found = [{self._contig(name) for name in names} for names in (job.validation_contigs, job.test_contigs)]
            return split_contigs(examples.contig, self.contigs, *found), figures
        kind = examples.label.astype(np.int64) * len(self._task.groups) + examples.group
        rng = np.random.default_rng([job.seed, len(self.contigs)])
        return split_loci(locus, kind, job.validation_fraction, job.test_fraction, rng), figures

    def _contig(self, name: str) -> str:
        found = self.names.find(name)
        if found is None:
            raise InputError(f"The sequence has no contig {name!r}; it has {_some(self.names.by_plain.values())}.")
        return found

    def contig_report(self) -> dict[str, dict[str, object]]:
        """Positives on contigs that the sequence does not have, and contigs that are named otherwise there."""
        found = {name: self.names.find(name) for name in self._sites}
        return {
            "absent": {name: len(self._sites[name].start) for name, other in found.items() if other is None},
            "renamed": {name: other for name, other in found.items() if other not in (None, name)},
        }


def _repeated(count: int, ratio: float, rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """Numbers below `count`: each as often as the whole part of the ratio says, and a random subset for the rest."""
    whole = int(ratio)
    rest = rng.permutation(count)[: round((ratio - whole) * count)]
    return np.sort(np.concatenate([np.tile(np.arange(count), whole), rest]))


def _some(names: Iterable[str]) -> str:
    listed = list(itertools.islice(names, _NAMED + 1))
    return ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")
