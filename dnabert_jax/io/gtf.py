"""Transcripts of a GTF file: where they start, and their introns. 1-based, inclusive there; 0-based, half-open here."""

import dataclasses
import itertools
import re
from collections import Counter
from pathlib import Path

from dnabert_jax.errors import InputError
from dnabert_jax.io.text_lines import fields_of_lines, interval_of

MIN_INTRON = 30
"""Bases below which a gap between exons is a correction of the reading frame, not an intron that is spliced."""

_ATTRIBUTE = re.compile(r'([\w.]+) +"?([^";]*)"?')
_CANONICAL_TAGS = {"Ensembl_canonical", "MANE_Select"}


@dataclasses.dataclass
class Transcript:
    """One transcript.

    Attributes:
        contig: as the file names it.
        reverse: whether it is on the reverse strand.
        start, end: of all its lines, 0-based, half-open.
        gene: gene_id.
        gene_type: gene_type (GENCODE) or gene_biotype (Ensembl), "" if the file gives none.
        canonical: whether it is tagged as the one to take of its gene (Ensembl_canonical, MANE_Select).
        exons: 0-based, half-open, in the order of the file.
    """

    contig: str
    reverse: bool
    start: int
    end: int
    gene: str
    gene_type: str
    canonical: bool
    exons: list[tuple[int, int]]

    @property
    def tss(self) -> int:
        """The first base that is transcribed, 0-based."""
        return self.end - 1 if self.reverse else self.start

    def introns(self) -> list[tuple[int, int]]:
        """Gaps of at least MIN_INTRON bases between its exons, 0-based, half-open, from left to right."""
        exons = sorted(self.exons)
        gaps = [(left[1], right[0]) for left, right in itertools.pairwise(exons)]
        return [(start, end) for start, end in gaps if end - start >= MIN_INTRON]


def read_transcripts(path: Path, name: str, dropped: Counter[str]) -> list[Transcript]:
    """All transcripts, from their `transcript` and `exon` lines, in the order of the file.

    Args:
        path: of a GTF file, plain or gzip.
        name: to call it by in errors.
        dropped: lines that are left out are counted here.

    Raises:
        InputError: the file is no GTF, or has no transcript.
    """
    found: dict[tuple[str, str, str], Transcript] = {}
    for number, (contig, _, feature, first, last, _, strand, _, text, *_) in fields_of_lines(path, name, 9, "GTF"):
        if feature not in ("transcript", "exon"):
            continue
        start, end = interval_of(str(int(first) - 1) if first.isdecimal() else first, last, number, name)
        pairs = _ATTRIBUTE.findall(text)
        attributes: dict[str, str] = dict(pairs)
        if "transcript_id" not in attributes:
            hint = "; it looks like GFF3: convert it, with gffread -T say" if re.search("(ID|Parent)=", text) else ""
            raise InputError(f"Line {number:,} of {name} has no transcript_id, which GTF gives each transcript{hint}.")
        if strand not in ("+", "-"):
            dropped["lines of the annotation without strand"] += 1
            continue
        key = (attributes["transcript_id"], contig, strand)
        transcript = found.get(key)
        if transcript is None:
            gene_type = attributes.get("gene_type", attributes.get("gene_biotype", ""))
            gene = attributes.get("gene_id", key[0])
            transcript = found[key] = Transcript(contig, strand == "-", start, end, gene, gene_type, False, [])
        transcript.start, transcript.end = min(transcript.start, start), max(transcript.end, end)
        transcript.canonical |= any(value in _CANONICAL_TAGS for tag, value in pairs if tag == "tag")
        if feature == "exon":
            transcript.exons.append((start, end))
    if not found:
        raise InputError(f"{name} has no transcripts: it has no line whose third column is transcript or exon.")
    return list(found.values())


def of_gene_types(transcripts: list[Transcript], types: tuple[str, ...], name: str) -> list[Transcript]:
    """Those of the types named; all, if none is.

    Raises:
        InputError: none is left.
    """
    chosen = [transcript for transcript in transcripts if not types or transcript.gene_type in types]
    if not chosen:
        present = Counter(transcript.gene_type or "none" for transcript in transcripts).most_common(5)
        listed = ", ".join(f"{kind} ({count:,})" for kind, count in present)
        raise InputError(
            f"{name} has no transcript of gene type {' or '.join(types)}; it has {listed}: choose with --gene-types, "
            "without a value for all."
        )
    return chosen
