"""Sequences with a planted motif, and scores that are high on it."""

import dataclasses
import random

import numpy as np
import pytest

from dnabert_jax.sequence.kmers import base_codes, reverse_complement
from dnabert_jax.tasks.datasets.sequences import Sequences

PLANTED = "TGAGTCATCG"


def sequences_of(texts: list[str]) -> Sequences:
    return Sequences.of((base_codes(text.encode()), np.array([len(text)])) for text in texts)


def dna(length: int, generator: random.Random) -> str:
    return "".join(generator.choices("ACGT", k=length))


@dataclasses.dataclass
class Planted:
    """Positives, their scores, negatives, and where the motif is in each positive."""

    positives: list[str]
    scores: list[np.ndarray]
    negatives: list[str]
    starts: list[int]

    def half_turned(self) -> "Planted":
        """The same, with every other positive sequence as its other strand."""
        positives, scores = list(self.positives), list(self.scores)
        for row in range(0, len(positives), 2):
            turned = reverse_complement(base_codes(positives[row].encode()))
            positives[row] = "".join("ATCG"[code] for code in turned)
            scores[row] = scores[row][::-1].copy()
        return Planted(positives, scores, self.negatives, self.starts)


def plant() -> Planted:
    """Eighty sequences of each kind, of 60 bases."""
    generator = random.Random(1)  # noqa: S311
    data = Planted([], [], [dna(60, generator) for _ in range(80)], [])
    for _ in range(80):
        start = generator.randrange(15, 60 - 25)
        text = dna(60, generator)
        data.positives.append(text[:start] + PLANTED + text[start + len(PLANTED) :])
        scores = np.full(60, 0.01, np.float32)
        scores[start : start + len(PLANTED)] = 1
        data.scores.append(scores)
        data.starts.append(start)
    return data


@pytest.fixture(scope="session")
def planted() -> Planted:
    return plant()
