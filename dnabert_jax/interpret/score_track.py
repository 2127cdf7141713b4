"""Scores of bases as a bigWig track on the coordinates of a genome.

A bigWig is written in the order of the genome, and intervals come in any: so sums and counts of each base are in sparse
files on disk until the last is known. They are not mapped into memory, since to write there kills the process where the
disk is full. There are two for all records, as a genome may have more records than a process may open files.
"""

import contextlib
import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt32

from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import Interval
from dnabert_jax.output_file import output_file
from dnabert_jax.storage import scratch_directory

_BLOCK = 1 << 20
"""Bases that are in memory while the track is written."""


class TrackCount(NamedTuple):
    """What a track has.

    Attributes:
        bases: with a value.
        shared: of them, those that several intervals cover, whose mean it is.
    """

    bases: int
    shared: int


def import_pybigwig() -> Any:
    """The library; raises InputError if it is not installed."""
    try:
        import pyBigWig
    except ImportError as error:
        raise InputError("A .bw file needs pyBigWig: pip install pyBigWig.") from error
    return pyBigWig


def write_score_track(
    path: Path, lengths: Mapping[str, int], scores: Iterable[tuple[Interval, Float32[np.ndarray, " bases"]]]
) -> TrackCount:
    """Writes a value for each base that an interval covers, the mean where several do.

    Args:
        path: of the bigWig.
        lengths: bases of each record.
        scores: of the bases of each interval, in its direction: from its end on the - strand.

    Raises:
        InputError: pyBigWig is not installed, or the file exists.
    """
    library = import_pybigwig()
    with output_file(path) as file, scratch_directory() as scratch, contextlib.ExitStack() as files:
        firsts = dict(zip(lengths, itertools.accumulate(lengths.values(), initial=0), strict=False))
        total = sum(lengths.values())
        sums = _SparseNumbers(files.enter_context((scratch / "sums").open("w+b")), np.float64, total)
        counts = _SparseNumbers(files.enter_context((scratch / "counts").open("w+b")), np.uint32, total)
        for interval, values in scores:
            start = firsts[interval.contig] + interval.start
            sums.add(start, values[::-1] if interval.strand == "-" else values)
            counts.add(start, np.ones(len(values), np.uint32))
        bases = shared = 0
        with contextlib.closing(library.open(str(scratch / "track"), "w")) as track:
            track.addHeader(list(lengths.items()))
            for record, first in firsts.items():
                for start, several in _runs(counts, first, first + lengths[record]):
                    values = sums.read(start, len(several)) / several
                    track.addEntries(record, start - first, values=values.astype(np.float32).tolist(), span=1, step=1)
                    bases, shared = bases + len(several), shared + int((several > 1).sum())
        with (scratch / "track").open("rb") as source:
            shutil.copyfileobj(source, file, _BLOCK)
    return TrackCount(bases, shared)


class _SparseNumbers:
    """Numbers in a file, of which only those that were added to take room on disk; the others are zero.

    Args:
        file: empty, open for reading and writing.
        dtype: of each number.
        count: how many there are.
    """

    def __init__(self, file: IO[bytes], dtype: type[np.number], count: int):
        self._file, self._dtype = file, np.dtype(dtype)
        file.truncate(count * self._dtype.itemsize)

    def read(self, start: int, count: int) -> np.ndarray:
        self._file.seek(start * self._dtype.itemsize)
        return np.frombuffer(self._file.read(count * self._dtype.itemsize), self._dtype)

    def add(self, start: int, values: np.ndarray) -> None:
        summed = self.read(start, len(values)) + values
        self._file.seek(start * self._dtype.itemsize)
        self._file.write(summed.astype(self._dtype).tobytes())


def _runs(counts: _SparseNumbers, begin: int, stop: int) -> Iterator[tuple[int, UInt32[np.ndarray, " bases"]]]:
    """Yields the start and the counts of each run of covered bases from begin to stop, cut where a block ends."""
    for first in range(begin, stop, _BLOCK):
        block = counts.read(first, min(_BLOCK, stop - first))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], block > 0, [0]])))
        for start, end in edges.reshape(-1, 2):
            yield first + int(start), block[start:end]
