"""Sets of intervals against brute force, and the files they come from."""

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_prep.derived.regions import Peak, read_bed, read_peaks, regions_of
from dnabert_jax.errors import InputError


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
    assert regions_of(intervals, margin).overlap(windows, 8).tolist() == expected


def test_an_interval_within_another_takes_nothing_from_it() -> None:
    found = regions_of([(10, 20), (0, 100)]).overlap(np.array([15, 50, 99, 100]), 1)
    assert found.tolist() == [True, True, True, False]


def test_peaks(tmp_path: Path) -> None:
    path = tmp_path / "a.narrowPeak"
    lines = ["track type=narrowPeak", "# a comment", "chr1\t100\t160\t.\t0\t.\t1\t-1\t-1\t20"]
    lines += ["chr1\t100\t161\t.\t0\t-\t1\t-1\t-1\t-1", "chr2\t5\t10", "chr2\t5\t10\t.\t0\t+\t1\t-1\t-1\t5", ""]
    path.write_text("\n".join(lines))
    noted: Counter[str] = Counter()
    peaks = read_peaks(path, "a", noted)
    assert peaks["chr1"] == [Peak(100, 160, 120, False), Peak(100, 161, 130, True)]
    assert peaks["chr2"] == [Peak(5, 10, 7, False), Peak(5, 10, 9, False)]
    assert sorted(noted.values()) == [1, 2]
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_peaks(packed, "a", Counter()) == peaks


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t100\t160\t.\t0\t.\t1\t-1\t-1\t61", "Line 1 of a has the summit '61', which is not within its peak"),
        ("chr1\t160\t100", "Line 1 of a has the coordinates '160' and '100', which are no interval"),
        ("chr1\t-5\t100", "which are no interval"),
        ("chr1 100 160", "Line 1 of a has 1 columns separated by tabs"),
        ("#", "a has no peaks"),
    ],
)
def test_bad_peaks(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        read_peaks(path, "a", Counter())


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="b does not exist"):
        read_bed(tmp_path / "b", "b")
    path = tmp_path / "b.gz"
    path.write_bytes(gzip.compress(b"chr1\t1\t2\n" * 999)[:-12])
    with pytest.raises(InputError, match="b is a broken or truncated gzip file"):
        read_bed(path, "b")
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(InputError, match="b is no text"):
        read_bed(path, "b")
