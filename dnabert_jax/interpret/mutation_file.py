"""The original's file of mutations (`--mut_file` of its SNP/mutate_seqs.py): which change is made of which sequence.

Tab-separated, without header: index of the sequence from 0, start and end of what goes, from 0 and end excluded, and
the allele that comes. Nothing there is a deletion; start = end is an insertion.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.changes import Change
from dnabert_jax.io.text import numbered_lines
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes
from dnabert_jax.stream import Coded

_FIELDS = ("index", "start", "end")
_MISSING = ("NA", "NaN", "nan")
"""Alleles that are IUPAC letters, and that pandas, by which the original reads, takes for nothing."""


@dataclasses.dataclass(frozen=True)
class Mutation:
    """A row of the file.

    Attributes:
        row: of the file, from 1.
        index: of the sequence, from 0.
    """

    row: int
    index: int
    change: Change


def read_mutations(path: Path) -> list[Mutation]:
    """Returns the rows of the file; a row of three fields is a deletion, if another row has an allele."""
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
        if not re.fullmatch("[0-9]{1,18}", text):
            raise InputError(
                f"{place}: {what} is {text!r:.40}, which is not a whole number of at most 18 digits. The file has no "
                "header."
            )
    index, start, end = map(int, fields[: len(_FIELDS)])
    if end < start:
        raise InputError(f"{place}: the end, {end}, is before the start, {start}.")
    allele = "".join(fields[len(_FIELDS) :]).strip()
    if allele in _MISSING:
        raise InputError(f"{place}: the allele {allele} may be bases or nothing: leave the field empty for a deletion.")
    # Its k-mers would be [UNK], and what the model makes of that would look like an effect.
    if (base_codes(allele.encode("ascii", "replace"), f"{place}: the allele") == AMBIGUOUS).any():
        raise InputError(f"{place}: the allele {allele} has a letter such as N, of which the model knows no k-mer.")
    return Mutation(row, index, Change(start, end, allele.upper()))


def with_sequences(
    mutations: Sequence[Mutation], sequences: Iterable[Coded], path: Path
) -> Iterator[tuple[Coded, list[Change]]]:
    """Yields the sequences with their changes in the order of the file, those of one sequence in a row together.

    Sequences that the file names are held, no others.
    """
    wanted = {one.index for one in mutations}
    held: dict[int, Coded] = {}
    count = 0
    for index, own in enumerate(sequences):
        count += 1
        if index in wanted:
            held[index] = own
    for one in mutations:
        if one.index >= count:
            raise InputError(
                f"Row {one.row:,} of {path}: the index is {one.index:,}, and there are {count:,} sequences."
            )
        own = held[one.index]
        if one.change.end > len(own.codes):
            reach = f"[{one.change.start}, {one.change.end})"
            raise InputError(
                f"Row {one.row:,} of {path}: {reach} reaches beyond {own.place}, of {len(own.codes):,} bases."
            )
    for index, together in itertools.groupby(mutations, lambda one: one.index):
        yield held[index], [one.change for one in together]
