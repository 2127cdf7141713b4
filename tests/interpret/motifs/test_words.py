"""Runs of high score, counts and p-values are those of their definitions; words of either strand are put together."""

import random
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from dnabert_jax.interpret.motifs.words import candidate_words, enrichment, high_score_runs
from dnabert_jax.sequence.bases import decode_bases, reverse_complement
from tests.interpret.motifs.conftest import dna, other_strand, sequences_of


def runs_by_definition(scores: np.ndarray, min_length: int) -> list[list[int]]:
    mean, least = sum(map(float, scores)) / len(scores), min(map(float, scores))
    high = [score > mean and score > 10 * least for score in map(float, scores)]
    edges = [place for place, (a, b) in enumerate(zip([False, *high], [*high, False], strict=True)) if a != b]
    return [[start, end] for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start >= min_length]


def test_runs_are_those_of_the_definition() -> None:
    rng, found = np.random.default_rng(0), 0
    for case in range(200):
        scores = rng.gamma(0.5, size=rng.integers(1, 40)).astype(np.float32) + (0.05 if case % 2 else 0)
        expected = runs_by_definition(scores, 1 + case % 4)
        found += len(expected)
        assert high_score_runs(scores, 1 + case % 4).tolist() == expected
    assert found > 200
    assert high_score_runs(np.array([9, 9, 0, 0, 9], np.float32), 1).tolist() == [[0, 2], [4, 5]]
    assert high_score_runs(np.ones(8, np.float32), 1).tolist() == []


def test_words_are_in_the_runs_and_those_with_a_letter_in_doubt_are_counted() -> None:
    high, low = [1.0] * 4, [0.0] * 3
    scores = [np.array([*low, *high, *low], np.float32)] * 3
    sequences = sequences_of(["CCCACCTCCC", "CCCAGGTCCC", "CCCACNTCCC"])
    places, regions, ambiguous = candidate_words(sequences, scores, 4, 10.0, both_strands=False)
    assert (list(places), regions, ambiguous) == (["ACCT", "AGGT"], 3, [(2, 3, 7)])
    ((word, merged),) = candidate_words(sequences, scores, 4, 10.0, both_strands=True)[0].items()
    for sequence, start, reverse in zip(*merged, strict=True):
        codes = sequences[sequence][start : start + len(word)]
        assert decode_bases(reverse_complement(codes) if reverse else codes) == word == "ACCT"
    assert merged.reverse.tolist() == [False, True]


def tail(x: int, total: int, positive: int, drawn: int) -> float:
    ways = sum(comb(positive, i) * comb(total - positive, drawn - i) for i in range(x, min(drawn, positive) + 1))
    return float(Fraction(ways, comb(total, drawn)))


@pytest.mark.parametrize("both", [False, True])
def test_counts_and_p_values_are_those_of_the_definition(both: bool) -> None:
    generator = random.Random(0)  # noqa: S311
    texts = [dna(generator.randrange(5, 40), generator) for _ in range(50)]
    # Words within words, which one pass must find all the same; some are several times in a sequence.
    words = sorted({text[start : start + size] for text in texts[:8] for start in (0, 1) for size in (2, 3, 4)})
    words = [word for word in words if not both or word <= other_strand(word)]
    tested = enrichment(words, sequences_of(texts[:20]), sequences_of(texts[20:]), both)

    def holds(text: str, word: str) -> bool:
        return word in text or (both and other_strand(word) in text)

    counts = [[sum(holds(text, word) for text in part) for word in words] for part in (texts[:20], texts[20:])]
    assert [tested[0].tolist(), tested[1].tolist()] == counts
    p = [tail(x, 50, 20, x + y) for x, y in zip(*counts, strict=True)]
    np.testing.assert_allclose(tested[2], p, rtol=1e-9)
    ranked = sorted(p)
    adjusted = [min(1.0, *(len(p) * later / rank for rank, later in enumerate(ranked, 1) if later >= own)) for own in p]
    np.testing.assert_allclose(tested[3], adjusted, rtol=1e-9)
