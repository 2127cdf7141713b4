"""Sets of intervals against brute force."""

import numpy as np
import pytest

from data_prep.derived.contigs import Regions


@pytest.mark.parametrize("margin", [0, 3])
@pytest.mark.parametrize("number", [0, 1, 12])
def test_overlap_is_that_of_any_base(margin: int, number: int) -> None:
    rng = np.random.default_rng(number)
    starts = rng.integers(0, 200, number)
    intervals = [
        (int(start), int(start + size)) for start, size in zip(starts, rng.integers(1, 30, number), strict=True)
    ]
    covered = {base for start, end in intervals for base in range(start - margin, end + margin)}
    windows = np.arange(-20, 260)
    expected = [not covered.isdisjoint(range(start, start + 8)) for start in windows.tolist()]
    assert Regions(intervals, margin).overlap(windows, 8).tolist() == expected


def test_an_interval_within_another_takes_nothing_from_it() -> None:
    found = Regions([(10, 20), (0, 100)]).overlap(np.array([15, 50, 99, 100]), 1)
    assert found.tolist() == [True, True, True, False]
