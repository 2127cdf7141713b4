"""The work on one task, a contig at a time: positives cut, negatives found, and all of them split."""

import dataclasses
import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int8, Int64

from data_prep.derived.contigs import Contig, Regions
from data_prep.derived.examples import Examples, first_of_each, joined, smallest_keys
from data_prep.derived.introns import AssemblyCheck
from data_prep.derived.splits import loci, split_contigs, split_loci
from data_prep.derived.task import ContigSites, Notes, Place, Task
from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import ContigNames, contig_key
from dnabert_jax.io.left_out import BEYOND, LeftOut
from dnabert_jax.sequence.bases import AMBIGUOUS

_SLACK = 4
"""Times the maximum of each label that may wait to be thinned out."""

_NAMED = 5
"""Contigs that an error names at most."""


@dataclasses.dataclass
class _Part:
    """Counts of one contig, which has this number in the examples."""

    contig: str
    number: int
    notes: Notes = dataclasses.field(default_factory=Notes)
    check: AssemblyCheck = dataclasses.field(default_factory=AssemblyCheck)


class Derivation:
    """The work on one task.

    Contigs come one after the other, so that a later one may show that an earlier one was not meant (chrMT after chrM,
    by annotation of MT). What was made of that one is dropped then.

    Args:
        blacklist: intervals that no example may touch, by contig.
        sites: positives, by contig as the annotation names it.
        notes: of what is read and left out.

    Attributes:
        wanted: contigs with positives, as `contig_key` gives them.
        records: names of all records of the sequence so far, to be added to.
        contigs: names of those of which examples were made.
    """

    def __init__(
        self, task: Task, sites: dict[str, ContigSites], blacklist: dict[str, list[tuple[int, int]]], notes: Notes
    ):
        self._task, self._notes = task, notes
        self._sites = sites
        self._blacklist: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for name, intervals in blacklist.items():
            self._blacklist[contig_key(name)] += intervals
        self.wanted: dict[str, list[str]] = defaultdict(list)
        for name in sites:
            self.wanted[contig_key(name)].append(name)
        self._parts: dict[str, _Part] = {}
        self.records = ContigNames()
        self.contigs: list[str] = []
        self.examples: list[Examples] = []
        self._waiting = 0

    def add(self, contig: Contig) -> None:
        """Cuts the positives of a contig and finds their negatives, if the annotation may mean it."""
        names = self.wanted[contig_key(contig.name)]
        for name in names:
            if name in self._parts and self.records.find(name) != self._parts[name].contig:
                dropped = self._parts.pop(name).number
                self.examples = [examples.take(examples.contig != dropped) for examples in self.examples]
        names = [name for name in names if self.records.find(name) == contig.name]
        if len(names) > 1:
            raise InputError(
                f"{self._task.annotation} names the contig {contig.name} in several ways: {', '.join(names)}. "
                "Use one of them."
            )
        for name in names:
            part = self._parts[name] = _Part(contig.name, len(self.contigs))
            self.contigs.append(contig.name)
            self._add(contig, self._sites[name], part)

    def _add(self, contig: Contig, sites: ContigSites, part: _Part) -> None:
        part.check.add(contig, sites.dinucleotides)
        blacklist = Regions(self._blacklist[contig_key(contig.name)])
        # Of the contig's own name, so that other contigs do not change what is drawn.
        rng = np.random.default_rng([self._task.job.seed, zlib.crc32(contig.name.encode("utf-8", "surrogateescape"))])
        positives = self._positives(contig, sites, blacklist, part, rng)
        parts, place = [positives], Place(contig, sites, blacklist, rng)
        for group, kinds in enumerate(self._task.kinds):
            own = positives.take(positives.group == group)
            for kind in kinds if len(own) else ():
                templates = own.take(_repeated(len(own), self._task.ratio, rng))
                found = self._task.negatives(kind, place, templates)
                part.notes.missing[kind] += len(templates) - len(found)
                parts.append(
                    dataclasses.replace(
                        found,
                        label=np.zeros(len(found), np.int8),
                        origin=np.full(len(found), self._task.origins.index(kind), np.int8),
                        key=rng.random(len(found)),
                    )
                )
        self.examples += parts
        self._waiting += sum(map(len, parts))
        maximum = self._task.maximum
        if maximum is not None and self._waiting > _SLACK * maximum * len(self._task.labels):
            self.examples = [smallest_keys(joined(self.examples), maximum)]
            self._waiting = len(self.examples[0])

    def _positives(
        self, contig: Contig, sites: ContigSites, blacklist: Regions, part: _Part, rng: np.random.Generator
    ) -> Examples:
        length, left_out = self._task.length, part.notes.left_out
        inside = contig.inside(sites.start, length)
        _count(left_out, BEYOND, contig.name, sites.start[~inside], length)
        start, reverse, label = (column[inside] for column in (sites.start, sites.reverse, sites.label))
        codes = contig.cut(start, reverse, length)
        out = np.zeros(len(start), bool)
        reasons = {
            "they have N or another ambiguity letter": (codes >= AMBIGUOUS).any(axis=1),
            "they touch the blacklist": blacklist.overlap(start, length),
            **self._task.unfit(codes, label),
        }
        for reason, rows in reasons.items():
            _count(left_out, reason, contig.name, start[rows & ~out], length)
            out |= rows
        count = int((~out).sum())
        return Examples(
            contig=np.full(count, part.number, np.int32),
            start=start[~out],
            reverse=reverse[~out],
            label=label[~out],
            group=self._task.group(codes[~out]),
            origin=np.zeros(count, np.int8),
            key=rng.random(count),
            codes=codes[~out],
        )

    def finished(self) -> Examples:
        """Returns all examples, each sequence once, by contig and place; raises InputError if a kind is empty."""
        notes, left_out = self._notes, self._notes.left_out
        for part in self._parts.values():
            left_out.update(part.notes.left_out)
            notes.missing += part.notes.missing
        for name, sites in self._sites.items():
            if name not in self._parts:
                no_bases = "their contig has no bases"
                reason = self.records.why_not(name) if self.records.find(name) is None else no_bases
                left_out.add(reason, name, count=len(sites.start))
        windows = sum(len(self._sites[name].start) for name in self._parts)
        advice = ""
        if not self._parts:
            advice = f"The records of the sequence are {_some(self.records)}."
        elif 2 * left_out.counts[BEYOND] >= windows:
            advice = f"Is {self._task.annotation} of another build than the genome?"
            left_out.remark(
                f"{left_out.counts[BEYOND]:,} of {windows:,} windows reach beyond the ends of their contigs. {advice}"
            )
        positives = sum(int((examples.label > 0).sum()) for examples in self.examples)
        left_out.check_some_left(positives, f"windows of {self._task.annotation}", advice)
        examples = joined(self.examples)
        if self._task.maximum is not None:
            examples = smallest_keys(examples, self._task.maximum)
        first = first_of_each(examples)
        left_out.add("another example has their sequence, on either strand", count=int((~first).sum()))
        examples = examples.take(first)
        examples = examples.take(np.lexsort((examples.origin, examples.reverse, examples.start, examples.contig)))
        if not (examples.label == 0).any():
            listed = "; ".join(f"{kind}: {count:,} not found" for kind, count in notes.missing.items())
            raise InputError(
                f"No negatives were found for {self._task.annotation} ({listed or 'none were asked for'})."
            )
        return examples

    @property
    def check(self) -> AssemblyCheck:
        """Returns the counts of introns on all contigs."""
        check = AssemblyCheck()
        for part in self._parts.values():
            check.update(part.check)
        return check

    def split(self, examples: Examples) -> tuple[Int8[np.ndarray, " n"], dict[str, int | float]]:
        """Number in SPLITS of each example; and how many loci there are, and the share of the largest."""
        job = self._task.job
        locus = loci(examples.contig, examples.start, self._task.length, job.locus_distance)
        sizes = np.bincount(locus)
        figures = {"number": len(sizes), "largest share": float(sizes.max() / len(examples))}
        if job.test_contigs:
            found = [
                {known_contig(self.records, name) for name in names}
                for names in (job.validation_contigs, job.test_contigs)
            ]
            return split_contigs(examples.contig, self.contigs, *found), figures
        kind = examples.label.astype(np.int64) * len(self._task.groups) + examples.group
        rng = np.random.default_rng([job.seed, len(self.contigs)])
        return split_loci(locus, kind, job.validation_fraction, job.test_fraction, rng), figures

    def contig_report(self) -> dict[str, dict[str, object]]:
        """Returns the number of positives on contigs that are not used, and which contigs have other names there."""
        used = {name: part.contig for name, part in self._parts.items()}
        return {
            "absent": {name: len(sites.start) for name, sites in self._sites.items() if name not in used},
            "renamed": {name: used[name] for name in self._sites if used.get(name, name) != name},
        }


def known_contig(records: ContigNames, name: str) -> str:
    """Returns the record that a name stands for; raises InputError if there is none, or it is not clear which."""
    contig = records.find(name)
    if contig is None:
        raise InputError(f"The contig {name!r} is unknown: {records.why_not(name)}. It has {_some(records)}.")
    return contig


def _count(left_out: LeftOut, reason: str, contig: str, starts: Int64[np.ndarray, " n"], length: int) -> None:
    """Counts windows that are left out, and lists the first."""
    if len(starts):
        examples = (f"{contig}:{start}-{start + length}" for start in starts[:3].tolist())
        left_out.add(reason, *examples, count=len(starts))


def _repeated(count: int, ratio: float, rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """Numbers below `count`: each as often as the whole part of the ratio says, and a random subset for the rest."""
    whole = int(ratio)
    rest = rng.permutation(count)[: round((ratio - whole) * count)]
    return np.sort(np.concatenate([np.tile(np.arange(count), whole), rest]))


def _some(names: Iterable[str]) -> str:
    listed = list(itertools.islice(names, _NAMED + 1))
    return ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")
