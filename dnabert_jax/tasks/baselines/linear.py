"""Fits logistic or ridge regressions, with the penalty that does best on the validation split.

They are on any features, for a probe, or on counts of k-mers, with gaps or without: what a network has to beat.

A word is a pattern of letters that count with gaps between them, as in gkm-SVM (Ghandi et al. 2014): of at most
`longest` letters, `informative` count, the first and the last among them. So each word is counted once, at whatever
place, and the reverse complement of a pattern is a pattern. A word and its reverse complement are one.

N examples, F features, C outputs.
"""

import dataclasses
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Num, UInt8

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.tasks.measures.metrics import better, checked_labels, measure

_ITERATIONS = 2000
_INVERSE_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Of the regression on k-mers."""
_RIDGE_TOLERANCE = 1e-6
"""The relative residual at which the solver of ridge regression stops."""


LabelledRows = tuple[Any, Num[np.ndarray, "_ ..."]]
"""What is known of the rows of a split: codes of bases or features, [N, ...]; and labels."""


def learnable_labels(task: TaskConfig, labels: Num[np.ndarray, "N ..."], count: int) -> Num[np.ndarray, "N ..."]:
    """Returns the labels of a training split; raises InputError if they are wrong, or an output never changes."""
    labels = checked_labels(task, labels, count)
    names = task.labels if labels.ndim > 1 else ("the label",)
    for name, column in zip(names, np.atleast_2d(labels.T), strict=True):
        if not len(column) or (column == column[0]).all():
            raise InputError(f"In the training split, {name} is always the same: nothing can be learned.")
    return labels


def fit_linear(
    task: TaskConfig, inverse_penalties: tuple[float, ...], metric: str, train: LabelledRows, validation: LabelledRows
) -> tuple[Any, ...]:
    """Fits the training split with each penalty and returns the fit that is best on the validation split.

    That is one model of scikit-learn, or one for each output of several.

    Args:
        inverse_penalties: C of the L2 penalty |w|² / 2C on the sum of the losses, of half the squared errors in
            regression.
        metric: of the validation split.
        train: features, an array or a sparse matrix, [N, F]; and labels, as `learnable_labels` returns them.
        validation: the same of the validation split, which nothing is fitted to.

    Raises:
        InputError: a metric that the validation split does not define.
        JobError: no fit converges.
    """
    features, labels = train
    fits: dict[float, tuple[Any, ...]] = {}
    figures: dict[float, float] = {}
    for penalty in sorted(inverse_penalties):
        models = tuple(_fit(task, features, column, penalty) for column in np.atleast_2d(labels.T))
        if None in models:
            # Weaker penalties would converge no sooner.
            break
        scores = model_scores(task, models, validation[0])
        figure = measure(task, scores, validation[1], resamples=0).values[metric]
        if figure.value is None:
            raise InputError(f"The validation split leaves {metric} undefined: {figure.note}.")
        fits[penalty], figures[penalty] = models, figure.value
    if not fits:
        raise JobError(f"The regression does not converge in {_ITERATIONS:,} iterations with the strongest penalty.")
    # Of equal figures the first, which is that of the strongest penalty.
    best = max if better(metric) == "higher" else min
    return fits[best(figures, key=figures.__getitem__)]


def _fit(task: TaskConfig, features: Any, labels: Num[np.ndarray, " N"], penalty: float) -> Any:
    """Returns a fitted model of scikit-learn; None if it does not converge."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    model: Any = LogisticRegression(C=penalty, max_iter=_ITERATIONS)
    if not task.kind.has_classes:
        model = Ridge(alpha=1 / penalty, max_iter=_ITERATIONS, solver="sparse_cg", tol=_RIDGE_TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return model.fit(features, labels)
        except ConvergenceWarning:
            return None


def model_scores(task: TaskConfig, models: tuple[Any, ...], features: Any) -> Float[np.ndarray, "N C"]:
    """Returns probabilities of the labels, or values, as `metrics.measure` takes them, by the models of a fit."""
    if not task.kind.has_classes:
        return np.stack([model.predict(features) for model in models], axis=1)
    if not task.kind.exclusive:
        return np.stack([model.predict_proba(features)[:, 1] for model in models], axis=1)
    scores = np.zeros((features.shape[0], len(task.labels)))
    # A class without training examples has no probability.
    scores[:, models[0].classes_] = models[0].predict_proba(features)
    return scores


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
        kind = "logistic" if task.kind.has_classes else "ridge"
        return f"{kind} regression on {words}, strands merged"


def fit_kmer_baseline(
    task: TaskConfig, config: KmerBaselineConfig, train: LabelledRows, validation: LabelledRows
) -> tuple[Any, ...]:
    """Fits the training split with each penalty and returns the fit of the least loss on the validation split.

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
