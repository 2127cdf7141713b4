"""A VCF file to the same with scores, and a table of them: both are written as the variants pass."""

import contextlib
import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from dnabert_jax.errors import InputError, JobError
from dnabert_jax.interpret.variants.alleles import alleles_of
from dnabert_jax.interpret.variants.scoring import COLUMNS, ScoredAllele, VariantScorer
from dnabert_jax.io.genome import Genome
from dnabert_jax.io.output_table import output_table
from dnabert_jax.io.vcf import (
    InfoField,
    VcfRecord,
    annotated,
    check_not_annotated,
    read_header,
    read_records,
    vcf_output,
)

LEFT_OUT = "left_out"
"""Column of the table that says why an allele has no scores."""

_LEFT_OUT_FIELD = InfoField("DNABERT_LEFT_OUT", "String", "Why this allele has no scores")
_ROWS = 1 << 12


@dataclasses.dataclass
class VariantCount:
    """What passed.

    Attributes:
        records: of the VCF file.
        alleles: rows of the table.
        left_out: how many for each reason.
    """

    records: int = 0
    alleles: int = 0
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)


class VcfSurvey:
    """A VCF file that was read once, before anything is computed.

    Args:
        path: of the file.

    Attributes:
        contigs: their names, in the order in which they come.
        alleles: how many rows the table will have.

    Raises:
        InputError: it is no VCF file, a line is no record, it has none, or has our fields already.
    """

    def __init__(self, path: Path):
        self.path = path
        self.header = read_header(path)
        every = [InfoField(_field(name), "Float", text) for kind in COLUMNS.values() for name, text in kind.items()]
        check_not_annotated(self.header, [*every, _LEFT_OUT_FIELD], path)
        contigs: dict[str, None] = {}
        self.alleles = 0
        for record in read_records(path):
            contigs.setdefault(record.contig)
            self.alleles += max(1, len(record.alternatives))
        self.contigs = list(contigs)
        if not contigs:
            raise InputError(f"{path} has no variant.")

    def check_contigs(self, genome: Genome, path: Path) -> None:
        """Raises InputError if the genome has none of the contigs."""
        if not genome.names:
            named = ", ".join(self.contigs[:3]) + (", ..." if len(self.contigs) > 3 else "")
            raise InputError(f"{path} has none of the contigs of {self.path}, {named}, not by another name either.")


def annotate(
    survey: VcfSurvey,
    genome: Genome,
    scorer: VariantScorer,
    k: int,
    vcf: Path,
    table: Path,
    advance: Callable[[int], object] | None = None,
) -> VariantCount:
    """Scores the alleles of a VCF file and writes both files, which have their names when both are complete.

    Args:
        survey: of the file.
        genome: its contigs.
        scorer: of the model.
        k: of the model.
        vcf: to write: the records with fields in INFO, one value for each alternative allele.
        table: to write: a row for each alternative allele.
        advance: if given, told how many more alleles are done.

    Raises:
        InputError: one of the files exists, or its name does not say what it is.
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
        write_rows = files.enter_context(output_table(table, schema))
        write_record = files.enter_context(vcf_output(vcf, survey.header, [*fields, _LEFT_OUT_FIELD]))
        rows: list[tuple[object, ...]] = []
        for record, scored in _by_record(survey.path, genome, scorer, k, advance):
            count.records += 1
            count.alleles += len(scored)
            for own in scored:
                _check_finite(own, record, survey.path)
                if own.allele.left_out:
                    count.left_out[own.allele.left_out] += 1
                values = (own.scores.get(name) for name in scorer.columns)
                place = record.contig, record.position, record.name, record.reference, own.allele.text
                rows.append((*place, *values, own.allele.left_out or None))
            write_record(annotated(record, _values(scorer, scored)))
            if len(rows) >= _ROWS:
                write_rows(_batch(rows, schema))
                rows = []
        if rows:
            write_rows(_batch(rows, schema))
    return count


def _by_record(
    path: Path, genome: Genome, scorer: VariantScorer, k: int, advance: Callable[[int], object] | None
) -> Iterator[tuple[VcfRecord, list[ScoredAllele]]]:
    """Yields each record with its scored alleles."""
    own, kept = itertools.tee(alleles_of(read_records(path), genome, scorer.window, k))
    scored = scorer.score((allele for _, allele in own), genome, advance)
    pairs = ((record, one) for one, (record, _) in zip(scored, kept, strict=True))
    for _, group in itertools.groupby(pairs, key=lambda pair: pair[0].line):
        several = list(group)
        yield several[0][0], [one for _, one in several]


def _check_finite(own: ScoredAllele, record: VcfRecord, path: Path) -> None:
    for name, value in own.scores.items():
        if not math.isfinite(value):
            place = f"{record.contig}:{record.position} {record.reference}>{own.allele.text}"
            raise JobError(f"Line {record.line:,} of {path} ({place}) has the {name} {value}, which is not finite.")


def _values(scorer: VariantScorer, scored: list[ScoredAllele]) -> dict[str, list[str]]:
    """Fields of INFO."""
    values = {}
    if any(own.scores for own in scored):
        for name in scorer.columns:
            values[_field(name)] = [f"{own.scores[name]:.6g}" if own.scores else "." for own in scored]
    if any(own.allele.left_out for own in scored):
        # No spaces, commas or semicolons in INFO.
        reasons = [own.allele.left_out.replace(",", "").replace(" ", "_") or "." for own in scored]
        values[_LEFT_OUT_FIELD.name] = reasons
    return values


def _field(column: str) -> str:
    return f"DNABERT_{column.upper()}"


def _sentence(meaning: str, scorer: VariantScorer) -> str:
    of_label = f" (label {scorer.label})" if scorer.label and "label" in meaning else ""
    return meaning[0].upper() + meaning[1:] + of_label


def _batch(rows: list[tuple[object, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(own, kind) for own, kind in zip(columns, schema.types, strict=True)], schema=schema
    )
