"""Contigs of sequence files, one at a time, the windows cut from them, and sets of intervals on one."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from data_prep.sources import SequenceFile
from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import ContigNames, contig_key
from dnabert_jax.io.fasta import BLOCK_LETTERS
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sequence.kmers import AMBIGUOUS, base_codes

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


def read_contigs(
    files: Sequence[SequenceFile],
    wanted: Collection[str],
    names: ContigNames,
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[Contig]:
    """Yields each record whose name is wanted, whole; the others are passed over.

    Memory: the longest wanted record, a byte a base.

    Args:
        names: takes up the name of every record before it is yielded.
        progress: called with the number of letters after each block.
    """
    seen: set[str] = set()
    for file in files:
        name, codes = "", bytearray()
        for block in read_blocks(file.path, file.location):
            if block.number == 0:
                if contig_key(name) in wanted and codes:
                    yield Contig(name, np.frombuffer(codes, np.uint8))
                name, codes = block.record, bytearray()
                if name in seen:
                    raise InputError(f"Two records are named {name!r}, the second in {file.location}.")
                seen.add(name)
                names.add(name)
            place = f"Record {block.record!r} of {file.location}"
            if contig_key(name) in wanted:
                codes += base_codes(block.letters, place, block.number * BLOCK_LETTERS).tobytes()
            progress(len(block.letters))
        if contig_key(name) in wanted and codes:
            yield Contig(name, np.frombuffer(codes, np.uint8))


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
