"""Sequence files of any kind, and what they hold."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from data_prep.fasta import Block, read_fasta
from data_prep.twobit import is_twobit, read_twobit
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.kmers import AMBIGUOUS, base_codes

BLOCK_LETTERS = 1 << 20
"""Letters that are worked on together. Windows do not cross from one block to the next."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """What a first reading of a file found.

    Attributes:
        path: of the file.
        bytes, sha256: of the file as it lies on disk.
        records: certain bases (A, C, G, T) of each record, by name, in order.
        letters: of all records.
    """

    path: Path
    bytes: int
    sha256: str
    records: dict[str, int]
    letters: int

    @property
    def certain_bases(self) -> int:
        """Of all records."""
        return sum(self.records.values())

    def check_unchanged(self) -> None:
        """Raises InputError if the file is no longer what was surveyed."""
        if self.path.stat().st_size != self.bytes or file_digest(self.path) != self.sha256:
            raise InputError(f"{self.path} changed while it was read: run again when nothing writes to it.")


def read_blocks(path: Path) -> Iterator[Block]:
    """The blocks of a FASTA (plain, gzip, bgzip) or .2bit file, told apart by their first bytes.

    Raises:
        InputError: the file is missing or damaged, or is neither.
    """
    if path.is_file() and is_twobit(path):
        return read_twobit(path, BLOCK_LETTERS)
    return read_fasta(path, BLOCK_LETTERS)


def survey(path: Path, progress: Callable[[int], object] | None = None) -> Survey:
    """Reads a file through once, so that all that is wrong with it is known before anything is written.

    Args:
        path: of the file.
        progress: if given, called with the number of letters after each block.

    Raises:
        InputError: as `read_blocks`; also two records of one name, or a letter that is no IUPAC DNA letter.
    """
    records: dict[str, int] = {}
    letters = 0
    for block in read_blocks(path):
        if block.number == 0:
            if block.record in records:
                raise InputError(f"Two records of {path} are named {block.record!r}: names must differ.")
            records[block.record] = 0
        place = f"Record {block.record!r} of {path}"
        codes = base_codes(block.letters, place, block.number * BLOCK_LETTERS)
        records[block.record] += int((codes < AMBIGUOUS).sum())
        letters += len(block.letters)
        if progress:
            progress(len(block.letters))
    return Survey(path, path.stat().st_size, file_digest(path), records, letters)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
