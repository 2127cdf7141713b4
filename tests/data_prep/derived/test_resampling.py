"""Negatives made of positives: what is kept is kept exactly, and the rest is uniform."""

import itertools
from collections import Counter

import numpy as np
import pytest

from data_prep.derived.negatives import dinucleotide_shuffle, substitute_parts
from dnabert_jax.errors import InputError


def pairs(codes: np.ndarray) -> Counter[tuple[int, int]]:
    return Counter(itertools.pairwise(codes.tolist()))


@pytest.mark.parametrize("length", [1, 2, 3, 10, 101, 300])
@pytest.mark.parametrize("bases", [1, 2, 4])
def test_a_shuffle_keeps_each_dinucleotide(length: int, bases: int) -> None:
    rng = np.random.default_rng(length)
    sequences = rng.integers(0, bases, (20, length), np.uint8)
    result = dinucleotide_shuffle(sequences, rng)
    for codes, shuffled in zip(sequences, result, strict=True):
        assert pairs(shuffled) == pairs(codes)
        assert (shuffled[0], shuffled[-1]) == (codes[0], codes[-1])
    assert length < 101 or bases == 1 or (result != sequences).any(axis=1).all()


def test_a_shuffle_of_long_runs_ends() -> None:
    """Their last edges but one lead nowhere else; drawn among all, 500 tries in 501 would be in vain."""
    runs = np.repeat(np.array([[0, 2]], np.uint8), 5000, axis=1)
    assert (dinucleotide_shuffle(runs, np.random.default_rng(0)) == runs).all()


def test_every_sequence_with_the_same_dinucleotides_is_equally_likely() -> None:
    rng = np.random.default_rng(1)
    codes = np.array([0, 1, 0, 2, 0, 1, 2, 0, 0, 1], np.uint8)
    inner = set(itertools.permutations(codes[1:-1].tolist()))
    equals = {row for row in ((0, *middle, 1) for middle in inner) if pairs(np.array(row)) == pairs(codes)}
    found = Counter(map(tuple, dinucleotide_shuffle(np.tile(codes, (300 * len(equals), 1)), rng).tolist()))
    assert set(found) == equals
    # Chi-square over the sequences; its mean is their number less one.
    statistic = sum((count - 300) ** 2 / 300 for count in found.values())
    freedom = len(equals) - 1
    assert len(equals) > 10
    assert abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("length", [20, 70, 300, 301])
def test_substitution_keeps_eight_of_twenty_parts(length: int) -> None:
    rng = np.random.default_rng(2)
    codes = np.full(length, 3, np.uint8)
    borders = [part for part in range(length) if part == 0 or part * 20 // length > (part - 1) * 20 // length]
    assert len(borders) == 20
    kept_often = Counter()
    for _ in range(200):
        changed = substitute_parts(codes, rng)
        whole = [part for part, piece in enumerate(np.split(changed, borders[1:])) if (piece == 3).all()]
        assert len(whole) >= 8
        assert length < 300 or len(whole) == 8
        kept_often.update(whole)
    assert length < 300 or all(40 < kept_often[part] < 120 for part in range(20))
    assert (codes == 3).all()


def test_substituted_bases_are_uniform() -> None:
    rng = np.random.default_rng(3)
    rows = np.array([substitute_parts(np.zeros(300, np.uint8), rng) for _ in range(200)])
    shares = np.bincount(rows.ravel(), minlength=4) / rows.size
    assert np.allclose(shares[1:], 0.6 / 4, atol=0.01)


def test_too_short_to_substitute() -> None:
    with pytest.raises(InputError, match="19 bases has no 20 parts"):
        substitute_parts(np.zeros(19, np.uint8), np.random.default_rng(0))
