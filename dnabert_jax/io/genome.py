"""A genome on disk: a stream of blocks of its contigs, or the contigs that other files name, to be read anywhere."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import ContigNames, contig_key
from dnabert_jax.io.fasta import BLOCK_LETTERS, Block, read_fasta
from dnabert_jax.io.fasta_index import indexed_blocks
from dnabert_jax.io.twobit import is_twobit, read_twobit
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.storage import scratch_directory


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
    with scratch_directory(scratch) as directory:
        codes = directory / "genome"
        places = _copy(path, {contig_key(name) for name in asked}, codes)
        yield Genome(asked, np.memmap(codes, np.uint8, "r") if codes.stat().st_size else np.zeros(0, np.uint8), places)


def _copy(path: Path, keys: set[str], target: Path) -> dict[str, tuple[int, int]]:
    """Writes the codes of the contigs with these keys one after the other; returns where each begins and ends."""
    places: dict[str, tuple[int, int]] = {}
    blocks = indexed_blocks(path, keys) or read_blocks(path)
    with target.open("wb") as file:
        for record, number, letters in blocks:
            if contig_key(record) not in keys:
                continue
            if number == 0:
                if record in places:
                    raise InputError(f"Two records of {path} are named {record!r}: names must differ.")
                places[record] = (file.tell(), 0)
            first, last = places[record][0], file.tell()
            file.write(base_codes(letters, f"Record {record!r} of {path}", last - first).tobytes())
            places[record] = (first, file.tell())
    return places
