"""Sequences as the rows of codes that baselines take."""

import numpy as np

from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes


def complement(sequence: str) -> str:
    return sequence[::-1].translate(str.maketrans("ACGTN-", "TGCAN-"))


def rows(sequences: list[str], width: int = 0) -> np.ndarray:
    table = np.full((len(sequences), max(width, *map(len, sequences)) + 2), AMBIGUOUS, np.uint8)
    for row, sequence in zip(table, sequences, strict=True):
        row[1 : 1 + len(sequence)] = base_codes(sequence.encode())
    return table
