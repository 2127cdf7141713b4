"""Counts are those of a search word by word; p-values those of exact arithmetic."""

import random
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from dnabert_jax.interpret.motifs.enrichment import enrichment
from tests.interpret.motifs.conftest import dna, sequences_of

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def tail(x: int, total: int, positive: int, drawn: int) -> float:
    ways = sum(comb(positive, i) * comb(total - positive, drawn - i) for i in range(x, min(drawn, positive) + 1))
    return float(Fraction(ways, comb(total, drawn)))


@pytest.mark.parametrize("both", [False, True])
def test_counts_and_p_values_are_those_of_the_definition(both: bool) -> None:
    generator = random.Random(0)  # noqa: S311
    texts = [dna(generator.randrange(5, 40), generator) for _ in range(50)]
    # Words within words, which one pass must find all the same; some stand several times in a sequence.
    words = sorted({text[start : start + size] for text in texts[:8] for start in (0, 1) for size in (2, 3, 4)})
    if both:
        words = [word for word in words if word <= word.translate(COMPLEMENT)[::-1]]
    tested = enrichment(words, sequences_of(texts[:20]), sequences_of(texts[20:]), both)

    def holds(text: str, word: str) -> bool:
        return word in text or (both and word.translate(COMPLEMENT)[::-1] in text)

    positives = [sum(holds(text, word) for text in texts[:20]) for word in words]
    negatives = [sum(holds(text, word) for text in texts[20:]) for word in words]
    assert tested.positives.tolist() == positives
    assert tested.negatives.tolist() == negatives
    p = [tail(x, 50, 20, x + y) for x, y in zip(positives, negatives, strict=True)]
    np.testing.assert_allclose(tested.p, p, rtol=1e-9)
    ranked = sorted(p)
    adjusted = [min(1.0, *(len(p) * later / rank for rank, later in enumerate(ranked, 1) if later >= own)) for own in p]
    np.testing.assert_allclose(tested.adjusted_p, adjusted, rtol=1e-9)
