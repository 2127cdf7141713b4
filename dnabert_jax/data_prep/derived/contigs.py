"""Contigs of sequence files, what is known of places on them, and the windows cut from them: examples, as columns."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int32, Int64, Integer, UInt8

from dnabert_jax.data_prep.sources import SequenceFile
from dnabert_jax.io.genome import copy_codes, read_blocks
from dnabert_jax.sequence.bases import AMBIGUOUS

COMPLEMENT = np.array([1, 0, 3, 2, AMBIGUOUS], np.uint8)
"""Codes of the other strand: A=0 and T=1, C=2 and G=3, ambiguous=4."""


@dataclasses.dataclass(frozen=True)
class Contig:
    """A whole record: its name, and the codes of its letters, a byte each."""

    name: str
    codes: UInt8[np.ndarray, " n"]

    def inside(self, starts: Int64[np.ndarray, " w"], length: int) -> Bool[np.ndarray, " w"]:
        """Returns which windows of `length` bases lie within the contig."""
        return (starts >= 0) & (starts + length <= len(self.codes))

    def cut(
        self, starts: Int64[np.ndarray, " w"], reverse: Bool[np.ndarray, " w"], length: int
    ) -> UInt8[np.ndarray, "w l"]:
        """Returns the windows [start, start + length), all inside; those of the reverse strand in its own direction."""
        if not len(starts):
            return np.empty((0, length), np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(self.codes, length)[starts]
        windows[reverse] = COMPLEMENT[windows[reverse, ::-1]]
        return windows


@dataclasses.dataclass(frozen=True)
class Contigs:
    """The records of a genome, whose codes lie one after the other in a file that any process maps into memory.

    Attributes:
        places: where each record begins and ends in the file, by name, in the order of the sequence files. A record
            that was not wanted has no bases there.
    """

    path: Path
    places: dict[str, tuple[int, int]]

    def __getitem__(self, name: str) -> Contig:
        first, end = self.places[name]
        return Contig(name, np.memmap(self.path, np.uint8, "r")[first:end])


def copy_contigs(
    files: Sequence[SequenceFile], wanted: Collection[str] | None, target: Path, progress: Callable[[int], object]
) -> Contigs:
    """Reads sequence files once, writes the codes of their records to the file `target`, and returns them.

    Args:
        wanted: keys of contigs, as `contig_key` gives them; None for all records.
        progress: called with the number of letters after each block.
    """
    places: dict[str, tuple[int, int]] = {}
    with target.open("wb") as copy:
        for file in files:
            copy_codes(read_blocks(file.path, file.location), file.location, copy, places, wanted, progress)
        # No file without bytes can be mapped.
        copy.write(b"\0")
    return Contigs(target, places)


class Regions:
    """A set of intervals of one contig, to ask what overlaps it.

    Args:
        intervals: starts and ends, 0-based, half-open, in any order, overlapping or not.
        margin: bases by which each is widened at both ends.
    """

    def __init__(self, intervals: Sequence[tuple[int, int]] | Int64[np.ndarray, "n 2"], margin: int = 0):
        starts, ends = np.array(intervals, np.int64).reshape(-1, 2).T
        order = np.argsort(starts)
        self._starts = starts[order] - margin
        # The greatest end of the first n intervals, from n = 0 on.
        self._ends = np.append(np.iinfo(np.int64).min, np.maximum.accumulate(ends[order]) + margin)

    def overlap(self, starts: Int64[np.ndarray, " w"], length: int) -> Bool[np.ndarray, " w"]:
        """Returns, for each window of `length` bases, whether it has a base in the set."""
        return self._ends[np.searchsorted(self._starts, starts + length)] > starts


@dataclasses.dataclass(frozen=True)
class ContigSites:
    """The sites that the annotation has on one contig, in its coordinates.

    Attributes:
        start, reverse, label: windows of the positives, 0-based.
        dinucleotides: starts, strands and whether it is an acceptor, of the two bases at each end of its introns.
        spans: starts, ends and strands of its transcripts, where negatives are drawn from them.
    """

    start: Int64[np.ndarray, " n"]
    reverse: Bool[np.ndarray, " n"]
    label: Int8[np.ndarray, " n"]
    avoided: Regions
    dinucleotides: Int64[np.ndarray, "d 3"] = dataclasses.field(default_factory=lambda: np.empty((0, 3), np.int64))
    spans: Int64[np.ndarray, "s 3"] = dataclasses.field(default_factory=lambda: np.empty((0, 3), np.int64))


@dataclasses.dataclass(frozen=True)
class Place:
    """Where negatives are sought: on a contig, away from its sites and from what is blacklisted."""

    contig: Contig
    sites: ContigSites
    blacklist: Regions
    rng: np.random.Generator

    @property
    def avoided(self) -> tuple[Regions, Regions]:
        return self.sites.avoided, self.blacklist


@dataclasses.dataclass(frozen=True)
class Examples:
    """N examples of L bases each.

    Attributes:
        contig: number of the contig, in the order of the sequence files.
        start: of the window on the forward strand, 0-based; that of its source for one that was made of another.
        reverse: whether it is read from the reverse strand.
        label, group, origin: numbers of names that the task keeps.
        key: uniform random numbers, by which a subset is chosen.
        codes: A=0, T=1, C=2, G=3.
    """

    contig: Int32[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    reverse: Bool[np.ndarray, " n"]
    label: Int8[np.ndarray, " n"]
    group: Int8[np.ndarray, " n"]
    origin: Int8[np.ndarray, " n"]
    key: Float64[np.ndarray, " n"]
    codes: UInt8[np.ndarray, "n l"]

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: Bool[np.ndarray, " n"] | Integer[np.ndarray, " m"]) -> "Examples":
        """Returns the examples that a mask or numbers choose."""
        return Examples(*(column[rows] for column in vars(self).values()))


def joined(parts: list[Examples]) -> Examples:
    """Returns all examples of at least one part."""
    return Examples(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))


def smallest_keys(examples: Examples, number: int) -> Examples:
    """Returns the `number` examples of each label with the smallest keys, in their order: a random subset."""
    chosen = np.zeros(len(examples), bool)
    for label in np.unique(examples.label):
        rows = np.flatnonzero(examples.label == label)
        chosen[rows[np.argsort(examples.key[rows], kind="stable")[:number]]] = True
    return examples.take(chosen)


def canonical_sequences(codes: UInt8[np.ndarray, "n l"]) -> UInt8[np.ndarray, "n l"]:
    """Returns each sequence or its reverse complement, whichever comes first in the order of the codes."""
    other = COMPLEMENT[codes[:, ::-1]]
    difference = codes != other
    place = difference.argmax(axis=1)
    rows = np.arange(len(codes))
    return np.where((codes[rows, place] <= other[rows, place])[:, None], codes, other)


def first_of_each(examples: Examples) -> Bool[np.ndarray, " n"]:
    """Returns which examples are the first with their sequence, on either strand; negatives (label 0) come last."""
    order = np.argsort(examples.label == 0, kind="stable")
    rows = np.ascontiguousarray(canonical_sequences(examples.codes[order]))
    _, first = np.unique(rows.view(f"V{rows.shape[1]}").ravel(), return_index=True)
    result = np.zeros(len(examples), bool)
    result[order[first]] = True
    return result
