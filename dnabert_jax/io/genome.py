"""A genome on disk: a stream of blocks of its contigs, or the contigs that other files name, to be read anywhere.

It is FASTA, or UCSC's .2bit, which Biopython reads.
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import ContigNames, contig_key
from dnabert_jax.io.fasta import BLOCK_LETTERS, Block, indexed_blocks, read_fasta
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.storage import scratch_directory

TWOBIT_MAGIC = 0x1A412743


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
    """Raises InputError for what Biopython passes over: records that lie beyond the end, and two of one name."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(16)
    order: Literal["little", "big"] = "little" if int.from_bytes(header[:4], "little") == TWOBIT_MAGIC else "big"
    names = set()
    for _ in range(int.from_bytes(header[8:12], order)):
        record = file.read(int.from_bytes(file.read(1), order)).decode("ascii", "replace")
        if record in names:
            raise InputError(f"Two records of {name} are named {record!r}: names must differ.")
        if int.from_bytes(file.read(4), order) >= size:
            raise InputError(f"{name} is damaged: its record {record!r} lies beyond its end.")
        names.add(record)
    file.seek(0)


def read_blocks(path: Path, name: str | None = None) -> Iterator[Block]:
    """Yields the blocks of a FASTA (plain, gzip, bgzip) or .2bit file, whose type is detected from its content."""
    yield from (read_twobit if is_twobit(path) else read_fasta)(path, name, BLOCK_LETTERS)


class Genome:
    """Contigs of a genome.

    Attributes:
        names: the contig for each name that was asked for and is there.
        missing: why there is none, for each other name.
    """

    def __init__(self, asked: Iterable[str], codes: UInt8[np.ndarray, " b"], places: Mapping[str, tuple[int, int]]):
        self._codes, self._places = codes, places
        contigs = ContigNames(places)
        resolved = {name: contigs.find(name) for name in dict.fromkeys(asked)}
        self.names = {name: contig for name, contig in resolved.items() if contig is not None}
        self.missing = {name: contigs.why_not(name) for name, contig in resolved.items() if contig is None}

    def __getitem__(self, contig: str) -> UInt8[np.ndarray, " bases"]:
        """Returns the codes of a contig's bases, as in `base_codes`; they are read from disk when they are used."""
        return self._codes[slice(*self._places[contig])]

    def length(self, contig: str) -> int:
        first, end = self._places[contig]
        return end - first

    def renamed(self) -> list[str]:
        """Returns a phrase for each contig that has another name in the genome: "22 is chr22"."""
        return [f"{name} is {contig}" for name, contig in self.names.items() if name != contig]


@contextlib.contextmanager
def open_genome(path: Path, asked: Iterable[str], scratch: Path | None = None) -> Iterator[Genome]:
    """Opens the contigs that other files name.

    They are copied, as codes of their bases, into a temporary file that is mapped into memory: a compressed FASTA
    cannot be entered anywhere, and most genomes have no index. Where there is one (.fai, and .gzi for bgzip), only the
    contigs asked for are read.

    Args:
        scratch: existing directory with room for a byte for each base of these contigs; the system's directory for
            temporary files if not given.
    """
    asked = list(asked)
    keys = {contig_key(name) for name in asked}
    places: dict[str, tuple[int, int]] = {}
    with scratch_directory(scratch) as directory:
        target = directory / "genome"
        with target.open("wb") as file:
            blocks = indexed_blocks(path, keys) or read_blocks(path)
            copy_codes((block for block in blocks if contig_key(block.record) in keys), str(path), file, places)
        yield Genome(
            asked, np.memmap(target, np.uint8, "r") if target.stat().st_size else np.zeros(0, np.uint8), places
        )


def copy_codes(
    blocks: Iterable[Block],
    name: str,
    file: BinaryIO,
    places: dict[str, tuple[int, int]],
    keys: Collection[str] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Appends the codes of the bases of records to a file.

    Args:
        name: what errors call the file of the blocks.
        places: takes up where each record begins and ends in the file.
        keys: of the records to copy, as `contig_key` gives them; all if None. The others get places without bases.
        progress: called with the number of letters after each block.
    """
    for record, number, letters in blocks:
        if number == 0:
            if record in places:
                raise InputError(f"Two records are named {record!r}, the second in {name}: names must differ.")
            places[record] = file.tell(), file.tell()
        if keys is None or contig_key(record) in keys:
            first, end = places[record]
            file.write(base_codes(letters, f"Record {record!r} of {name}", end - first).data)
            places[record] = first, file.tell()
        progress(len(letters))
