"""Logistic or ridge regression on counts of k-mers, with gaps or without: what a network has to beat.

A word is a pattern of letters that count with gaps between them, as in gkm-SVM (Ghandi et al. 2014): of at most
`longest` letters, `informative` count, the first and the last among them. So each word is counted once, at whatever
place, and the reverse complement of a pattern is a pattern.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Num, UInt8

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.tasks.baselines.linear import LinearFit, fit_linear
from dnabert_jax.tasks.baselines.selection import learnable_labels
from dnabert_jax.tasks.measures.metrics import validation_metric

_MOST_COLUMNS = 1 << 24


@dataclasses.dataclass(frozen=True)
class KmerBaselineConfig:
    """What is counted, and what is tried.

    By default there are 21 patterns, each with a count at nearly every place: some 250 bytes a base of memory.

    Attributes:
        longest: letters of the longest word.
        informative: letters of a word that count; as many as the longest has for k-mers without gaps.
        reverse_complement: a word and its reverse complement are one.
        inverse_penalties: C of the L2 penalty |w|² / 2C on the sum of the losses, of half the squared errors in
            regression; the one that is best on the validation split is taken.
        select_by: metric of the validation split, by which it is the best; the loss, unlike a share of right answers,
            tells any two apart.
    """

    longest: int = 8
    informative: int = 6
    reverse_complement: bool = True
    inverse_penalties: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    select_by: str = "loss"

    def __post_init__(self) -> None:
        if not (1 <= self.informative <= self.longest and (self.informative > 1 or self.longest == 1)):
            raise InputError(
                f"informative is {self.informative} of {self.longest} letters: it must be at least 2 and no more than "
                "the longest word has, or both 1."
            )
        columns = math.comb(max(self.longest - 1, 0), self.informative - 1) * 4**self.informative
        if columns > _MOST_COLUMNS:
            raise InputError(
                f"Words of {self.longest} letters, of which {self.informative} count, are {columns:,} features: more "
                f"than {_MOST_COLUMNS:,}. Shorten one or the other."
            )
        if not self.inverse_penalties or min(self.inverse_penalties) <= 0:
            raise InputError(f"inverse_penalties are {self.inverse_penalties}: give one or several, all above 0.")

    @property
    def description(self) -> str:
        """In words, for tables: what is counted."""
        gapped = self.longest > self.informative
        words = f"{self.informative} of {self.longest} letters at most" if gapped else f"{self.informative}-mers"
        return f"{words}{', strands merged' if self.reverse_complement else ''}"


@dataclasses.dataclass(frozen=True)
class KmerBaseline:
    """A fitted baseline."""

    config: KmerBaselineConfig
    fit: LinearFit

    @property
    def description(self) -> str:
        """In words, for tables."""
        kind = "ridge" if self.fit.task.problem == "regression" else "logistic"
        return f"{kind} regression on {self.config.description}"

    def scores(self, codes: UInt8[np.ndarray, "N L"]) -> Float[np.ndarray, "N C"]:
        """Returns probabilities of the labels, or values, as `metrics.measure` takes them."""
        return self.fit.scores(_features(codes, self.config))


def fit_kmer_baseline(
    task: TaskConfig,
    config: KmerBaselineConfig,
    train: tuple[UInt8[np.ndarray, "N L"], Num[np.ndarray, "N ..."]],
    validation: tuple[UInt8[np.ndarray, "M K"], Num[np.ndarray, "M ..."]],
) -> KmerBaseline:
    """Fits the training split with each penalty and keeps the fit that is best on the validation split.

    Args:
        train: codes of bases, a sequence per row, padded with AMBIGUOUS on any side; and labels.
        validation: the same of the validation split, which nothing is fitted to.

    Raises:
        InputError: an output that is always the same in the training split, labels that cannot be measured, or a metric
            that the task has not, or the validation split does not define.
        JobError: a fit that does not converge.
    """
    metric = validation_metric(task, config.select_by)
    labels = learnable_labels(task, train[1], len(train[0]))
    of_train, of_validation = (_features(codes, config) for codes in (train[0], validation[0]))
    fit = fit_linear(task, config.inverse_penalties, metric, (of_train, labels), (of_validation, validation[1]))
    return KmerBaseline(config, fit)


def kmer_counts(codes: UInt8[np.ndarray, "N L"], config: KmerBaselineConfig) -> Any:
    """Returns counts of words in each row, as a scipy sparse matrix [N, patterns * 4**informative].

    A word that holds an ambiguous letter where letters count is no word. Of two strands that are merged, the columns
    of the second pattern are those of the first.
    """
    from scipy import sparse

    width = 4**config.informative
    blocks: dict[tuple[int, ...], Any] = {}
    for pattern in _patterns(config):
        starts = max(codes.shape[1] - pattern[-1], 0)
        letters = [codes[:, offset : offset + starts] for offset in pattern]
        words, valid = _number(letters), np.all([letter < AMBIGUOUS for letter in letters], axis=0)
        if config.reverse_complement:
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
    """Offsets of the letters that count, for every word."""
    if config.informative == 1:
        yield (0,)
        return
    for last in range(config.informative - 1, config.longest):
        for inner in itertools.combinations(range(1, last), config.informative - 2):
            yield (0, *inner, last)


def _number(letters: list[np.ndarray]) -> Integer[np.ndarray, "N P"]:
    """The word read as a number of base 4; meaningless where a letter is ambiguous."""
    words = np.zeros(letters[0].shape, np.int64)
    for letter in letters:
        words = words << 2 | letter & 3
    return words


def _features(codes: UInt8[np.ndarray, "N L"], config: KmerBaselineConfig) -> Any:
    """Returns counts of each row over their Euclidean norm, so that the length of a sequence does not matter."""
    from sklearn.preprocessing import normalize

    return normalize(kmer_counts(codes, config))
