"""Transcripts of a GTF or GFF3 file: where they start, and their introns.

Positions are 1-based and inclusive in the file, 0-based and half-open here. gtfparse, pyranges and gffutils either
bring pandas or polars along or build a database first, and none joins what NCBI, BRAKER and Ensembl write differently.
"""

import dataclasses
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

from dnabert_jax.errors import InputError
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.text import WHOLE, line_error, numbered_lines

MIN_INTRON = 30
"""Bases below which a gap between exons is a correction of the reading frame, not an intron that is spliced."""

_COLUMNS = 9
_ATTRIBUTE = re.compile(
    r';\s*(gene_id|transcript_id|gene_type|gene_biotype|biotype|tag|ID|Parent)(?:\s*=\s*|\s+)"?([^";]*[^";\s]|)'
)
_GFF3 = re.compile("(?:^|;) *(?:ID|Parent)=")
_BARE = re.compile(r'[^\s;="]+')
_SEMICOLON = "\0"
"""Stands for a semicolon within quotes, which does not end an attribute."""

_CANONICAL_TAGS = {"Ensembl_canonical", "MANE_Select", "MANE Select", "RefSeq Select"}
_CODING = "protein_coding"


@dataclasses.dataclass(slots=True)
class Transcript:
    """One transcript, or a gene of which the file has no transcript.

    Attributes:
        contig: as the file names it.
        start, end: of all its lines, 0-based, half-open.
        gene_type: type of its gene, "" if the file gives none.
        canonical: whether it is tagged as the one to take of its gene (Ensembl_canonical, MANE_Select).
        exons: 0-based, half-open, in the order of the file.
        is_gene: whether these are the ends of a gene without transcripts, as bacteria have them.
    """

    contig: str
    reverse: bool
    start: int
    end: int
    gene: str
    gene_type: str
    canonical: bool
    exons: list[tuple[int, int]]
    is_gene: bool = False

    @property
    def tss(self) -> int:
        """The first base that is transcribed, 0-based."""
        return self.end - 1 if self.reverse else self.start

    def introns(self) -> list[tuple[int, int]]:
        """Returns the gaps of at least MIN_INTRON bases between its exons, 0-based, half-open, from left to right."""
        exons = sorted(self.exons)
        gaps = [(left[1], right[0]) for left, right in itertools.pairwise(exons)]
        return [(start, end) for start, end in gaps if end - start >= MIN_INTRON]


def read_transcripts(path: Path, name: str, notes: LeftOut) -> list[Transcript]:
    """Returns all transcripts, and the genes of which the file has none.

    Lines are joined by `gene_id` and `transcript_id`, or in GFF3 by `ID` and `Parent`: the type of a gene may stand on
    any of its lines. A gene without a type is protein-coding if it has CDS or mRNA lines.
    """
    annotation = _Annotation(name, notes)
    for number, line in numbered_lines(path, name):
        if line.startswith(("##FASTA", ">")):
            break  # In GFF3 the sequence may follow.
        if line.startswith("#") or not line or line.isspace():
            continue
        columns = line.split("\t") if "\t" in line else line.split(None, _COLUMNS - 1)
        if len(columns) < _COLUMNS:
            problem = f"has {len(columns)} columns separated by tabs, where GTF and GFF3 have {_COLUMNS}"
            raise line_error(number, name, f"{problem}: {line[:60]!r}.")
        annotation.add(number, columns)
    return annotation.joined()


def _attributes(text: str, feature: str) -> dict[str, str]:
    """Returns the attributes that are used here, of each name the first, but all tags behind commas."""
    if '"' in text and not (("ID=" in text or "Parent=" in text) and _GFF3.search(text)):
        parts = text.split('"')
        if ";" in "".join(parts[1::2]):
            parts[1::2] = [value.replace(";", _SEMICOLON) for value in parts[1::2]]
            text = '"'.join(parts)
    pairs = _ATTRIBUTE.findall(";" + text)
    if not pairs and (bare := _BARE.fullmatch(text.strip(" ;"))):  # as BRAKER writes genes and transcripts
        return {"gene_id" if feature == "gene" else "transcript_id": bare[0]}
    attributes = dict(reversed(pairs))
    if _SEMICOLON in text:
        attributes = {name: value.replace(_SEMICOLON, ";") for name, value in attributes.items()}
    if "tag" in attributes:
        attributes["tag"] = ",".join(value for name, value in pairs if name == "tag")
    return attributes


def _kind(feature: str) -> str:
    """Returns what a line of this feature is: gene, transcript, exon, CDS, or "" for anything else."""
    if feature in ("exon", "CDS"):
        return feature
    if feature == "transcript" or feature.endswith(("RNA", "_transcript")):
        return "transcript"
    return "gene" if feature.endswith("gene") else ""


class _Annotation:
    """The lines of a file, joined as they are read."""

    def __init__(self, name: str, notes: LeftOut):
        self._name, self._notes = name, notes
        self._typed = ""
        self._parents: dict[str, str] = {}
        # By whether it is coding, gene (if its lines say it), transcript, contig, strand, and whether it is a gene.
        self._joined: dict[tuple[bool, str, str, str, str, bool], Transcript] = {}

    def add(self, number: int, columns: list[str]) -> None:
        """Takes up a line; raises InputError if it has no positions, or does not say what it is part of."""
        contig, _, feature, first, last, _, strand, _, text, *_ = columns
        kind = _kind(feature)
        # A coding part adds nothing to a gene whose ends and type were on the lines before it.
        if (not kind and "Parent" not in text) or (kind == "CDS" and self._typed and self._typed in text):
            return
        attributes = _attributes(text, feature)
        gene, transcripts = self._identifiers(kind, attributes)
        if not kind or not (gene or any(transcripts) or feature in ("transcript", "exon")):
            return
        if not (WHOLE.fullmatch(first) and WHOLE.fullmatch(last) and 0 < int(first) <= int(last)):
            problem = (
                f"has the start {first!r:.60} and the end {last!r:.60}: they must be whole numbers from 1, and the"
            )
            raise line_error(number, self._name, f"{problem} end must not come before the start.")
        if strand not in ("+", "-"):
            self._notes.add("they have no strand", f"line {number:,} of {self._name}")
            return
        if not transcripts and feature in ("transcript", "exon"):
            problem = f"has neither transcript_id, as in GTF, nor ID and Parent, as in GFF3: {text[:60]!r}."
            raise line_error(number, self._name, problem)
        gene_type = attributes.get("gene_type") or attributes.get("gene_biotype") or ""
        if kind == "gene":
            gene_type = gene_type or attributes.get("biotype", "")
        canonical = "tag" in attributes and not _CANONICAL_TAGS.isdisjoint(attributes["tag"].split(","))
        if kind != "CDS":
            self._typed = f'"{gene}"' if gene and gene_type else ""
        start, end, is_gene = int(first) - 1, int(last), kind in ("gene", "CDS")
        for name in [""] if gene and is_gene else transcripts or [gene]:
            exons = [(start, end)] if kind == "exon" else []
            line = Transcript(contig, strand == "-", start, end, gene, gene_type, canonical, exons, is_gene)
            _join(self._joined, (feature in ("CDS", "mRNA"), gene, name, contig, strand, is_gene), line)

    def _identifiers(self, kind: str, attributes: dict[str, str]) -> tuple[str, list[str]]:
        """Returns the gene of a line, "" if that is not known yet, and its transcripts."""
        if "ID" not in attributes and "Parent" not in attributes:
            gene = attributes.get("gene_id", "")
            if "transcript_id" not in attributes:
                return gene, []
            if gene and attributes["transcript_id"]:
                self._parents.setdefault(attributes["transcript_id"], gene)
            return gene, [attributes["transcript_id"]]
        parents = [parent for parent in attributes.get("Parent", "").split(",") if parent]
        itself = attributes.get("ID", "")
        if kind == "gene":
            return itself, []
        if kind in ("exon", "CDS"):
            return "", parents or [itself]
        if parents and itself:
            self._parents[itself] = parents[0]
        return "", [itself]

    def _gene_of(self, name: str) -> str:
        """Returns the gene that a transcript, or a part of one, belongs to; itself if it belongs to nothing."""
        passed = set()
        while name in self._parents and name not in passed:
            passed.add(name)
            name = self._parents[name]
        return name

    def joined(self) -> list[Transcript]:
        """Returns the transcripts, and the genes without any; raises InputError if there are none."""
        transcripts: dict[tuple[str, bool, str, str, bool], Transcript] = {}
        types: dict[str, str] = {}
        coding: set[str] = set()
        for (is_coding, _, name, *_), part in self._joined.items():
            gene = part.gene = part.gene or self._gene_of(name)
            if part.gene_type:
                types.setdefault(gene, part.gene_type)
            if is_coding:
                coding.add(gene)
            _join(transcripts, (gene, part.is_gene, part.contig, part.reverse, "" if part.is_gene else name), part)
        with_transcripts = {(gene, *strand) for gene, is_gene, *strand, _ in transcripts if not is_gene}
        chosen = [
            transcript
            for (gene, is_gene, *strand, _), transcript in transcripts.items()
            if not is_gene or (gene, *strand) not in with_transcripts
        ]
        advice = "Genes and transcripts are the lines with gene, transcript or exon in column 3."
        what = f"genes or transcripts in {self._name}"
        self._notes.check_some_left(len(chosen), what, "" if self._notes.total else advice)
        for transcript in chosen:
            transcript.gene_type = types.get(transcript.gene, _CODING if transcript.gene in coding else "")
        if coding := coding - types.keys():
            self._notes.remark(
                f"{self._name} gives no type for {len(coding):,} genes with CDS or mRNA lines: they are taken as "
                f"{_CODING}."
            )
        return sorted(chosen, key=lambda transcript: transcript.is_gene)


def _join(transcripts: dict[Any, Transcript], key: object, line: Transcript) -> None:
    """Extends a transcript or gene by a line, or begins it."""
    transcript = transcripts.setdefault(key, line)
    if transcript is not line:
        transcript.start, transcript.end = min(transcript.start, line.start), max(transcript.end, line.end)
        transcript.gene_type = transcript.gene_type or line.gene_type
        transcript.canonical |= line.canonical
        transcript.exons += line.exons


def of_gene_types(transcripts: list[Transcript], types: tuple[str, ...], name: str, notes: LeftOut) -> list[Transcript]:
    """Returns the transcripts of the types named, all if none is named; raises InputError if none is left."""
    chosen = [transcript for transcript in transcripts if not types or transcript.gene_type in types]
    present = Counter(transcript.gene_type or "unknown" for transcript in transcripts).most_common(6)
    listed = ", ".join(f"{kind} ({count:,})" for kind, count in present)
    if not types and any(transcript.gene_type not in ("", _CODING) for transcript in chosen):
        notes.remark(f"Genes of all types are taken: {listed}.")
    if chosen:
        return chosen
    if any(transcript.gene_type for transcript in transcripts):
        wanted = " or ".join(types)
        raise InputError(
            f"{name} has no gene of type {wanted}. Its types are {listed}. Name those to take with --gene-types."
        )
    raise InputError(
        f"{name} does not give the types of its genes. To take all of its {len(transcripts):,} transcripts, give "
        "--gene-types without a value."
    )
