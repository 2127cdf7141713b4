"""Sequences as the rows of ids that baselines take."""

import numpy as np

from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP


def complement(sequence: str) -> str:
    return sequence[::-1].translate(str.maketrans("ACGTN-", "TGCAN-"))


def rows(sequences: list[str], k: int, special: bool = False, width: int = 0) -> np.ndarray:
    ids = [KmerTokenizer(k).encode_text(sequence) if len(sequence) >= k else np.zeros(0, int) for sequence in sequences]
    if special:
        ids = [np.array([CLS, *row, SEP]) for row in ids]
    table = np.full((len(ids), max(width, *map(len, ids)) + 2), PAD)
    for row, values in zip(table, ids, strict=True):
        row[: len(values)] = values
    return table
