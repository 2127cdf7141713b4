"""Contigs of sequence files, one at a time, the windows cut from them, and sets of intervals on one."""

import dataclasses
import itertools
import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from data_prep.sources import SequenceFile
from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import ContigNames, contig_key
from dnabert_jax.io.fasta import BLOCK_LETTERS, Block
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes

COMPLEMENT = np.array([1, 0, 3, 2, AMBIGUOUS], np.uint8)
"""Codes of the other strand: A=0 and T=1, C=2 and G=3, ambiguous=4."""


@dataclasses.dataclass(frozen=True)
class Contig:
    """A whole record: its name, and the codes of its letters, a byte each."""

    name: str
    codes: UInt8[np.ndarray, " n"]

    def inside(self, starts: Int64[np.ndarray, " w"], length: int) -> Bool[np.ndarray, " w"]:
        """Whether each window of `length` bases lies within the contig."""
        return (starts >= 0) & (starts + length <= len(self.codes))

    def cut(
        self, starts: Int64[np.ndarray, " w"], reverse: Bool[np.ndarray, " w"], length: int
    ) -> UInt8[np.ndarray, "w l"]:
        """The windows [start, start + length), all inside; those of the reverse strand in its own direction."""
        if not len(starts):
            return np.empty((0, length), np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(self.codes, length)[starts]
        windows[reverse] = COMPLEMENT[windows[reverse, ::-1]]
        return windows


ContigSource = Callable[[Collection[str] | None, ContigNames], Iterator[Contig]]
"""Yields the records that are wanted, as `read_contigs` does."""


def read_contigs(
    files: Sequence[SequenceFile],
    wanted: Collection[str] | None,
    names: ContigNames,
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[Contig]:
    """Yields each record whose name is wanted and that has bases, whole; the others are passed over.

    Memory: the longest wanted record, a byte a base.

    Args:
        wanted: as `contig_key` gives them; None for all records, those without bases too.
        names: takes up the name of every record before it is yielded.
        progress: called with the number of letters after each block.
    """
    seen: set[str] = set()
    for file in files:
        for name, blocks in itertools.groupby(_checked_blocks(file, seen), operator.attrgetter("record")):
            names.add(name)
            is_wanted, codes = wanted is None or contig_key(name) in wanted, bytearray()
            for block in blocks:
                if is_wanted:
                    place = f"Record {name!r} of {file.location}"
                    codes += base_codes(block.letters, place, block.number * BLOCK_LETTERS).tobytes()
                progress(len(block.letters))
            if codes or wanted is None:
                yield Contig(name, np.frombuffer(codes, np.uint8))


def _checked_blocks(file: SequenceFile, seen: set[str]) -> Iterator[Block]:
    """Yields the blocks of a file; raises InputError at a record whose name was seen."""
    for block in read_blocks(file.path, file.location):
        if block.number == 0:
            if block.record in seen:
                raise InputError(f"Two records are named {block.record!r}, the second in {file.location}.")
            seen.add(block.record)
        yield block


@dataclasses.dataclass(frozen=True)
class CopiedContigs:
    """All records of a genome, whose codes lie one after the other in a file that any process maps into memory.

    Attributes:
        places: where each record begins and ends in the file, by name, in the order of the sequence files.
    """

    path: Path
    places: dict[str, tuple[int, int]]

    def __call__(self, wanted: Collection[str] | None, names: ContigNames) -> Iterator[Contig]:
        """Yields the records that are wanted, as `read_contigs` does from the files."""
        codes = np.memmap(self.path, np.uint8, "r")
        for name, (first, end) in self.places.items():
            names.add(name)
            if wanted is None or (contig_key(name) in wanted and end > first):
                yield Contig(name, codes[first:end])


def copy_contigs(source: ContigSource, target: Path) -> CopiedContigs:
    """Writes the codes of all records to a file, and returns it."""
    places: dict[str, tuple[int, int]] = {}
    with target.open("wb") as file:
        for contig in source(None, ContigNames()):
            first = file.tell()
            file.write(contig.codes.data)
            places[contig.name] = first, file.tell()
        # No file without bytes can be mapped.
        file.write(b"\0")
    return CopiedContigs(target, places)


class Regions:
    """A set of intervals of one contig, to ask what overlaps it.

    Args:
        intervals: starts and ends, 0-based, half-open, in any order, overlapping or not.
        margin: bases by which each is widened at both ends.
    """

    def __init__(self, intervals: Sequence[tuple[int, int]] | Int64[np.ndarray, "n 2"], margin: int = 0):
        starts, ends = np.array(intervals, np.int64).reshape(-1, 2).T
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order] - margin, np.maximum.accumulate(ends[order]) + margin
        first = np.ones(len(starts), bool)
        first[1:] = starts[1:] > ends[:-1]
        self._starts = starts[first]
        self._ends = ends[np.append(first[1:], True)] if len(ends) else ends

    def overlap(self, starts: Int64[np.ndarray, " w"], length: int) -> Bool[np.ndarray, " w"]:
        """Returns, for each window of `length` bases, whether it has a base in the set."""
        if not len(self._starts):
            return np.zeros(len(starts), bool)
        last = np.searchsorted(self._starts, starts + length) - 1
        return (last >= 0) & (self._ends[last] > starts)
