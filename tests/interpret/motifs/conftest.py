"""Sequences with a planted motif, and scores that are high on it."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from Bio.Seq import reverse_complement

from dnabert_jax.sequence.bases import base_codes
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
            positives[row], scores[row] = reverse_complement(positives[row]), scores[row][::-1].copy()
        return Planted(positives, scores, self.negatives, self.starts)


def plant() -> Planted:
    """Eighty sequences of each kind, of 60 bases."""
    generator = random.Random(1)  # noqa: S311
    data = Planted([], [], [dna(60, generator) for _ in range(80)], [])
    for _ in range(80):
        start = generator.randrange(15, 60 - 25)
        text = dna(60, generator)
        data.positives.append(text[:start] + PLANTED + text[start + len(PLANTED) :])
        data.scores.append(np.full(60, 0.01, np.float32))
        data.scores[-1][start : start + len(PLANTED)] = 1
        data.starts.append(start)
    return data


@pytest.fixture(scope="session")
def planted() -> Planted:
    return plant()


def probabilities(text: str) -> np.ndarray:
    """A matrix, [W, 4], that is nearly sure of each base of a text."""
    return np.where(np.array(list(text))[:, None] == list("ACGT"), 0.97, 0.01)


def write_meme(path: Path, known: dict[str, np.ndarray], url: str = "") -> None:
    """A file such as JASPAR's: `known` are matrices by what stands after MOTIF."""
    lines = ["MEME version 4", "", "ALPHABET= ACGT", "", "strands: + -", ""]
    for heading, matrix in known.items():
        rows = [" ".join(f"{share:.6f}" for share in row) for row in matrix]
        lines += [
            f"MOTIF {heading}",
            f"letter-probability matrix: alength= 4 w= {len(matrix)} nsites= 20 E= 0",
            *rows,
            url,
        ]
    path.write_text("\n".join(lines) + "\n")


def random_known(count: int, seed: int = 5) -> dict[str, np.ndarray]:
    """Motifs of 6 to 14 bases, named R00 on."""
    generator = np.random.default_rng(seed)
    return {f"R{row:02d}": generator.dirichlet([0.3] * 4, size=generator.integers(6, 15)) for row in range(count)}
