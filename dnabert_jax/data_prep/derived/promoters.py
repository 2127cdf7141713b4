"""`prepare promoters`: windows around transcription start sites, those with a TATA box told apart."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int8, Int64, UInt8

from dnabert_jax.data_prep.derived.contigs import Examples, Regions
from dnabert_jax.data_prep.derived.negatives import motif_places, motif_windows
from dnabert_jax.data_prep.derived.task import (
    KIND_RULES,
    ContigSites,
    DerivedJob,
    Notes,
    Place,
    Task,
    by_contig,
    intron_ends,
)
from dnabert_jax.errors import InputError
from dnabert_jax.io.gtf import Transcript
from dnabert_jax.storage import Location

Negative = Literal["tata-windows", "gc-windows", "substitution", "shuffle"]

TATA_MOTIF, TATA_FIRST, TATA_LAST = "TATAWA", -34, -24
"""A promoter has a TATA box if this motif begins at one of these offsets from the TSS, which is offset 0."""

PROTOCOLS: dict[str, dict[str, Any]] = {
    "dnabert-prom-300": {"first": -249, "last": 50, "tata": ("tata-windows",), "other": ("substitution",)},
    "dnabert-prom-core": {"first": -34, "last": 35, "tata": ("tata-windows",), "other": ("substitution",)},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromotersJob(DerivedJob):
    """Promoters and what is none.

    Attributes:
        gtf: Annotation of the same assembly, GTF or GFF3, plain or gzip, - for standard input.
        protocol: dnabert-prom-300 (offsets -249 to +50 from the TSS, which is 0) or dnabert-prom-core (-34 to +35).
        first_offset: First base of a window, from the TSS; the protocol's, if not given.
        last_offset: Last base of a window, from the TSS; the protocol's, if not given.
        tss: One start site a gene (of the transcript tagged Ensembl_canonical or MANE_Select, else the outermost), or
            each distinct one of all transcripts.
        gene_types: Types of genes to take (gene_type or gene_biotype of the annotation); all if none is given.
        tata_negatives: Kinds of negatives for promoters with a TATA box; the protocol's, if not given.
        other_negatives: Kinds of negatives for the others; the protocol's, if not given.
    """

    gtf: Location
    protocol: str = "dnabert-prom-300"
    first_offset: int | None = None
    last_offset: int | None = None
    tss: Literal["gene", "transcript"] = "gene"
    gene_types: tuple[str, ...] = ("protein_coding",)
    tata_negatives: tuple[Negative, ...] = ()
    other_negatives: tuple[Negative, ...] = ()


class Promoters(Task):
    """The task of a job."""

    name = "promoters"
    labels = ("background", "promoter")
    groups = ("TATA", "non-TATA")
    kind_rules: ClassVar = {
        **KIND_RULES,
        "tata-windows": "windows of the genome with the TATA motif where their promoter has it, on its strand and "
        "contig, wherever that is away from start sites",
    }

    def __init__(self, job: PromotersJob):
        super().__init__(job, job.gtf, PROTOCOLS, job.protocol)
        self._tss, self._gene_types = job.tss, job.gene_types
        self.first = self.settings["first"] if job.first_offset is None else job.first_offset
        last = self.settings["last"] if job.last_offset is None else job.last_offset
        self.length = last - self.first + 1
        self.kinds = (job.tata_negatives or self.settings["tata"], job.other_negatives or self.settings["other"])
        if self.first > TATA_FIRST or last < TATA_LAST + len(TATA_MOTIF) - 1:
            raise InputError(
                f"A window from {self.first:+} to {last:+} does not show whether there is a TATA box: it must hold "
                f"{TATA_FIRST} to {TATA_LAST + len(TATA_MOTIF) - 1}."
            )
        if "tata-windows" in self.kinds[1]:
            raise InputError("tata-windows are for --tata-negatives: the other promoters have no TATA box to match.")
        self.rules = {
            "positives": f"offsets {self.first:+} to {last:+} from the TSS, whose base has offset 0 (the convention of "
            f"EPDnew: {self.length} bases), of one TSS a {job.tss}",
            "tata": f"{TATA_MOTIF} begins at an offset from {TATA_FIRST} to {TATA_LAST}",
        }

    def read(self, path: Path, notes: Notes) -> dict[str, ContigSites]:
        everything, chosen = self.transcripts(path, notes, self._gene_types, "whose own ends were taken")
        if self._tss == "gene":
            chosen = one_a_gene(chosen)
        around = by_contig(everything)
        sites = {contig: self._sites(own, around[contig]) for contig, own in by_contig(chosen).items()}
        notes.read["distinct start sites"] = sum(len(own.start) for own in sites.values())
        return sites

    def _sites(self, chosen: list[Transcript], everything: list[Transcript]) -> ContigSites:
        start_sites = sorted({(transcript.tss, transcript.reverse) for transcript in chosen})
        windows = [self._start(transcript.tss, transcript.reverse) for transcript in everything]
        return ContigSites(
            start=np.array([self._start(tss, reverse) for tss, reverse in start_sites], np.int64),
            reverse=np.array([reverse for _, reverse in start_sites]),
            label=np.ones(len(start_sites), np.int8),
            avoided=Regions([(start, start + self.length) for start in windows], self.job.negative_distance),
            dinucleotides=intron_ends(everything),
        )

    def _start(self, tss: int, reverse: bool) -> int:
        return tss - (self.first + self.length - 1) if reverse else tss + self.first

    def group(self, codes: UInt8[np.ndarray, "n l"]) -> Int8[np.ndarray, " n"]:
        return np.array([self._box(row) is None for row in codes], bool).astype(np.int8)

    def _box(self, codes: UInt8[np.ndarray, " l"]) -> int | None:
        """Returns where in a window its leftmost TATA box begins, or None."""
        begin = TATA_FIRST - self.first
        region = codes[begin : begin + TATA_LAST - TATA_FIRST + len(TATA_MOTIF)]
        places = motif_places(region, TATA_MOTIF)
        return begin + int(places[0]) if len(places) else None

    def negatives(self, kind: str, place: Place, templates: Examples) -> Examples:
        if kind != "tata-windows":
            return super().negatives(kind, place, templates)
        offsets: Int64[np.ndarray, " t"] = np.array([self._box(row) for row in templates.codes], np.int64)
        starts = motif_windows(
            place.contig, TATA_MOTIF, offsets, templates.reverse, self.length, place.avoided, place.rng
        )
        return self.windows(place.contig, templates, starts)


def one_a_gene(transcripts: Sequence[Transcript]) -> list[Transcript]:
    """Returns, for each gene (on a contig and strand), the canonical transcript, else the one that starts outermost."""
    best: dict[tuple[str, str, bool], Transcript] = {}

    def rank(transcript: Transcript) -> tuple[bool, int]:
        return not transcript.canonical, -transcript.tss if transcript.reverse else transcript.tss

    for transcript in transcripts:
        key = (transcript.gene, transcript.contig, transcript.reverse)
        best[key] = min(best.get(key, transcript), transcript, key=rank)
    return list(best.values())
