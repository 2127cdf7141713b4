"""Writes the scores of a VCF file into a VCF file and a table, row by row as the variants are scored."""

import contextlib
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from dnabert_jax.errors import InputError, JobError
from dnabert_jax.interpret.variants.alleles import Allele, alleles_of
from dnabert_jax.interpret.variants.scoring import COLUMNS, VariantScorer
from dnabert_jax.io.genome import Genome
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.output_table import record_batch, table_writer
from dnabert_jax.io.vcf import InfoField, VcfRecord, annotated, read_vcf, vcf_writer
from dnabert_jax.outputs import output_files

_MEANINGS = {name: text for kind in COLUMNS.values() for name, text in kind.items()}
_ROWS = 1 << 12
_MOST_MISMATCHES = 0.5
"""Share of alleles whose REF may differ from the genome before another build of it is suspected."""


@dataclasses.dataclass
class VariantCount:
    """Counts of what was scored and what was not.

    Attributes:
        compared: number of alleles whose REF was compared with the genome.
        differing: number of these whose REF is not what the genome has.
    """

    records: int = 0
    scored: int = 0
    compared: int = 0
    differing: int = 0
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut)

    def question(self) -> str:
        """Returns the question whether the genome is the right one; empty if REF is mostly what it has."""
        if self.differing <= _MOST_MISMATCHES * self.compared:
            return ""
        return (
            f"REF is not what the genome has for {self.differing:,} of {self.compared:,} alleles: is the VCF file of "
            "another build of the genome than the FASTA file?"
        )


class VcfSurvey:
    """A VCF file that was read once, before anything is computed.

    Attributes:
        header: its lines, that of the columns last.
        contigs: their names, in the order in which they come.
        alleles: how many rows the table will have.
    """

    def __init__(self, path: Path):
        self.path = path
        self.header: list[str] = []
        contigs: dict[str, None] = {}
        self.alleles = 0
        for part in read_vcf(path):
            if isinstance(part, str):
                self.header.append(part)
                continue
            contigs.setdefault(part.contig)
            self.alleles += max(1, len(part.alternatives))
        # Of files that were joined, other headers come later.
        self.header.sort(key=lambda line: line.upper().startswith("#CHROM"))
        self.contigs = list(contigs)
        for field in _fields(_MEANINGS):
            if any(line.startswith(f"##INFO=<ID={field.name},") for line in self.header):
                raise InputError(f"{path} has the field {field.name} already: give the file that it was made from.")
        if not contigs:
            raise InputError(f"{path} has no variant.")


def annotate(
    survey: VcfSurvey,
    genome: Genome,
    scorer: VariantScorer,
    vcf: Path,
    table: Path,
    advance: Callable[[int], object] | None = None,
) -> VariantCount:
    """Scores the alleles of a VCF file and writes both files, which get their names together when both are complete.

    Args:
        vcf: to write: the records with fields in INFO, one value for each alternative allele.
        table: to write: a row for each alternative allele; it names the label of effects.
        advance: if given, called with the number of alleles that were done since the last call.

    Raises:
        InputError: one of the files exists, or no allele can be scored.
        JobError: a score is not finite.
    """
    label = [scorer.label] * bool(scorer.label)
    texts = [(name, pa.string()) for name in ("id", "ref", "alt", *["label"] * len(label))]
    numbers = [(name, pa.float64()) for name in scorer.columns]
    schema = pa.schema([("contig", pa.string()), ("position", pa.int64()), *texts, *numbers, ("left_out", pa.string())])
    count = VariantCount()
    alleles = (
        allele
        for record in read_vcf(survey.path)
        if isinstance(record, VcfRecord)
        for allele in alleles_of(record, genome, scorer.window, scorer.shortest)
    )
    by_record = itertools.groupby(scorer.score(alleles, genome, advance), lambda scored: scored[0].record)
    with contextlib.ExitStack() as files:
        table_file, vcf_file = files.enter_context(output_files(table, vcf))
        write_rows = files.enter_context(table_writer(table_file, table, schema))
        fields = _fields(scorer.columns, scorer.label)
        write_record = files.enter_context(vcf_writer(vcf_file, vcf, survey.header, fields))

        def rows() -> Iterator[tuple[object, ...]]:
            for record, group in by_record:
                several = list(group)
                count.records += 1
                for allele, scores in several:
                    variant = f"{record.contig}:{record.position} {record.reference}>{allele.text}"
                    if broken := [f"{name} {value}" for name, value in scores.items() if not math.isfinite(value)]:
                        line = f"Line {record.line:,} of {survey.path} ({variant})"
                        raise JobError(f"{line} has the {', '.join(broken)}, which is not finite.")
                    count.compared += allele.matches is not None
                    count.differing += allele.matches is False
                    count.scored += not allele.left_out
                    if allele.left_out:
                        count.left_out.add(allele.left_out, f"{variant:.60} in line {record.line:,}")
                    values = (scores.get(name) for name in scorer.columns)
                    columns = record.contig, record.position, record.name, record.reference, allele.text
                    yield *columns, *label, *values, allele.left_out or None
                write_record(annotated(record, _values(scorer, several)))

        remaining = rows()
        while together := list(itertools.islice(remaining, _ROWS)):
            write_rows(record_batch([*zip(*together, strict=True)], schema))
        advice = count.question() if genome.names else "Give the genome that the VCF file was made with."
        count.left_out.check_some_left(count.scored, f"alternative alleles of {survey.path}", advice)
    return count


def _values(scorer: VariantScorer, scored: list[tuple[Allele, dict[str, float]]]) -> dict[str, list[str]]:
    """Returns the fields of INFO."""
    values = {}
    if any(scores for _, scores in scored):
        for name in scorer.columns:
            values[_field(name)] = [f"{scores[name]:.6g}" if scores else "." for _, scores in scored]
    if any(allele.left_out for allele, _ in scored):
        # INFO cannot hold spaces, commas, semicolons or equals signs.
        reasons = [re.sub("[,;=]", "", allele.left_out).replace(" ", "_") or "." for allele, _ in scored]
        values[_field("left_out")] = reasons
    return values


def _field(column: str) -> str:
    return f"DNABERT_{column.upper()}"


def _fields(columns: Iterable[str], label: str = "") -> list[InfoField]:
    """Returns the declarations of the scores, and of the reason, which a record without an ALT has too."""
    of_label = f" (label {label})" if label else ""
    sentences = {name: _MEANINGS[name] + of_label * ("label" in _MEANINGS[name]) for name in columns}
    fields = [InfoField(_field(name), "A", "Float", text[0].upper() + text[1:]) for name, text in sentences.items()]
    return [*fields, InfoField(_field("left_out"), ".", "String", "Why this allele has no scores")]
