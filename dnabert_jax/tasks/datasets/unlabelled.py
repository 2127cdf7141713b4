"""Sequences to predict, one after the other in constant memory, whatever they come from.

FASTA comes as the blocks of `read_blocks`, which whoever calls passes in.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.io.tables import Table, find_column, id_column, sequence_column
from dnabert_jax.sequence.kmers import base_codes, check_has_kmer
from dnabert_jax.tasks.datasets.sequences import SequenceParser

Blocks = Iterable[tuple[str, int, UInt8[np.ndarray, " n"]]]
"""(record, number of the block in it, ASCII letters), in order."""


class NamedSequence(NamedTuple):
    """A sequence, what the user calls it, and what is carried along with it.

    Attributes:
        name: name of the record, interval or row.
        codes: its bases, as of `base_codes`.
        fields: values of the columns that are kept beside it, in their order.
    """

    name: str
    codes: UInt8[np.ndarray, " length"]
    fields: tuple[str, ...] = ()


def fasta_sequences(blocks: Blocks, source: str, k: int) -> Iterator[NamedSequence]:
    """Yields each record of a FASTA or .2bit file.

    Args:
        blocks: of the file.
        source: the file, to call it by.
        k: of the model.

    Raises:
        InputError: a record is longer than a block, so that memory would grow with it, has fewer than k bases, or a
            letter that is no IUPAC DNA letter.
    """
    held: tuple[str, UInt8[np.ndarray, " n"]] | None = None
    for record, number, letters in blocks:
        if number:
            raise InputError(
                f"Record {record!r} of {source} is too long to predict at once: name intervals of it in a BED file."
            )
        if held:
            yield _record(*held, source, k)
        held = record, letters
    if held:
        yield _record(*held, source, k)


def _record(record: str, letters: UInt8[np.ndarray, " n"], source: str, k: int) -> NamedSequence:
    place = f"Record {record!r} of {source}"
    codes = base_codes(letters, place)
    check_has_kmer(len(codes), k, place)
    return NamedSequence(record, codes)


def kept_columns(table: Table, keep: Sequence[str] | None, sequence: str = "", name: str = "") -> list[str]:
    """Returns the columns of a table that are kept beside its sequences, in the order of the table.

    Args:
        table: the table.
        keep: their names; with (), all columns except those of the sequences and of the names; with None, none.
        sequence, name: as for `table_sequences`.

    Raises:
        InputError: the table has no column of such a name, or two of one.
    """
    if keep is None:
        return []
    used = (sequence_column(table, sequence), id_column(table, name))
    wanted = keep or [column for column in table.names if column not in used]
    for column in filter(None, wanted):  # the index that pandas writes has an empty name
        find_column(table, column, (), "--keep")
    return [column for column in table.names if column in wanted]


def table_sequences(
    table: Table, k: int, sequence: str = "", name: str = "", keep: Sequence[str] | None = None
) -> Iterator[NamedSequence]:
    """Yields each row of a table.

    Args:
        table: the table.
        k: k of the model.
        sequence: the column of raw DNA or k-mers, if it has no usual name.
        name: the column that names rows, if it has no usual name; without one they are numbered from 0.
        keep: columns whose values come along, as for `kept_columns`; what is missing is empty.

    Raises:
        InputError: as `SequenceParser.parse`, `Table.batches` and `kept_columns`; a column is missing.
    """
    column = sequence_column(table, sequence)
    naming = id_column(table, name)
    kept = kept_columns(table, keep, sequence, name)
    parser = SequenceParser(str(table.path), k)
    for batch in table.batches(list(dict.fromkeys([column, *([naming] if naming else []), *kept]))):
        numbers = range(parser.rows, parser.rows + len(batch))
        codes, lengths = parser.parse(batch[column])
        names = _texts(batch[naming]) if naming else [str(number) for number in numbers]
        fields = zip(*(_texts(batch[name]) for name in kept), strict=True) if kept else itertools.repeat(())
        for text, end, length, values in zip(names, np.cumsum(lengths), lengths, fields, strict=False):
            yield NamedSequence(text, codes[end - length : end], values)


def _texts(column: pa.Array) -> list[str]:
    texts: list[str] = pa.compute.fill_null(column, "").to_pylist()
    return texts
