"""`prepare promoters`: windows around transcription start sites, those with a TATA box told apart."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int8, Int64, UInt8

from data_prep.derived.contigs import Regions
from data_prep.derived.examples import Examples
from data_prep.derived.introns import intron_ends
from data_prep.derived.job import DerivedJob
from data_prep.derived.negatives import motif_places, motif_windows
from data_prep.derived.task import KIND_RULES, ContigSites, Notes, Place, Task
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
        sites: dict[str, set[tuple[int, bool]]] = defaultdict(set)
        for transcript in chosen:
            sites[transcript.contig].add((transcript.tss, transcript.reverse))
        notes.read["distinct start sites"] = sum(map(len, sites.values()))
        by_contig: dict[str, list[Transcript]] = defaultdict(list)
        for transcript in everything:
            by_contig[transcript.contig].append(transcript)
        return {contig: self._sites(sorted(found), by_contig[contig]) for contig, found in sites.items()}

    def _sites(self, found: list[tuple[int, bool]], transcripts: list[Transcript]) -> ContigSites:
        reverse = np.array([strand for _, strand in found])
        starts = np.array([self._start(tss, strand) for tss, strand in found], np.int64)
        windows = [self._start(transcript.tss, transcript.reverse) for transcript in transcripts]
        return ContigSites(
            start=starts,
            reverse=reverse,
            label=np.ones(len(found), np.int8),
            avoided=Regions([(start, start + self.length) for start in windows], self.job.negative_distance),
            dinucleotides=intron_ends(transcripts),
            spans=np.empty((0, 3), np.int64),
        )

    def _start(self, tss: int, reverse: bool) -> int:
        return tss - (self.first + self.length - 1) if reverse else tss + self.first

    def group(self, codes: UInt8[np.ndarray, "n l"]) -> Int8[np.ndarray, " n"]:
        return np.array([self._box(row) is None for row in codes], bool).astype(np.int8)

    def _box(self, codes: UInt8[np.ndarray, " l"]) -> int | None:
        """Where in a window its TATA box begins, the leftmost."""
        begin = TATA_FIRST - self.first
        region = codes[begin : begin + TATA_LAST - TATA_FIRST + len(TATA_MOTIF)]
        places = motif_places(region, TATA_MOTIF)
        return begin + int(places[0]) if len(places) else None

    def negatives(self, kind: str, place: Place, templates: Examples) -> Examples:
        if kind != "tata-windows":
            return super().negatives(kind, place, templates)
        offsets: Int64[np.ndarray, " t"] = np.array([self._box(row) for row in templates.codes], np.int64)
        chosen, start = motif_windows(
            place.contig, TATA_MOTIF, offsets, templates.reverse, self.length, place.avoided, place.rng
        )
        return self.windows(place.contig, templates.take(chosen), start)


def one_a_gene(transcripts: Sequence[Transcript]) -> list[Transcript]:
    """Of each gene (on a contig and strand) the canonical transcript, else the one that starts outermost."""
    best: dict[tuple[str, str, bool], Transcript] = {}

    def rank(transcript: Transcript) -> tuple[bool, int]:
        return not transcript.canonical, -transcript.tss if transcript.reverse else transcript.tss

    for transcript in transcripts:
        key = (transcript.gene, transcript.contig, transcript.reverse)
        best[key] = min(best.get(key, transcript), transcript, key=rank)
    return list(best.values())
