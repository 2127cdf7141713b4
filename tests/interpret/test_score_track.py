"""A bigWig has the mean of what covers each base, of any number of records."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyBigWig

from dnabert_jax.interpret.score_track import write_score_track
from dnabert_jax.io.bed import Interval

RECORDS = 300
LENGTH = 10


@contextmanager
def few_files(spare: int) -> Iterator[None]:
    """This process may open at least so many files more, and at most those again that it has open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + spare, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def interval(record: str, start: int, strand: str) -> Interval:
    return Interval(record, start, start + 2, "", strand, None, 0, [])


def test_records_may_be_more_than_the_files_that_may_be_open(tmp_path: Path) -> None:
    lengths = {f"scaffold{number}": LENGTH + number % 3 for number in range(RECORDS)}
    # The last and the first base of neighbours, so that nothing of one is counted to the other.
    expected, scores = {}, []
    for number, (record, length) in enumerate(lengths.items()):
        first, last = np.float32([number, number + 1]), np.float32([-number, 0.5])
        scores += [(interval(record, 0, "+"), first), (interval(record, length - 2, "-"), last)]
        expected[record] = [*first, *[np.nan] * (length - 4), *last[::-1]]
    scores.append((interval("scaffold3", 1, "."), np.float32([0, 8])))
    expected["scaffold3"][1:3] = [2, 8]
    with few_files(32):
        count = write_score_track(tmp_path / "x.bw", lengths, iter(scores))
    assert count == (4 * RECORDS + 1, 1)
    track = pyBigWig.open(str(tmp_path / "x.bw"))
    assert track.chroms() == lengths
    for record, values in expected.items():
        np.testing.assert_array_equal(track.values(record, 0, lengths[record]), values)
    track.close()
