"""Writes scores of bases as a bigWig track on the coordinates of a genome.

A bigWig is written in the order of the genome, and intervals come in any order: so the sum and the count of each base
are in a sparse file on disk until the last interval is known. It is not mapped into memory, since writing there kills
the process if the disk is full, and it is one file, as a genome may have more records than a process may open files.
"""

import contextlib
import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float32

from dnabert_jax.extras import require_extra
from dnabert_jax.io.bed import Interval
from dnabert_jax.output_file import output_file
from dnabert_jax.storage import scratch_directory

_BLOCK = 1 << 20
"""Bases that are in memory while the track is written."""
_BASE = np.dtype([("sum", np.float64), ("count", np.uint32)])


def require_pybigwig() -> None:
    """Raises InputError unless pyBigWig is installed."""
    require_extra("bigwig", "A .bw file", "pyBigWig")


def write_score_track(
    path: Path, lengths: Mapping[str, int], scores: Iterable[tuple[Interval, Float32[np.ndarray, " bases"]]]
) -> tuple[int, int]:
    """Writes a value for each base that an interval covers, the mean where several do; counts both kinds of bases.

    Args:
        scores: of the bases of each interval, in its direction: from its end on the - strand.
    """
    require_pybigwig()
    import pyBigWig

    with output_file(path) as file, scratch_directory() as scratch, (scratch / "sums").open("w+b") as sums:
        firsts = dict(zip(lengths, itertools.accumulate(lengths.values(), initial=0), strict=False))
        sums.truncate(sum(lengths.values()) * _BASE.itemsize)
        for interval, values in scores:
            start = firsts[interval.contig] + interval.start
            summed = _read(sums, start, len(values)).copy()
            summed["sum"] += values[::-1] if interval.strand == "-" else values
            summed["count"] += 1
            sums.seek(start * _BASE.itemsize)
            sums.write(summed.tobytes())
        bases = shared = 0
        with contextlib.closing(pyBigWig.open(str(scratch / "track"), "w")) as track:
            track.addHeader(list(lengths.items()))
            for record, first in firsts.items():
                for start, covered in _runs(sums, first, first + lengths[record]):
                    values = covered["sum"] / covered["count"]
                    track.addEntries(record, start - first, values=values.astype(np.float32).tolist(), span=1, step=1)
                    bases, shared = bases + len(covered), shared + int((covered["count"] > 1).sum())
        with (scratch / "track").open("rb") as source:
            shutil.copyfileobj(source, file, _BLOCK)
    return bases, shared


def _read(sums: IO[bytes], start: int, count: int) -> np.ndarray:
    sums.seek(start * _BASE.itemsize)
    return np.frombuffer(sums.read(count * _BASE.itemsize), _BASE)


def _runs(sums: IO[bytes], begin: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the start and the sums of each run of covered bases from begin to stop, cut where a block ends."""
    for first in range(begin, stop, _BLOCK):
        block = _read(sums, first, min(_BLOCK, stop - first))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], block["count"] > 0, [0]])))
        for start, end in edges.reshape(-1, 2):
            yield first + int(start), block[start:end]
