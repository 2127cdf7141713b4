"""Windows, loci and splits against brute force, and which of several examples is kept."""

import itertools

import numpy as np
import pytest

from dnabert_jax.data_prep.derived.contigs import Contig, Examples, Regions, first_of_each
from dnabert_jax.data_prep.derived.derive import SPLITS, split_loci
from dnabert_jax.data_prep.derived.negatives import usable
from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import loci
from dnabert_jax.sequence.bases import base_codes, reverse_complement


def test_of_equal_sequences_on_either_strand_the_first_positive_is_kept() -> None:
    # Of few bases, so that many are equal, or begin as their reverse complement does, and some are their own.
    rng, count = np.random.default_rng(0), 300
    codes, label = rng.integers(0, 2, (count, 8), np.uint8), rng.integers(0, 3, count).astype(np.int8)
    zeros = np.zeros(count, np.int8)
    columns = {"contig": zeros.astype(np.int32), "start": np.arange(count), "reverse": zeros > 0, "key": zeros + 0.0}
    first, seen = [False] * count, set()
    for row in sorted(range(count), key=lambda row: label[row] == 0):
        sequence = min(codes[row].tobytes(), reverse_complement(codes[row]).tobytes())
        first[row] = sequence not in seen
        seen.add(sequence)
    assert first_of_each(Examples(label=label, group=zeros, origin=zeros, codes=codes, **columns)).tolist() == first
    assert 50 < sum(first) < 200


@pytest.mark.parametrize("margin", [0, 3])
@pytest.mark.parametrize("number", [0, 1, 12, 30])
def test_overlap_with_regions_is_that_of_any_base(margin: int, number: int) -> None:
    rng = np.random.default_rng(number)
    starts = rng.integers(0, 200, number)
    intervals = np.stack([starts, starts + rng.integers(1, 30, number)], axis=1)
    covered = {base for start, end in intervals.tolist() for base in range(start - margin, end + margin)}
    windows = np.arange(-20, 260)
    expected = [not covered.isdisjoint(range(start, start + 8)) for start in windows.tolist()]
    assert Regions(intervals, margin).overlap(windows, 8).tolist() == expected


def test_usable_windows_by_brute_force() -> None:
    text = "".join(np.random.default_rng(1).choice(list("ACGTN"), 400, p=[0.24, 0.24, 0.24, 0.24, 0.04]))
    starts = np.arange(-10, 410)
    contig = Contig("a", base_codes(text.encode()))
    expected = [
        0 <= start <= len(text) - 12
        and "N" not in text[start : start + 12]
        and (start + 12 <= 50 or start >= 60)
        and (start + 12 <= 200 or start >= 230)
        for start in starts.tolist()
    ]
    assert usable(contig, starts, 12, [Regions([(50, 60)]), Regions([(200, 230)])]).tolist() == expected
    assert 50 < sum(expected) < 300


@pytest.mark.parametrize("distance", [0, 1, 7, 50])
def test_loci_are_the_components_of_near_pairs(distance: int) -> None:
    rng = np.random.default_rng(distance)
    contig, start = rng.integers(0, 3, 40).astype(np.int32), rng.integers(0, 600, 40)
    # By repeated relabelling of all pairs that overlap or are too near.
    expected = list(range(40))
    for _, i, j in itertools.product(range(40), range(40), range(40)):
        if contig[i] == contig[j] and abs(start[i] - start[j]) - 10 < distance:
            expected[i] = expected[j] = min(expected[i], expected[j])
    locus = loci(contig, start, start + 10, distance).tolist()
    assert len(set(zip(locus, expected, strict=True))) == len(set(expected)) == len(set(locus))


def test_whole_loci_in_the_asked_shares_of_every_kind() -> None:
    rng = np.random.default_rng(0)
    locus, kind = rng.integers(0, 900, 4000), rng.integers(0, 3, 4000)
    _, locus = np.unique(locus, return_inverse=True)
    split = split_loci(locus, kind, 0.1, 0.2, rng)
    assert len(set(zip(locus.tolist(), split.tolist(), strict=True))) == len(np.unique(locus))
    for number in range(3):
        shares = np.bincount(split[kind == number], minlength=3) / (kind == number).sum()
        assert np.allclose(shares, [0.7, 0.1, 0.2], atol=0.01)


def test_a_locus_too_large_for_validation_and_test_is_trained_on() -> None:
    locus = np.array([0] * 50 + list(range(1, 51)))
    for seed in range(5):
        split = split_loci(locus, np.zeros(100, np.int64), 0.1, 0.1, np.random.default_rng(seed))
        assert set(split[:50]) == {SPLITS.index("train")}
        assert np.bincount(split).tolist()[1:] == [10, 10]
    with pytest.raises(InputError, match="2 loci"):
        split_loci(np.array([0, 0, 1, 1]), np.zeros(4, np.int64), 0.1, 0.1, np.random.default_rng(0))
