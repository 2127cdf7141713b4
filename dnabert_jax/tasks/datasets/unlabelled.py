"""Sequences to predict, one after the other in constant memory, whatever they come from.

FASTA comes as the blocks of `read_blocks`, which whoever calls passes in.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.io.tables import find_column, open_table, sequence_column
from dnabert_jax.sequence.kmers import base_codes, check_has_kmer
from dnabert_jax.tasks.datasets.sequences import SequenceParser

ID_NAMES = ("id", "name", "seq_id", "sequence_id")

Blocks = Iterable[tuple[str, int, UInt8[np.ndarray, " n"]]]
"""(record, number of the block in it, ASCII letters), in order."""


class NamedSequence(NamedTuple):
    """A sequence and what the user calls it.

    Attributes:
        name: of the record, interval or row.
        codes: as of `base_codes`.
    """

    name: str
    codes: UInt8[np.ndarray, " length"]


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


def table_sequences(path: Path, k: int, sequence: str = "", name: str = "") -> Iterator[NamedSequence]:
    """Yields each row of a CSV, TSV or Parquet file.

    Args:
        path: of the table.
        k: of the model.
        sequence: the column of raw DNA or k-mers, if it has no usual name.
        name: the column that names rows, if it has no usual name; without one they are numbered from 1.

    Raises:
        InputError: as `SequenceParser.parse` and `open_table`; a column is missing.
    """
    table = open_table(path)
    column = sequence_column(table, sequence)
    naming = find_column(table, name, ID_NAMES, "names")
    parser = SequenceParser(str(path), k)
    for batch in table.batches([column] if naming in (None, column) else [column, naming]):
        first = parser.rows + 1
        codes, lengths = parser.parse(batch[column])
        texts = pa.compute.fill_null(batch[naming], "").to_pylist() if naming else range(first, first + len(lengths))
        for text, end, length in zip(texts, np.cumsum(lengths), lengths, strict=True):
            yield NamedSequence(str(text), codes[end - length : end])
