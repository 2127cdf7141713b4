"""Scores of bases as a bigWig track on the coordinates of a genome.

A bigWig is written in the order of the genome, and intervals come in any: so sums and counts of each base are in sparse
files on disk, mapped into memory, until the last is known. There are two for all records, as a mapped file stays open,
and a genome may have more records than a process may open files.
"""

import contextlib
import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt32

from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import Interval
from dnabert_jax.output_file import output_file

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
        raise InputError("A .bw file needs pyBigWig: pip install 'dnabert-jax[bigwig]'.") from error
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
    with output_file(path) as file, TemporaryDirectory(prefix="dnabert-jax-") as directory:
        scratch = Path(directory)
        ends = list(itertools.accumulate(lengths.values()))
        sums = np.memmap(scratch / "sums", np.float64, "w+", shape=(ends[-1],))
        counts = np.memmap(scratch / "counts", np.uint32, "w+", shape=(ends[-1],))
        places = {record: slice(end - lengths[record], end) for record, end in zip(lengths, ends, strict=True)}
        for interval, own in scores:
            first = places[interval.contig].start
            covered = slice(first + interval.start, first + interval.end)
            sums[covered] += own[::-1] if interval.strand == "-" else own
            counts[covered] += 1
        bases = shared = 0
        with contextlib.closing(library.open(str(scratch / "track"), "w")) as track:
            track.addHeader(list(lengths.items()))
            for record, place in places.items():
                for start, several in _runs(counts[place]):
                    values = sums[place][start : start + len(several)] / several
                    track.addEntries(record, start, values=values.astype(np.float32).tolist(), span=1, step=1)
                    bases, shared = bases + len(several), shared + int((several > 1).sum())
        with (scratch / "track").open("rb") as source:
            shutil.copyfileobj(source, file, _BLOCK)
    return TrackCount(bases, shared)


def _runs(counts: UInt32[np.ndarray, " bases"]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the start and the counts of each run of bases that are covered, cut where a block ends."""
    for first in range(0, len(counts), _BLOCK):
        block = np.array(counts[first : first + _BLOCK])
        edges = np.flatnonzero(np.diff(np.concatenate([[0], block > 0, [0]])))
        for start, end in edges.reshape(-1, 2):
            yield first + int(start), block[start:end]
