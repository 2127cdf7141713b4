"""`prepare splice`: windows with a donor, an acceptor, or neither in their middle."""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Int8, UInt8

from dnabert_jax.data_prep.derived.contigs import COMPLEMENT, Examples, Regions, joined
from dnabert_jax.data_prep.derived.negatives import PROPOSALS, PROPOSALS_PER_NEGATIVE, usable
from dnabert_jax.data_prep.derived.task import (
    ACCEPTOR,
    DONOR,
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
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.storage import Location

Negative = Literal["decoys", "gc-windows", "substitution", "shuffle"]

DECOY_DISTANCE = 20
"""Bases that a decoy keeps from every annotated splice site of its strand: alternative ones are mostly nearer."""

PROTOCOLS: dict[str, dict[str, Any]] = {
    "dnabert-splice": {"length": 400, "negatives": ("decoys",), "ratio": 0.5, "maximum": 10_000}
}

_BASES = {DONOR: "GT", ACCEPTOR: "AG"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpliceJob(DerivedJob):
    """Donors, acceptors, and neither.

    Attributes:
        gtf: Annotation of the same assembly, GTF or GFF3, plain or gzip, - for standard input.
        protocol: dnabert-splice: 400 bases, at most 10,000 a label, GT and AG decoys.
        length: Bases of a window, even: the border of exon and intron is in its middle; the protocol's, if not given.
        gene_types: Types of genes to take (gene_type or gene_biotype of the annotation); all if none is given.
        negatives: Kinds of negatives; the protocol's, if not given. --negative-ratio is for a positive of either label.
        all_sites: Take donors that are not GT and acceptors that are not AG as well.
    """

    gtf: Location
    protocol: str = "dnabert-splice"
    length: int | None = None
    gene_types: tuple[str, ...] = ("protein_coding",)
    negatives: tuple[Negative, ...] = ()
    all_sites: bool = False


class Splice(Task):
    """The task of a job."""

    name = "splice"
    labels = ("neither", "donor", "acceptor")
    kind_rules: ClassVar = {
        **KIND_RULES,
        "decoys": "GT where a donor, AG where an acceptor has it, inside of a transcript, on its strand, at least "
        f"{DECOY_DISTANCE} bases from every annotated splice site of that strand; off its middle a window may have one",
    }

    def __init__(self, job: SpliceJob):
        super().__init__(job, job.gtf, PROTOCOLS, job.protocol)
        self._gene_types, self._all_sites = job.gene_types, job.all_sites
        self.length = self.settings["length"] if job.length is None else job.length
        if self.length < 4 or self.length % 2:
            raise InputError(f"A window of {self.length} bases has no border in its middle: give an even length.")
        self.kinds = (job.negatives or self.settings["negatives"],)
        half = self.length // 2
        self.rules = {
            "positives": f"a donor has {half} bases of its exon, then the intron; an acceptor {half} of the intron, "
            "then the exon",
            "sites": "as annotated" if job.all_sites else "only donors GT and acceptors AG, as decoys have these too",
        }

    def read(self, path: Path, notes: Notes) -> dict[str, ContigSites]:
        everything, chosen = self.transcripts(path, notes, self._gene_types, "which have no splice sites")
        around, inside = (by_contig(t for t in some if not t.is_gene) for some in (everything, chosen))
        sites = {contig: self._sites(own, inside[contig]) for contig, own in around.items()}
        for label in (1, 2):
            number = sum(int((own.label == label).sum()) for own in sites.values())
            notes.read[f"distinct {self.labels[label]}s"] = number
        sites = {contig: own for contig, own in sites.items() if len(own.start)}
        if not sites:
            raise InputError(f"{self.annotation} has no introns: its transcripts have one exon each, or no exon lines.")
        return sites

    def _sites(self, everything: list[Transcript], chosen: list[Transcript]) -> ContigSites:
        place, reverse, side = intron_ends(chosen).T
        # The border is left of the two bases of a donor, right of those of an acceptor, in the direction of the strand.
        border = place + 2 * ((reverse == 1) != (side == ACCEPTOR))
        every = intron_ends(everything)
        starts = every[:, 0] - self.length // 2
        return ContigSites(
            start=border - self.length // 2,
            reverse=reverse == 1,
            label=(1 + side).astype(np.int8),
            avoided=Regions(np.stack([starts, starts + self.length], axis=1), self.job.negative_distance),
            dinucleotides=every,
            spans=np.array([(t.start, t.end, t.reverse) for t in chosen], np.int64).reshape(-1, 3),
        )

    def unfit(
        self, codes: UInt8[np.ndarray, "n l"], label: Int8[np.ndarray, " n"]
    ) -> dict[str, Bool[np.ndarray, " n"]]:
        if self._all_sites:
            return {}
        return {
            f"they are {self.labels[1 + side]}s and not {bases}": (label == 1 + side)
            & (codes[:, self._place(side) :][:, :2] != base_codes(bases.encode())).any(axis=1)
            for side, bases in _BASES.items()
        }

    def _place(self, side: int) -> int:
        """Returns where in a window the two bases of a donor or acceptor are."""
        return self.length // 2 - 2 * (side == ACCEPTOR)

    def negatives(self, kind: str, place: Place, templates: Examples) -> Examples:
        if kind != "decoys":
            return super().negatives(kind, place, templates)
        parts = []
        for side in (DONOR, ACCEPTOR):
            for reverse in (False, True):
                own = templates.take((templates.label == 1 + side) & (templates.reverse == reverse))
                starts = self._decoys(place, side, reverse, len(own))
                parts.append(self.windows(place.contig, own, dict(enumerate(starts))))
        return joined(parts)

    def _decoys(self, where: Place, side: int, reverse: bool, count: int) -> list[int]:
        """Returns the starts of up to `count` different windows, the first at random places that suit."""
        contig, sites = where.contig, where.sites
        spans = sites.spans[sites.spans[:, 2] == reverse]
        lengths = spans[:, 1] - spans[:, 0]
        annotated = sites.dinucleotides[sites.dinucleotides[:, 1] == reverse, 0]
        near = Regions(annotated[:, None] + [0, 2], DECOY_DISTANCE)
        # Of the two bases, from the window's start on the forward strand.
        offset = self.length - self._place(side) - 2 if reverse else self._place(side)
        bases = base_codes(_BASES[side].encode())
        bases = COMPLEMENT[bases[::-1]] if reverse else bases
        starts: dict[int, None] = {}
        for _ in range(0, PROPOSALS_PER_NEGATIVE * count, PROPOSALS):
            span = where.rng.choice(len(spans), PROPOSALS, p=lengths / lengths.sum())
            two = spans[span, 0] + where.rng.integers(0, np.maximum(lengths[span] - 1, 1))
            start = two[~near.overlap(two, 2)] - offset
            start = start[usable(contig, start, self.length, [where.blacklist])]
            windows = contig.cut(start, np.zeros(len(start), bool), self.length)
            starts |= dict.fromkeys(start[(windows[:, offset : offset + 2] == bases).all(axis=1)].tolist())
            if len(starts) >= count:
                break
        return list(starts)[:count]
