"""What a task tells the engine (`derive.py`): where its positives are, and of what kinds its negatives."""

import abc
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int8, Int64, UInt8

from data_prep.derived.contigs import Contig, Regions
from data_prep.derived.examples import Examples
from data_prep.derived.job import DerivedJob
from data_prep.derived.negatives import dinucleotide_shuffle, gc_windows, substitute_parts
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
"""What kinds of negatives are, in words, for the manifest."""


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
    dinucleotides: Int64[np.ndarray, "d 3"]
    spans: Int64[np.ndarray, "s 3"]


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
    job: DerivedJob
    annotation: Location
    protocol: str
    length: int
    kinds: tuple[tuple[str, ...], ...]
    ratio: float
    maximum: int | None
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
        """Which positives are left out for what they are, by reason."""
        return {}

    def group(self, codes: UInt8[np.ndarray, "n l"]) -> Int8[np.ndarray, " n"]:
        """Number of each positive's group."""
        return np.zeros(len(codes), np.int8)

    @property
    def origins(self) -> tuple[str, ...]:
        """Where examples come from: the annotation, or a kind of negative."""
        return ("annotation", *dict.fromkeys(kind for kinds in self.kinds for kind in kinds))

    def negatives(self, kind: str, place: Place, templates: Examples) -> Examples:
        """Negatives of a kind, one for each template for which one is found; see `kind_rules`."""
        if kind == "gc-windows":
            tolerance = self.job.gc_tolerance
            chosen, start = gc_windows(place.contig, templates.codes, tolerance, place.avoided, place.rng)
            return self.windows(place.contig, templates.take(chosen), start)
        if kind == "shuffle":
            return dataclasses.replace(templates, codes=dinucleotide_shuffle(templates.codes, place.rng))
        rows = [substitute_parts(row, place.rng) for row in templates.codes]
        return dataclasses.replace(templates, codes=np.array(rows, np.uint8).reshape(-1, self.length))

    def windows(self, contig: Contig, templates: Examples, start: Int64[np.ndarray, " n"]) -> Examples:
        """The templates moved to other windows of the contig."""
        codes = contig.cut(start, templates.reverse, self.length)
        return dataclasses.replace(templates, start=start, codes=codes)
