"""Transcripts of a GTF or GFF3 file: where they start, and their introns.

Positions are 1-based and inclusive in the file, 0-based and half-open here. gtfparse, pyranges and gffutils either
bring pandas or polars along or build a database first, and none joins what NCBI, BRAKER and Ensembl write differently.
"""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dnabert_jax.errors import InputError
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.text import numbered_lines

MIN_INTRON = 30
"""Bases below which a gap between exons is a correction of the reading frame, not an intron that is spliced."""

_COLUMNS = 9
_DIGITS = 18  # any more do not fit into an int64
_ATTRIBUTE = re.compile(
    r';\s*(gene_id|transcript_id|gene_type|gene_biotype|biotype|tag|ID|Parent)(?:\s*=\s*|\s+)"?([^";]*[^";\s]|)'
)
_GFF3 = re.compile("(?:^|;) *(?:ID|Parent)=")
_BARE = re.compile(r'[^\s;="]+')
_CANONICAL_TAGS = {"Ensembl_canonical", "MANE_Select", "MANE Select", "RefSeq Select"}
_CODING = "protein_coding"

_Key = tuple[str, str, str]
"""Identifier of a gene, contig and strand."""


@dataclasses.dataclass
class Transcript:
    """One transcript, or a gene of which the file has no transcript.

    Attributes:
        contig: as the file names it.
        reverse: whether it is on the reverse strand.
        start, end: of all its lines, 0-based, half-open.
        gene: identifier of its gene.
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


class _Part(NamedTuple):
    """A line of a transcript."""

    transcript: str
    contig: str
    strand: str
    start: int
    end: int
    is_exon: bool
    canonical: bool


def read_transcripts(path: Path, name: str, notes: LeftOut) -> list[Transcript]:
    """Returns all transcripts, and the genes of which the file has none.

    Lines are joined by `gene_id` and `transcript_id`, or in GFF3 by `ID` and `Parent`: the type of a gene may stand on
    any of its lines. A gene without a type is protein-coding if it has CDS or mRNA lines.

    Args:
        path: of a GTF or GFF3 file, which is read once.
        name: what errors call it.
        notes: takes up lines that are left out, and what is said about the file.

    Raises:
        InputError: as for `open_text`; the file is neither GTF nor GFF3, or no line can be used.
    """
    annotation = _Annotation(name, notes)
    for number, columns in _rows(path, name):
        annotation.add(number, columns)
    return annotation.joined()


def _rows(path: Path, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yields number and columns of each line, up to the sequence that may follow in GFF3."""
    for number, line in numbered_lines(path, name):
        if line.startswith(("##FASTA", ">")):
            return
        if line.startswith("#") or not line or line.isspace():
            continue
        columns = line.split("\t") if "\t" in line else line.split(None, _COLUMNS - 1)
        if len(columns) < _COLUMNS:
            raise InputError(
                f"Line {number:,} of {name} has {len(columns)} columns separated by tabs, where GTF and GFF3 have "
                f"{_COLUMNS}: {line[:60]!r}."
            )
        yield number, columns


def _attributes(text: str, feature: str) -> dict[str, str]:
    """Returns the attributes that are used here, of each name the first, but all tags behind commas."""
    if '"' in text and not (("ID=" in text or "Parent=" in text) and _GFF3.search(text)):
        parts = text.split('"')
        quoted = parts[1::2]
        if ";" in "".join(quoted):
            parts[1::2] = [value.replace(";", ",") for value in quoted]
            text = '"'.join(parts)
    pairs = _ATTRIBUTE.findall(";" + text)
    if not pairs and (bare := _BARE.fullmatch(text.strip(" ;"))):  # as BRAKER writes genes and transcripts
        return {"gene_id" if feature == "gene" else "transcript_id": bare[0]}
    attributes = dict(reversed(pairs))
    if "tag" in attributes:
        attributes["tag"] = ",".join(value for key, value in pairs if key == "tag")
    return attributes


def _kind(feature: str) -> str:
    """Returns what a line of this feature is: gene, transcript, exon, CDS, or "" for anything else."""
    if feature in ("exon", "CDS"):
        return feature
    if feature == "transcript" or feature.endswith(("RNA", "_transcript")):
        return "transcript"
    return "gene" if feature.endswith("gene") else ""


class _Annotation:
    """The lines of a file, joined as they are read.

    Args:
        name: of the file.
        notes: takes up lines that are left out, and what is said about the file.
    """

    def __init__(self, name: str, notes: LeftOut):
        self._name, self._notes = name, notes
        self._types: dict[str, str] = {}
        self._coding: set[str] = set()
        self._parents: dict[str, str] = {}
        self._genes: dict[_Key, tuple[int, int]] = {}
        self._coding_parts: dict[_Key, tuple[int, int]] = {}
        self._transcripts: dict[tuple[str, str, str, str], Transcript] = {}
        self._without_gene: list[_Part] = []

    def add(self, number: int, columns: list[str]) -> None:
        """Takes up a line.

        Raises:
            InputError: it has no positions, or does not say what it is part of.
        """
        contig, _, feature, first, last, _, strand, _, text, *_ = columns
        kind = _kind(feature)
        # Lines of CDS are for genes without transcripts or type.
        if ("gene_type" in text or "gene_biotype" in text) if kind == "CDS" else (not kind and "Parent" not in text):
            return
        attributes = _attributes(text, feature)
        gene, transcripts = self._identifiers(kind, attributes)
        if not kind or not (gene or any(transcripts) or feature in ("transcript", "exon")):
            return
        start, end = _interval(first, last, f"Line {number:,} of {self._name}")
        if strand not in ("+", "-"):
            self._notes.add("they have no strand", f"line {number:,} of {self._name}")
            return
        if not transcripts and feature in ("transcript", "exon"):
            raise InputError(
                f"Line {number:,} of {self._name} has neither transcript_id, as in GTF, nor ID and Parent, as in GFF3: "
                f"{text[:60]!r}."
            )
        if feature in ("CDS", "mRNA"):
            self._coding.update([gene] if gene else transcripts)
        self._join(kind, gene, transcripts or [gene], (contig, strand, start, end), attributes)

    def _join(
        self,
        kind: str,
        gene: str,
        transcripts: list[str],
        place: tuple[str, str, int, int],
        attributes: Mapping[str, str],
    ) -> None:
        contig, strand, start, end = place
        owners = [gene] if gene else transcripts
        gene_type = attributes.get("gene_type") or attributes.get("gene_biotype")
        if kind == "gene":
            gene_type = gene_type or attributes.get("biotype")
            _widen(self._genes, (owners[0], contig, strand), start, end)
        elif kind == "CDS":
            for owner in owners:
                _widen(self._coding_parts, (owner, contig, strand), start, end)
        else:
            canonical = "tag" in attributes and not _CANONICAL_TAGS.isdisjoint(attributes["tag"].split(","))
            part = (contig, strand, start, end, kind == "exon", canonical)
            if gene:
                self._extend(gene, transcripts[0], *part)
            else:
                self._without_gene += [_Part(transcript, *part) for transcript in transcripts]
        if gene_type:
            self._types.setdefault(owners[0], gene_type)

    def _identifiers(self, kind: str, attributes: Mapping[str, str]) -> tuple[str, list[str]]:
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

    def _extend(
        self, gene: str, name: str, contig: str, strand: str, start: int, end: int, is_exon: bool, canonical: bool
    ) -> None:
        key = (gene, name, contig, strand)
        transcript = self._transcripts.get(key)
        if transcript is None:
            transcript = self._transcripts[key] = Transcript(contig, strand == "-", start, end, gene, "", False, [])
        transcript.start, transcript.end = min(transcript.start, start), max(transcript.end, end)
        transcript.canonical |= canonical
        if is_exon:
            transcript.exons.append((start, end))

    def _gene_of(self, name: str) -> str:
        """Returns the gene that a transcript, or a part of one, belongs to; itself if it belongs to nothing."""
        passed = set()
        while name in self._parents and name not in passed:
            passed.add(name)
            name = self._parents[name]
        return name

    def joined(self) -> list[Transcript]:
        """Returns the transcripts, and the genes without any.

        Raises:
            InputError: there are none.
        """
        for part in self._without_gene:
            self._extend(self._gene_of(part.transcript), *part)
        transcripts = list(self._transcripts.values())
        with_transcript = {(transcript.gene, transcript.contig, transcript.reverse) for transcript in transcripts}
        genes = dict(self._genes)
        for (owner, contig, strand), ends in self._coding_parts.items():
            key = (self._gene_of(owner), contig, strand)
            if key not in self._genes:
                _widen(genes, key, *ends)
        for (gene, contig, strand), (start, end) in genes.items():
            if (gene, contig, strand == "-") not in with_transcript:
                transcripts.append(Transcript(contig, strand == "-", start, end, gene, "", False, [], is_gene=True))
        advice = "Genes and transcripts are the lines with gene, transcript or exon in column 3."
        self._notes.check_some_left(len(transcripts), f"genes or transcripts in {self._name}", advice)
        types = {self._gene_of(owner): gene_type for owner, gene_type in reversed(self._types.items())}
        coding = {self._gene_of(owner) for owner in self._coding} - types.keys()
        for transcript in transcripts:
            transcript.gene_type = types.get(transcript.gene, _CODING if transcript.gene in coding else "")
        if coding:
            self._notes.remark(
                f"{self._name} gives no type for {len(coding):,} genes with CDS or mRNA lines: they are taken as "
                f"{_CODING}."
            )
        return transcripts


def _interval(first: str, last: str, where: str) -> tuple[int, int]:
    """Returns the interval of a line, 0-based, half-open."""
    for text in (first, last):
        if not text.isdecimal() or len(text) > _DIGITS or not int(text):
            raise InputError(f"{where} has {text!r} where GTF and GFF3 have a position, a whole number from 1.")
    if int(first) > int(last):
        raise InputError(f"{where} has the start {first} and the end {last}: the end must not come before the start.")
    return int(first) - 1, int(last)


def _widen(ends: dict[_Key, tuple[int, int]], key: _Key, start: int, end: int) -> None:
    """Makes an interval hold another one as well."""
    first, last = ends.get(key, (start, end))
    ends[key] = min(first, start), max(last, end)


def of_gene_types(transcripts: list[Transcript], types: tuple[str, ...], name: str, notes: LeftOut) -> list[Transcript]:
    """Returns the transcripts of the types named; all if none is named.

    Raises:
        InputError: none is left.
    """
    chosen = [transcript for transcript in transcripts if not types or transcript.gene_type in types]
    present = Counter(transcript.gene_type or "unknown" for transcript in transcripts).most_common(6)
    listed = ", ".join(f"{kind} ({count:,})" for kind, count in present)
    if not types and any(transcript.gene_type not in ("", _CODING) for transcript in chosen):
        notes.remark(f"Genes of all types are taken: {listed}.")
    if not chosen and any(transcript.gene_type for transcript in transcripts):
        raise InputError(
            f"{name} has no gene of type {' or '.join(types)}. Its types are {listed}. Name those to take with "
            "--gene-types."
        )
    if not chosen:
        raise InputError(
            f"{name} does not give the types of its genes. To take all of its {len(transcripts):,} transcripts, give "
            "--gene-types without a value."
        )
    return chosen
