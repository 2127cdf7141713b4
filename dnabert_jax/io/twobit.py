"""UCSC .2bit, by Biopython, as the same stream of blocks as FASTA."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.io.fasta import BLOCK_LETTERS, Block

TWOBIT_MAGIC = 0x1A412743
_HEADER_BYTES = 16


def is_twobit(path: Path) -> bool:
    """Returns whether a file on disk begins with the signature of .2bit, in either byte order."""
    if not path.is_file():  # the bytes of a pipe are read once, by the reader of FASTA
        return False
    with path.open("rb") as file:
        signature = file.read(4)
    return TWOBIT_MAGIC in (int.from_bytes(signature, "little"), int.from_bytes(signature, "big"))


def read_twobit(path: Path, name: str | None = None, block_letters: int = BLOCK_LETTERS) -> Iterator[Block]:
    """Yields the blocks of each record in order; soft-masked bases are lower case."""
    # It takes a while to load, in each process, and most sequence files are FASTA.
    from Bio.SeqIO.TwoBitIO import TwoBitIterator

    name = name or str(path)
    with path.open("rb") as file:
        try:
            _check_index(file, name)
            for record in TwoBitIterator(file):
                length = len(record.seq)
                for number, first in enumerate(range(0, max(length, 1), block_letters)):
                    letters = bytes(record.seq[first : min(first + block_letters, length)])
                    yield Block(record.id, number, np.frombuffer(letters, np.uint8))
        except (ValueError, RuntimeError, UnicodeDecodeError) as error:
            raise InputError(f"{name} cannot be read as .2bit ({error}).") from error


def _check_index(file: BinaryIO, name: str) -> None:
    """Raises InputError for version 1, and for what Biopython passes over: bad offsets, and two records of one name."""
    header = file.read(_HEADER_BYTES)
    order: Literal["little", "big"] = "little" if int.from_bytes(header[:4], "little") == TWOBIT_MAGIC else "big"
    if (version := int.from_bytes(header[4:8], order)) != 0:
        raise InputError(f"{name} is .2bit of version {version}, not 0. Convert it to FASTA with twoBitToFa.")
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
