"""Sequences to predict, one after the other in constant memory, whatever they come from.

Those that are too short for the model are left out and counted.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.io.fasta import Block
from dnabert_jax.io.left_out import LeftOut, too_short
from dnabert_jax.io.tables import Table, find_column, id_column, sequence_column
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.tasks.datasets.sequences import SequenceParser


class NamedSequence(NamedTuple):
    """A sequence, what the user calls it, and what is carried along with it.

    Attributes:
        fields: values of the columns that are kept beside it, in their order.
    """

    name: str
    codes: UInt8[np.ndarray, " length"]
    fields: tuple[str, ...] = ()


def fasta_sequences(
    blocks: Iterable[Block], source: str, tokenizer: Tokenizer, left_out: LeftOut
) -> Iterator[NamedSequence]:
    """Yields each record of a FASTA or .2bit file; its name is its only field."""
    end = Block("", 0, np.zeros(0, np.uint8))
    for block, following in itertools.pairwise(itertools.chain(blocks, [end])):
        if following.number:
            raise InputError(
                f"Record {block.record!r} of {source} is too long to read at once. Name intervals of it in a BED file."
            )
        codes = base_codes(block.letters, f"Record {block.record!r} of {source}")
        if len(codes) < tokenizer.shortest:
            left_out.add(too_short(tokenizer.shortest), f"record {block.record!r} of {source}")
        else:
            yield NamedSequence(block.record, codes, (block.record,))


def kept_columns(table: Table, keep: Sequence[str]) -> list[str]:
    """Returns the columns of these names, or all if none is named, in the order of the table; all must be there."""
    wanted = [find_column(table, name, (), "--keep") for name in keep]
    return [name for name in table.names if not keep or name in wanted]


def table_sequences(
    table: Table,
    tokenizer: Tokenizer,
    sequence: str = "",
    name: str = "",
    keep: Sequence[str] | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[NamedSequence]:
    """Yields each row of a table.

    Args:
        name: the column that names rows, if it has no usual name; without one they are numbered from 0.
        keep: columns whose values come along; what is missing is empty. Where rows have no name, their number comes
            first.
        left_out: takes up the rows that are too short for the tokenizer, which are an error if it is not given.
    """
    column = sequence_column(table, sequence)
    naming = id_column(table, name)
    kept = keep or ()
    parser = SequenceParser(str(table.path), tokenizer)
    for batch in table.batches(list(dict.fromkeys([column, *([naming] if naming else []), *kept]))):
        numbers = range(parser.rows, parser.rows + len(batch))
        codes, lengths = parser.parse(batch[column], short=left_out is not None)
        names = _texts(batch[naming]) if naming else [str(number) for number in numbers]
        fields = zip(*(_texts(batch[name]) for name in kept), strict=True) if kept else itertools.repeat(())
        for number, text, end, length, values in zip(numbers, names, np.cumsum(lengths), lengths, fields, strict=False):
            if length < tokenizer.shortest and left_out is not None:
                left_out.add(too_short(tokenizer.shortest), f"row {number + 1:,} of {table.path}")
                continue
            numbered = (text, *values) if naming is None and keep is not None else values
            yield NamedSequence(text, codes[end - length : end], numbered)


def _texts(column: pa.Array) -> list[str]:
    texts: list[str] = pa.compute.fill_null(column, "").to_pylist()
    return texts
