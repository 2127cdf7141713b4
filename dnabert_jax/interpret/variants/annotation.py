"""Writes the scores of a VCF file into a VCF file and a table, row by row as the variants are scored."""

import contextlib
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from dnabert_jax.errors import InputError, JobError
from dnabert_jax.interpret.variants.alleles import MISMATCH, REFERENCE_IS_RIGHT, alleles_of
from dnabert_jax.interpret.variants.scoring import COLUMNS, ScoredAllele, VariantScorer
from dnabert_jax.io.genome import Genome
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.output_table import record_batch, table_writer
from dnabert_jax.io.vcf import (
    InfoField,
    VcfRecord,
    annotated,
    check_not_annotated,
    read_records,
    read_vcf,
    vcf_writer,
)
from dnabert_jax.output_file import output_files

LEFT_OUT = "left_out"
"""Column of the table that says why an allele has no scores."""

_LEFT_OUT_FIELD = InfoField("DNABERT_LEFT_OUT", "String", "Why this allele has no scores")
_ROWS = 1 << 12
_MOST_MISMATCHES = 0.5
"""Share of alleles whose REF may differ from the genome before another build of it is suspected."""


@dataclasses.dataclass
class VariantCount:
    """What was scored and what was not.

    Attributes:
        records: of the VCF file.
        scored: number of alleles with scores.
        left_out: alleles without, by reason.
    """

    records: int = 0
    scored: int = 0
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut)

    def question(self) -> str:
        """Returns the question whether the genome is the right one; empty if REF is mostly what it has."""
        counts = self.left_out.counts
        differing = counts[MISMATCH]
        compared = differing + self.scored + sum(counts[reason] for reason in REFERENCE_IS_RIGHT)
        if differing <= _MOST_MISMATCHES * compared:
            return ""
        return (
            f"REF is not what the genome has for {differing:,} of {compared:,} alleles: is the VCF file of another "
            "build of the genome than the FASTA file?"
        )


class VcfSurvey:
    """A VCF file that was read once, before anything is computed.

    Args:
        path: of the file.

    Attributes:
        header: its lines, that of the columns last.
        contigs: their names, in the order in which they come.
        alleles: how many rows the table will have.

    Raises:
        InputError: it is not a VCF file, a line is not a record, it has none, or has our fields already.
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
        every = [InfoField(_field(name), "Float", text) for kind in COLUMNS.values() for name, text in kind.items()]
        check_not_annotated(self.header, [*every, _LEFT_OUT_FIELD], path)
        if not contigs:
            raise InputError(f"{path} has no variant.")


def annotate(
    survey: VcfSurvey,
    genome: Genome,
    scorer: VariantScorer,
    k: int,
    vcf: Path,
    table: Path,
    advance: Callable[[int], object] | None = None,
) -> VariantCount:
    """Scores the alleles of a VCF file and writes both files, which get their names together when both are complete.

    Args:
        survey: of the file.
        genome: its contigs.
        scorer: of the model.
        k: of the model.
        vcf: to write: the records with fields in INFO, one value for each alternative allele.
        table: to write: a row for each alternative allele.
        advance: if given, called with the number of alleles that were done since the last call.

    Raises:
        InputError: one of the files exists, or no allele can be scored.
        JobError: a score is not finite.
    """
    texts = ("contig", "id", "ref", "alt")
    schema = pa.schema(
        [
            ("contig", pa.string()), ("position", pa.int64()), *((name, pa.string()) for name in texts[1:]),
            *((name, pa.float64()) for name in scorer.columns), (LEFT_OUT, pa.string()),
        ]
    )  # fmt: skip
    meanings = {name: text for kind in COLUMNS.values() for name, text in kind.items()}
    fields = [InfoField(_field(name), "Float", _sentence(meanings[name], scorer)) for name in scorer.columns]
    count = VariantCount()
    with contextlib.ExitStack() as files:
        table_file, vcf_file = files.enter_context(output_files(table, vcf))
        write_rows = files.enter_context(table_writer(table_file, table, schema))
        write_record = files.enter_context(vcf_writer(vcf_file, vcf, survey.header, [*fields, _LEFT_OUT_FIELD]))
        rows: list[tuple[object, ...]] = []
        for record, alleles in _by_record(survey.path, genome, scorer, k, advance):
            count.records += 1
            for allele, scores in alleles:
                variant = f"{record.contig}:{record.position} {record.reference}>{allele.text}"
                _check_finite(scores, f"Line {record.line:,} of {survey.path} ({variant})")
                if allele.left_out:
                    count.left_out.add(allele.left_out, f"{variant:.60} in line {record.line:,}")
                count.scored += not allele.left_out
                values = (scores.get(name) for name in scorer.columns)
                columns = record.contig, record.position, record.name, record.reference, allele.text
                rows.append((*columns, *values, allele.left_out or None))
            write_record(annotated(record, _values(scorer, alleles)))
            if len(rows) >= _ROWS:
                write_rows(record_batch([*zip(*rows, strict=True)], schema))
                rows = []
        if rows:
            write_rows(record_batch([*zip(*rows, strict=True)], schema))
        advice = count.question() if genome.names else "Give the genome that the VCF file was made with."
        count.left_out.check_some_left(count.scored, f"alternative alleles of {survey.path}", advice)
    return count


def _by_record(
    path: Path, genome: Genome, scorer: VariantScorer, k: int, advance: Callable[[int], object] | None
) -> Iterator[tuple[VcfRecord, list[ScoredAllele]]]:
    """Yields each record with its scored alleles."""
    to_score, again = itertools.tee(alleles_of(read_records(path), genome, scorer.window, k))
    scored = scorer.score((allele for _, allele in to_score), genome, advance)
    pairs = ((record, allele) for allele, (record, _) in zip(scored, again, strict=True))
    for _, group in itertools.groupby(pairs, key=lambda pair: pair[0].line):
        several = list(group)
        yield several[0][0], [allele for _, allele in several]


def _check_finite(scores: dict[str, float], place: str) -> None:
    for name, value in scores.items():
        if not math.isfinite(value):
            raise JobError(f"{place} has the {name} {value}, which is not finite.")


def _values(scorer: VariantScorer, alleles: list[ScoredAllele]) -> dict[str, list[str]]:
    """Returns the fields of INFO."""
    values = {}
    if any(scored.scores for scored in alleles):
        for name in scorer.columns:
            values[_field(name)] = [f"{scored.scores[name]:.6g}" if scored.scores else "." for scored in alleles]
    if any(scored.allele.left_out for scored in alleles):
        # INFO cannot hold spaces, commas, semicolons or equals signs.
        reasons = [re.sub("[,;=]", "", scored.allele.left_out).replace(" ", "_") or "." for scored in alleles]
        values[_LEFT_OUT_FIELD.name] = reasons
    return values


def _field(column: str) -> str:
    return f"DNABERT_{column.upper()}"


def _sentence(meaning: str, scorer: VariantScorer) -> str:
    of_label = f" (label {scorer.label})" if scorer.label and "label" in meaning else ""
    return meaning[0].upper() + meaning[1:] + of_label
