"""Negatives: windows of the genome against brute force; what those made of positives keep, and what is uniform."""

import dataclasses
import itertools
import re
from collections import Counter

import numpy as np
import pytest

from dnabert_jax.data_prep.derived.contigs import Contig, ContigSites, Place, Regions
from dnabert_jax.data_prep.derived.negatives import dinucleotide_shuffle, gc_windows, motif_places, substitute_parts
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import base_codes

LENGTH = 50


@pytest.fixture
def text() -> str:
    """Its GC content rises from left to right; N in between."""
    rng = np.random.default_rng(0)
    shares = ([(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2] for gc in (0.3, 0.5, 0.7))
    return "N".join("".join(rng.choice(list("ACGT"), 4000, p=share)) for share in shares)


@pytest.fixture
def place(text: str) -> Place:
    none, nowhere = np.zeros(0, np.int64), Regions([])
    sites = ContigSites(none, none > 0, none.astype(np.int8), nowhere)
    return Place(Contig("a", base_codes(text.encode())), sites, nowhere, np.random.default_rng(1))


def test_where_there_are_enough_the_gc_content_is_equal_and_what_is_not_found_is_left(text: str, place: Place) -> None:
    codes = base_codes((("GC" * 12 + "A" * 26) * 20 + "G" * LENGTH).encode()).reshape(21, LENGTH)
    starts = gc_windows(place, codes, 0.0)
    assert sorted(starts) == list(range(20))
    assert {sum(base in "GC" for base in text[start : start + LENGTH]) for start in starts.values()} == {24}
    short = dataclasses.replace(place, contig=Contig("short", place.contig.codes[:40]))
    assert not gc_windows(short, codes, 0.02)


@pytest.mark.parametrize(("motif", "pattern"), [("TATAWA", "TATA[AT]A"), ("GRYN", "G[AG][CT][ACGT]"), ("A", "A")])
def test_motif_places(text: str, place: Place, motif: str, pattern: str) -> None:
    assert motif_places(place.contig.codes, motif).tolist() == [m.start() for m in re.finditer(f"(?={pattern})", text)]


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
    codes = np.array([0, 1, 0, 2, 0, 1, 2, 0, 0, 1], np.uint8)
    inner = set(itertools.permutations(codes[1:-1].tolist()))
    equals = {row for row in ((0, *middle, 1) for middle in inner) if pairs(np.array(row)) == pairs(codes)}
    shuffled = dinucleotide_shuffle(np.tile(codes, (300 * len(equals), 1)), np.random.default_rng(1))
    counts = Counter(map(tuple, shuffled.tolist()))
    assert set(counts) == equals
    # Chi-square over the sequences; its mean is their number less one.
    freedom = len(equals) - 1
    assert freedom > 9
    assert abs(sum((count - 300) ** 2 / 300 for count in counts.values()) - freedom) < 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("length", [20, 70, 300, 301])
def test_substitution_keeps_eight_of_twenty_parts_and_the_rest_is_uniform(length: int) -> None:
    rng = np.random.default_rng(2)
    codes = np.full(length, 3, np.uint8)
    rows = np.array([substitute_parts(codes, rng) for _ in range(200)])
    borders = np.searchsorted(np.arange(length) * 20 // length, np.arange(1, 20))
    whole = np.array([(part == 3).all(axis=1) for part in np.split(rows, borders, axis=1)])
    assert whole.sum(axis=0).min() >= 8
    assert (codes == 3).all()
    if length >= 300:
        assert (whole.sum(axis=0) == 8).all()
        assert (np.abs(whole.sum(axis=1) - 80) < 40).all()
        assert np.allclose(np.bincount(rows.ravel(), minlength=4)[:3] / rows.size, 0.6 / 4, atol=0.01)
    with pytest.raises(InputError, match="19 bases"):
        substitute_parts(codes[:19], rng)
