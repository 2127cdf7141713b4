"""UCSC .2bit in, by Biopython, as the same stream of blocks as FASTA."""

import os
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Literal

import numpy as np
from Bio.SeqIO.TwoBitIO import TwoBitIterator

from data_prep.fasta import Block
from dnabert_jax.errors import InputError

TWOBIT_MAGIC = 0x1A412743
_HEADER_BYTES = 16


def is_twobit(file: BufferedIOBase) -> bool:
    """Whether a file begins with the signature of .2bit, in either byte order; leaves it at its start."""
    signature = file.read(4)
    file.seek(0)
    return TWOBIT_MAGIC in (int.from_bytes(signature, "little"), int.from_bytes(signature, "big"))


def read_twobit(file: BufferedIOBase, name: str, block_letters: int) -> Iterator[Block]:
    """Yields the blocks of each record in order; soft-masked bases are lower case.

    Args:
        file: at its start, and seekable.
        name: to call it by in errors.
        block_letters: letters of a block.

    Raises:
        InputError: the file is damaged or of version 1 (64-bit offsets).
    """
    try:
        _check_index(file, name)
        for record in TwoBitIterator(file):
            length = len(record.seq)
            for number, first in enumerate(range(0, max(length, 1), block_letters)):
                letters = bytes(record.seq[first : min(first + block_letters, length)])
                yield Block(record.id, number, np.frombuffer(letters, np.uint8))
    except (ValueError, RuntimeError, UnicodeDecodeError) as error:
        raise InputError(f"{name} cannot be read as .2bit ({error}).") from error


def _check_index(file: BufferedIOBase, name: str) -> None:
    """Raises InputError for what Biopython passes over: a record beyond the end of the file, or two of one name."""
    header = file.read(_HEADER_BYTES)
    order: Literal["little", "big"] = "little" if int.from_bytes(header[:4], "little") == TWOBIT_MAGIC else "big"
    offsets: dict[bytes, int] = {}
    for _ in range(int.from_bytes(header[8:12], order)):
        record = file.read(int.from_bytes(file.read(1), order))
        if record in offsets:
            raise InputError(
                f"Two records of {name} are named {record.decode('ascii', 'replace')!r}: names must differ."
            )
        offsets[record] = int.from_bytes(file.read(4), order)
    size = file.seek(0, os.SEEK_END)
    for record, offset in offsets.items():
        if offset >= size:
            raise InputError(
                f"{name} is damaged: its record {record.decode('ascii', 'replace')!r} lies beyond its end."
            )
    file.seek(0)
