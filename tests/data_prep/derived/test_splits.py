"""Loci and splits against brute force."""

import itertools

import numpy as np
import pytest

from data_prep.derived.splits import SPLITS, loci, split_contigs, split_loci
from dnabert_jax.errors import InputError


def brute_force_loci(contig: np.ndarray, start: np.ndarray, length: int, distance: int) -> list[int]:
    """Components of the graph of all pairs that overlap or are too near, by repeated relabelling."""
    label = list(range(len(start)))
    for _ in start:
        for i, j in itertools.combinations(range(len(start)), 2):
            between = max(start[i], start[j]) - min(start[i], start[j]) - length
            if contig[i] == contig[j] and between < distance:
                label[i] = label[j] = min(label[i], label[j])
    return label


@pytest.mark.parametrize("distance", [0, 1, 7, 50])
def test_loci_are_the_components_of_near_pairs(distance: int) -> None:
    rng = np.random.default_rng(distance)
    contig, start = rng.integers(0, 3, 40).astype(np.int32), rng.integers(0, 600, 40)
    found = loci(contig, start, 10, distance)
    expected = brute_force_loci(contig, start, 10, distance)
    assert len(set(zip(found.tolist(), expected, strict=True))) == len(set(expected)) == len(set(found.tolist()))


def test_windows_exactly_as_far_apart_as_asked_are_two_loci() -> None:
    contig = np.zeros(2, np.int32)
    assert len(set(loci(contig, np.array([0, 15]), 10, 5))) == 2
    assert len(set(loci(contig, np.array([0, 14]), 10, 5))) == 1


def test_whole_loci_in_the_asked_shares_of_every_kind() -> None:
    rng = np.random.default_rng(0)
    locus, kind = rng.integers(0, 900, 4000), rng.integers(0, 3, 4000)
    _, locus = np.unique(locus, return_inverse=True)
    split = split_loci(locus, kind, 0.1, 0.2, rng)
    for number in np.unique(locus):
        assert len(set(split[locus == number])) == 1
    for own in range(3):
        shares = np.bincount(split[kind == own], minlength=3) / (kind == own).sum()
        assert np.allclose(shares, [0.7, 0.1, 0.2], atol=0.01)


def test_a_locus_too_large_for_validation_and_test_is_trained_on() -> None:
    locus = np.array([0] * 50 + list(range(1, 51)))
    for seed in range(5):
        split = split_loci(locus, np.zeros(100, np.int64), 0.1, 0.1, np.random.default_rng(seed))
        assert set(split[:50]) == {SPLITS.index("train")}
        assert np.bincount(split).tolist()[1:] == [10, 10]


def test_too_few_loci() -> None:
    locus = np.array([0, 0, 1, 1])
    with pytest.raises(InputError, match="make 2 loci, too few or too large for the split"):
        split_loci(locus, np.zeros(4, np.int64), 0.1, 0.1, np.random.default_rng(0))


def test_by_contig() -> None:
    contig = np.array([0, 1, 2, 2, 0])
    split = split_contigs(contig, ["a", "b", "c"], {"b"}, {"c"})
    assert [SPLITS[number] for number in split] == ["train", "validation", "test", "test", "train"]
    with pytest.raises(InputError, match="'train' has no examples"):
        split_contigs(contig, ["a", "b", "c"], {"b", "a"}, {"c"})
    with pytest.raises(InputError, match="'test' has no examples: they would come from d"):
        split_contigs(contig, ["a", "b", "c"], {"b"}, {"d"})
