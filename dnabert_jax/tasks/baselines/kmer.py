"""Logistic or ridge regression on counts of k-mers, with gaps or without: what a network has to beat.

A word is a pattern of letters that count with gaps between them, as in gkm-SVM (Ghandi et al. 2014): of at most
`longest` letters, `informative` count, the first and the last among them. So each word is counted once, at whatever
place, and the reverse complement of a pattern is a pattern. A word and its reverse complement are one.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Integer, Num, UInt8

from dnabert_jax.config import TaskConfig
from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.tasks.baselines.linear import LinearFit, fit_linear, learnable_labels

_INVERSE_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)


@dataclasses.dataclass(frozen=True)
class KmerBaselineConfig:
    """What is counted.

    By default there are 21 patterns, each with a count at nearly every place: some 250 bytes a base of memory.

    Attributes:
        longest: letters of the longest word.
        informative: letters of a word that count; as many as the longest has for k-mers without gaps.
    """

    longest: int = 8
    informative: int = 6

    def description(self, task: TaskConfig) -> str:
        """Returns what is fitted to what, in words for tables."""
        gapped = self.longest > self.informative
        words = f"{self.informative} of {self.longest} letters at most" if gapped else f"{self.informative}-mers"
        kind = "ridge" if task.problem == "regression" else "logistic"
        return f"{kind} regression on {words}, strands merged"


def fit_kmer_baseline(
    task: TaskConfig,
    config: KmerBaselineConfig,
    train: tuple[UInt8[np.ndarray, "N L"], Num[np.ndarray, "N ..."]],
    validation: tuple[UInt8[np.ndarray, "M K"], Num[np.ndarray, "M ..."]],
) -> LinearFit:
    """Fits the training split with each penalty and keeps the fit of the least loss on the validation split.

    The loss, unlike the share of right answers, tells any two fits apart.

    Args:
        train: codes of bases, a sequence per row, padded with AMBIGUOUS on any side; and labels.
        validation: the same of the validation split, which nothing is fitted to.

    Raises:
        InputError: an output that is always the same in the training split, or labels that cannot be measured.
        JobError: a fit that does not converge.
    """
    labels = learnable_labels(task, train[1], len(train[0]))
    features, held_out = (kmer_features(codes, config) for codes in (train[0], validation[0]))
    return fit_linear(task, _INVERSE_PENALTIES, "loss", (features, labels), (held_out, validation[1]))


def kmer_features(codes: UInt8[np.ndarray, "N L"], config: KmerBaselineConfig) -> Any:
    """Returns counts of each row over their Euclidean norm, so that the length of a sequence does not matter."""
    from sklearn.preprocessing import normalize

    return normalize(kmer_counts(codes, config))


def kmer_counts(codes: UInt8[np.ndarray, "N L"], config: KmerBaselineConfig) -> Any:
    """Returns counts of words in each row, as a scipy sparse matrix [N, patterns * 4**informative].

    A word that holds an ambiguous letter where letters count is no word. A pattern and its mirror image share columns.
    """
    from scipy import sparse

    width = 4**config.informative
    blocks: dict[tuple[int, ...], Any] = {}
    for pattern in _patterns(config):
        starts = max(codes.shape[1] - pattern[-1], 0)
        letters = [codes[:, offset : offset + starts] for offset in pattern]
        words, valid = _number(letters), np.all([letter < AMBIGUOUS for letter in letters], axis=0)
        # A and T, C and G differ in the last bit of their codes.
        other = _number([letter ^ 1 for letter in reversed(letters)])
        mirrored = tuple(pattern[-1] - offset for offset in reversed(pattern))
        if mirrored < pattern:
            pattern, words = mirrored, other
        elif mirrored == pattern:
            words = np.minimum(words, other)
        rows = np.nonzero(valid)[0]
        ones = np.ones(len(rows))
        block = sparse.csr_array(sparse.coo_array((ones, (rows, words[valid])), shape=(len(codes), width)))
        blocks[pattern] = blocks[pattern] + block if pattern in blocks else block
    return sparse.hstack([blocks[pattern] for pattern in sorted(blocks)], format="csr")


def _patterns(config: KmerBaselineConfig) -> Iterator[tuple[int, ...]]:
    """Yields the offsets of the letters that count, for every word."""
    for last in range(config.informative - 1, config.longest):
        for inner in itertools.combinations(range(1, last), config.informative - 2):
            yield (0, *inner, last)


def _number(letters: list[np.ndarray]) -> Integer[np.ndarray, "N P"]:
    """Returns each word read as a number of base 4; meaningless where a letter is ambiguous."""
    words = np.zeros(letters[0].shape, np.int64)
    for letter in letters:
        words = words << 2 | letter & 3
    return words
