"""Reads the original's file of mutations, and writes the table of what changes do."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.mutagenesis import Change, ChangeEffects
from dnabert_jax.io.output_table import output_table, record_batch
from dnabert_jax.io.text import WHOLE, numbered_lines
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes, decode_bases
from dnabert_jax.sequence.buckets import groups
from dnabert_jax.stream import Coded

_FIELDS = ("index", "start", "end")
_MISSING = ("NA", "NaN", "nan")
"""Alleles that are IUPAC letters, and that pandas, by which the original reads, takes for nothing."""

_ROWS = 1 << 15
"""Of a row group of the table, and those of a sequence more."""


Mutation = tuple[int, int, Change]
"""A row of the file: its number from 1, the index of the sequence from 0, and the change."""


def read_mutations(path: Path) -> list[Mutation]:
    """Returns the rows of a file as of `--mut_file` of the original's SNP/mutate_seqs.py.

    It is tab-separated and has no header: index of the sequence from 0, start and end of what goes, from 0 and end
    excluded, and the allele that comes. Without an allele a row is a deletion; with start = end it is an insertion. A
    row of three fields is a deletion, if another row has an allele.
    """
    rows = [(number, line.split("\t")) for number, line in numbered_lines(path) if line.strip()]
    if not rows:
        raise InputError(f"{path} has no mutation.")
    if all(len(fields) == len(_FIELDS) for _, fields in rows):
        raise InputError(f"{path} has no column of alleles: a row is index, start, end and allele, with tabs between.")
    return [_mutation(fields, number, f"Row {number:,} of {path}") for number, fields in rows]


def _mutation(fields: list[str], row: int, place: str) -> Mutation:
    if len(fields) not in (len(_FIELDS), len(_FIELDS) + 1):
        raise InputError(f"{place} has {len(fields)} fields: index, start, end and allele are four, with tabs between.")
    for what, text in zip(_FIELDS, fields, strict=False):
        if not WHOLE.fullmatch(text):
            problem = "which is not a whole number of at most 18 digits. The file has no header."
            raise InputError(f"{place}: {what} is {text!r:.40}, {problem}")
    index, start, end = map(int, fields[: len(_FIELDS)])
    if end < start:
        raise InputError(f"{place}: the end, {end}, is before the start, {start}.")
    allele = "".join(fields[len(_FIELDS) :]).strip()
    if allele in _MISSING:
        raise InputError(f"{place}: the allele {allele} may be bases or nothing: leave the field empty for a deletion.")
    # Its k-mers would be [UNK], and what the model makes of that would look like an effect.
    if (base_codes(allele.encode("ascii", "replace"), f"{place}: the allele") == AMBIGUOUS).any():
        raise InputError(f"{place}: the allele {allele} has a letter such as N, of which the model knows no k-mer.")
    return row, index, Change(start, end, allele.upper())


def with_sequences(
    mutations: Sequence[Mutation], sequences: Iterable[Coded], path: Path
) -> Iterator[tuple[Coded, list[Change]]]:
    """Yields the sequences with their changes in the order of the file, those of one sequence in a row together.

    Sequences that the file names are held, no others.
    """
    wanted = {index for _, index, _ in mutations}
    named: dict[int, Coded] = {}
    count = 0
    for count, sequence in enumerate(sequences, 1):
        if count - 1 in wanted:
            named[count - 1] = sequence
    for row, index, change in mutations:
        if index >= count:
            raise InputError(f"Row {row:,} of {path}: the index is {index:,}, and there are {count:,} sequences.")
        sequence = named[index]
        if change.end > len(sequence.codes):
            raise InputError(
                f"Row {row:,} of {path}: [{change.start}, {change.end}) reaches beyond {sequence.place}, of "
                f"{len(sequence.codes):,} bases."
            )
    for index, together in itertools.groupby(mutations, itemgetter(1)):
        yield named[index], [change for *_, change in together]


def write_mutation_table(path: Path, rows: Iterable[ChangeEffects], regression: bool, label: str) -> int:
    """Writes a row for each change; returns how many there are.

    The columns are id, position (from 0, in the direction of the sequence), kind, ref and alt (letters that go and
    come), label, reference, changed, difference, and log_odds_ratio unless the model is a regression.
    """
    texts = [(name, pa.string()) for name in ("kind", "ref", "alt", "label")]
    numbers = ["reference", "changed", "difference"] + ["log_odds_ratio"] * (not regression)
    schema = pa.schema(
        [("id", pa.string()), ("position", pa.int32()), *texts, *((name, pa.float64()) for name in numbers)]
    )
    total = 0
    with output_table(path, schema) as write:
        for group in groups(rows, lambda row: len(row.changes), _ROWS):
            cells = [values for row in group for values in _cells(row, label)]
            write(record_batch([*zip(*cells, strict=True)] or [()] * len(schema), schema))
            total += len(cells)
    return total


def _cells(row: ChangeEffects, label: str) -> Iterator[tuple[object, ...]]:
    numbers = [row.changed, row.difference] + [row.log_odds_ratio] * (row.log_odds_ratio is not None)
    for change, values in zip(row.changes, zip(*numbers, strict=True), strict=True):
        gone = decode_bases(row.sequence.codes[change.start : change.end])
        yield row.sequence.name, change.start, change.kind, gone, change.alternative, label, row.reference, *values
