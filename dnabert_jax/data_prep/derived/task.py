"""Defines the job of `prepare promoters`, `splice` and `tfbs`, and the task that tells the engine (`derive.py`) where
its positives are and of which kinds its negatives are."""

import abc
import dataclasses
import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int8, Int64, UInt8

from dnabert_jax.config import require
from dnabert_jax.data_prep.derived.contigs import Contig, Examples, Regions
from dnabert_jax.data_prep.derived.negatives import dinucleotide_shuffle, gc_windows, substitute_parts
from dnabert_jax.errors import InputError
from dnabert_jax.io.gtf import Transcript, of_gene_types, read_transcripts
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.storage import Location

KIND_RULES = {
    "gc-windows": "windows of the genome of the same length and, within --gc-tolerance, GC content, on the strand and "
    "the contig of their positive; they do not overlap one another",
    "shuffle": "each positive with its dinucleotides in another order, of all such orders a uniformly drawn one "
    "(Altschul and Erickson); in the split of its positive",
    "substitution": "each positive in 20 parts, of which 12 at random are replaced by uniformly drawn bases "
    "(DeePromoter); in the split of its positive",
}
"""Describes each kind of negatives, for the manifest."""


DONOR, ACCEPTOR = 0, 1
_NO_ROWS = functools.partial(np.empty, (0, 3), np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DerivedJob:
    """Sources, splits and output of a derivation; the command line takes its flags and their help from here.

    Attributes:
        fasta: Sequence files of the genome: FASTA, plain, gzip or bgzip, or .2bit; local, or URLs such as gs://...
        out: Directory to make, local or the URL of one; must not exist.
        seed: Of negatives and splits; the same input and seed give the same bytes.
        validation_fraction: Share of the examples, by loci, to choose models on.
        test_fraction: Share of the examples, by loci, to measure the chosen model on.
        validation_contigs: Contigs for validation, instead of loci; needs --test-contigs.
        test_contigs: Contigs for the test, instead of loci; needs --validation-contigs.
        locus_distance: Examples with fewer bases than this between them are of one locus, which is never split.
        blacklist: BED files, plain or gzip, of regions that no example may touch.
        negative_ratio: Negatives of each kind for each positive; the protocol's, if not given.
        negative_distance: Bases that a negative window of the genome keeps from every site of the annotation or peak.
        gc_tolerance: Largest difference of GC content between a gc-windows negative and its positive.
        maximum_per_label: Examples of a label at most, chosen at random; the protocol's, if not given.
    """

    fasta: tuple[Location, ...]
    out: Location
    seed: int = 0
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    validation_contigs: tuple[str, ...] = ()
    test_contigs: tuple[str, ...] = ()
    locus_distance: int = 1000
    blacklist: tuple[Location, ...] = ()
    negative_ratio: float | None = None
    negative_distance: int = 1000
    gc_tolerance: float = 0.02
    maximum_per_label: int | None = None

    def __post_init__(self) -> None:
        both = set(self.validation_contigs) & set(self.test_contigs)
        validation, test = self.validation_fraction, self.test_fraction
        ratio, most = self.negative_ratio, self.maximum_per_label
        require(len(self.fasta) > 0, "No sequence file is named: name at least one.")
        require(self.seed >= 0, f"The seed is {self.seed}: it must not be negative.")
        require(
            min(validation, test) >= 0 and validation + test < 1,
            f"The fractions for validation, {validation:g}, and test, {test:g}, must not be negative and leave "
            "something for training.",
        )
        require(
            bool(self.validation_contigs) == bool(self.test_contigs),
            "Give --validation-contigs and --test-contigs, or neither: a model must not be chosen on the test.",
        )
        require(not both, f"Both splits have the contigs {', '.join(sorted(both))}: give each to one.")
        require(self.locus_distance >= 0, f"A locus distance of {self.locus_distance} is impossible: give 0 or more.")
        require(self.negative_distance >= 0, f"A distance of {self.negative_distance} is impossible: give 0 or more.")
        require(0 <= self.gc_tolerance <= 1, f"A GC tolerance of {self.gc_tolerance:g} is no share: give 0 to 1.")
        require(ratio is None or ratio > 0, f"{ratio} negatives for each positive are impossible: give more than 0.")
        require(most is None or most >= 1, f"At most {most} examples of a label are impossible: give 1 or more.")


@dataclasses.dataclass(frozen=True)
class ContigSites:
    """What the annotation says of one contig, in its coordinates.

    Attributes:
        start, reverse, label: windows of the positives, 0-based.
        dinucleotides: starts, strands and whether it is an acceptor, of the two bases at each end of its introns.
        spans: starts, ends and strands of its transcripts, where negatives are drawn from them.
    """

    start: Int64[np.ndarray, " n"]
    reverse: Bool[np.ndarray, " n"]
    label: Int8[np.ndarray, " n"]
    avoided: Regions
    dinucleotides: Int64[np.ndarray, "d 3"] = dataclasses.field(default_factory=_NO_ROWS)
    spans: Int64[np.ndarray, "s 3"] = dataclasses.field(default_factory=_NO_ROWS)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where negatives are sought: on a contig, away from its sites and from what is blacklisted."""

    contig: Contig
    sites: ContigSites
    blacklist: Regions
    rng: np.random.Generator

    @property
    def avoided(self) -> tuple[Regions, Regions]:
        return self.sites.avoided, self.blacklist


@dataclasses.dataclass
class Notes:
    """What a manifest tells of: `read` from the annotation, `left_out` of it, and negatives that are `missing`."""

    read: Counter[str] = dataclasses.field(default_factory=Counter)
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut)
    missing: Counter[str] = dataclasses.field(default_factory=Counter)


def by_contig(transcripts: Iterable[Transcript]) -> defaultdict[str, list[Transcript]]:
    """Returns the transcripts of each contig."""
    grouped = defaultdict(list)
    for transcript in transcripts:
        grouped[transcript.contig].append(transcript)
    return grouped


def intron_ends(transcripts: Sequence[Transcript]) -> Int64[np.ndarray, "d 3"]:
    """Returns each distinct end of introns, sorted: start of its two bases, strand (1: reverse), DONOR or ACCEPTOR."""
    ends = {
        (left if (side == 0) != transcript.reverse else right, transcript.reverse, side)
        for transcript in transcripts
        for left, right in ((start, end - 2) for start, end in transcript.introns())
        for side in (DONOR, ACCEPTOR)
    }
    return np.array(sorted(ends), np.int64).reshape(-1, 3)


class Task(abc.ABC):
    """A kind of data set.

    Attributes:
        set_name: of the data set.
        labels: names; that of the negatives first.
        groups: names of what positives, and their negatives, are told apart by; ("-",) if by nothing.
        kind_rules: what each kind of negative is, in words.
        annotation: of the sites: GTF, or peaks.
        kinds: of negatives, for each group.
        ratio: negatives of each kind for each positive.
        maximum: examples of a label at most, if so.
        rules: what else was done, in words.
    """

    name: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]
    groups: ClassVar[tuple[str, ...]] = ("-",)
    kind_rules: ClassVar[dict[str, str]] = KIND_RULES
    length: int
    kinds: tuple[tuple[str, ...], ...]
    rules: dict[str, str]

    def __init__(self, job: DerivedJob, annotation: Location, protocols: dict[str, dict[str, Any]], name: str):
        if name not in protocols:
            raise InputError(f"There is no protocol {name!r}: choose one of {', '.join(protocols)}.")
        self.job, self.annotation, self.protocol, self.settings = job, annotation, name, protocols[name]
        self.set_name = self.name
        self.ratio = self.settings.get("ratio", 1.0) if job.negative_ratio is None else job.negative_ratio
        self.maximum = self.settings.get("maximum") if job.maximum_per_label is None else job.maximum_per_label

    @abc.abstractmethod
    def read(self, path: Path, notes: Notes) -> dict[str, ContigSites]:
        """Returns the sites by contig, as the annotation names it; raises InputError if there are none."""

    def transcripts(
        self, path: Path, notes: Notes, types: tuple[str, ...], without: str
    ) -> tuple[list[Transcript], list[Transcript]]:
        """Returns all transcripts of the annotation, and those of the gene types.

        Args:
            without: what becomes of genes without transcripts.
        """
        name = str(self.annotation)
        everything = read_transcripts(path, name, notes.left_out)
        chosen = of_gene_types(everything, types, name, notes.left_out)
        notes.read.update({"transcripts": len(everything), "transcripts of the gene types": len(chosen)})
        if number := sum(transcript.is_gene for transcript in chosen):
            notes.read[f"genes without transcripts, {without}"] = number
        return everything, chosen

    def unfit(
        self, codes: UInt8[np.ndarray, "n l"], label: Int8[np.ndarray, " n"]
    ) -> dict[str, Bool[np.ndarray, " n"]]:
        """Returns which positives are left out for what they are, by reason."""
        return {}

    def group(self, codes: UInt8[np.ndarray, "n l"]) -> Int8[np.ndarray, " n"]:
        """Returns the number of each positive's group."""
        return np.zeros(len(codes), np.int8)

    @property
    def origins(self) -> tuple[str, ...]:
        """Returns where examples come from: the annotation, or a kind of negative."""
        return ("annotation", *dict.fromkeys(kind for kinds in self.kinds for kind in kinds))

    def negatives(self, kind: str, place: Place, templates: Examples) -> Examples:
        """Returns negatives of a kind, at most one for each template; see `kind_rules`."""
        if kind == "gc-windows":
            tolerance = self.job.gc_tolerance
            starts = gc_windows(place.contig, templates.codes, tolerance, place.avoided, place.rng)
            return self.windows(place.contig, templates, starts)
        if kind == "shuffle":
            return dataclasses.replace(templates, codes=dinucleotide_shuffle(templates.codes, place.rng))
        rows = [substitute_parts(row, place.rng) for row in templates.codes]
        return dataclasses.replace(templates, codes=np.array(rows, np.uint8).reshape(-1, self.length))

    def windows(self, contig: Contig, templates: Examples, starts: dict[int, int]) -> Examples:
        """Returns the templates that other windows of the contig were found for, by their numbers, moved there."""
        numbers = sorted(starts)
        moved, start = templates.take(np.array(numbers, np.int64)), np.array([starts[n] for n in numbers], np.int64)
        return dataclasses.replace(moved, start=start, codes=contig.cut(start, moved.reverse, self.length))
