"""Metrics of scores against labels, with bootstrap intervals.

A metric is known by its key:

    single_label_classification   loss accuracy mcc roc_auc auprc f1_macro precision_macro recall_macro
                                  and with two labels f1 precision recall, of which the second label is the positive
    multi_label_classification    loss subset_accuracy, and of accuracy f1 precision recall mcc roc_auc auprc:
                                  NAME_macro, the mean over labels; NAME_micro, all labels pooled; NAME/LABEL
    regression                    loss, and of r2 pearson spearman rmse: NAME, the mean over targets; NAME/TARGET

A single label or target has no subset_accuracy, NAME_micro, NAME/LABEL or NAME/TARGET: they would repeat a number.

loss is what training minimises without its weights: cross-entropy in nats, its mean over labels, or the mean squared
error. roc_auc of more than two labels is the macro average one-vs-one, as in the original
(src/transformers/data/metrics/__init__.py; Hand and Till 2001). auprc is average precision; of more than two labels the
macro average one-vs-rest. A label of several is predicted from a probability of 0.5 on.

What labels or predictions leave undefined (0/0, or one class only) is None with a reason, and is in no average. One
convention is kept: MCC is 0, its limit, where labels are of several classes and predictions of one (Chicco and Jurman
2020). A collapsed model so has a figure to be selected, and averaged, by.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Num

from dnabert_jax.config import TaskConfig, require
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.problems import BINARY_METRICS, REGRESSION_METRICS
from dnabert_jax.tasks.measures.bootstrap import metrics_of_draws

_LEVEL = 0.95
"""The share of resamples inside of an interval."""
_SMALLEST_SPREAD = 0.1
"""Spread below which probabilities that all predict one class are taken for constant: they then hold less than a
hundredth of the labels' variance."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure, None if undefined, and its bootstrap interval; the note says why, or what an average leaves out."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class ConfusionMatrix:
    """counts[i][j] examples of class i are predicted as class j."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Metrics:
    """All metrics of one split.

    Attributes:
        confusion: one matrix; of several labels one each; of regression none.
        resamples: that intervals are percentiles of; 0 if there are no intervals.
        level: share of resamples inside of an interval.
    """

    values: dict[str, Metric]
    confusion: tuple[ConfusionMatrix, ...]
    examples: int
    resamples: int
    level: float


def validation_metric(task: TaskConfig, name: str = "") -> str:
    """Returns the metric by which the best epoch is kept: the named one, or roc_auc, roc_auc_macro or r2.

    The area under the ROC needs no threshold: on a small validation split it tells epochs apart that have one MCC. The
    loss is not taken: a fine-tuned BERT grows overconfident, and its loss rises while its predictions still improve.
    R2, unlike a correlation, sees scale and offset.

    Raises:
        InputError: the task has no metric of that name.
    """
    keys = task.kind.metric_keys(task.labels)
    require(not name or name in keys, f"{task.problem} has no metric {name!r}: choose one of {', '.join(keys)}.")
    return name or task.kind.default_metric


def is_metric(key: str) -> bool:
    """Returns whether there is a metric of that name."""
    return _name(key) in ("loss", "subset_accuracy", *BINARY_METRICS, *REGRESSION_METRICS)


def better(key: str) -> Literal["higher", "lower"]:
    """Returns which direction of a metric is better; raises InputError if there is no such metric."""
    require(is_metric(key), f"There is no metric {key!r}.")
    return "lower" if _name(key) in ("loss", "rmse") else "higher"


def possible_values(key: str) -> tuple[float, float]:
    """Returns the least and the greatest value that a metric can have."""
    name = _name(key)
    least = -np.inf if name == "r2" else -1.0 if name in ("mcc", "pearson", "spearman") else 0.0
    return least, np.inf if better(key) == "lower" else 1.0


def _name(key: str) -> str:
    return key.partition("/")[0].removesuffix("_macro").removesuffix("_micro")


def checked_scores(task: TaskConfig, scores: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    """Returns scores in double precision, rows of a single-label problem summing to 1 beyond single precision."""
    fits = scores.ndim == 2 and scores.shape[1] == len(task.labels) and len(scores) > 0
    require(fits, f"Scores of shape {scores.shape} cannot be measured: {len(task.labels)} columns are needed.")
    scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        raise JobError(f"{(~np.isfinite(scores)).any(axis=1).sum():,} of {len(scores):,} scores are not finite.")
    if not task.kind.has_classes:
        return scores
    sums = scores.sum(axis=1, keepdims=True)
    inexact = task.kind.exclusive and np.abs(sums - 1).max() > 0.01
    if scores.min() < 0 or scores.max() > 1.001 or inexact:
        raise InputError("The scores are not probabilities: apply softmax, or the logistic function, to logits first.")
    return scores / sums if task.kind.exclusive else scores


def checked_labels(task: TaskConfig, labels: Num[np.ndarray, "N ..."], count: int) -> Num[np.ndarray, "N ..."]:
    """Returns labels that are as many as the scores and lie in the range of the task."""
    exclusive, size = task.kind.exclusive, len(task.labels)
    fits = labels.shape == ((count,) if exclusive else (count, size))
    require(fits, f"Labels of shape {labels.shape} do not fit {count:,} scores of {size} labels.")
    if not np.isfinite(labels).all():
        raise InputError(f"{(~np.isfinite(labels)).sum():,} labels are not finite: drop those examples.")
    if not task.kind.has_classes:
        return labels.astype(np.float64)
    wrong = ~np.isin(labels, np.arange(size if exclusive else 2))
    if wrong.any():
        allowed = f"0 to {size - 1}" if exclusive else "0 and 1"
        raise InputError(f"A label is {labels[wrong][0]}: {task.problem} of {list(task.labels)} has {allowed}.")
    return labels.astype(np.int64)


def measure(
    task: TaskConfig,
    scores: Float[np.ndarray, "N C"],
    labels: Num[np.ndarray, " N"] | Num[np.ndarray, "N C"],
    *,
    resamples: int = 1000,
    seed: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> Metrics:
    """Returns all metrics of scores against labels.

    Args:
        scores: a label's probability (rows of a single-label problem sum to 1), or a target's value.
        labels: number of the label [N]; 1 for each label that holds, else 0 [N, C]; or values of the targets [N, C].
        resamples: of N examples, drawn with replacement, for percentile intervals; 0 for none. Resamples in which a
            metric is undefined do not count for its interval.
        advance: is called with the number of resamples drawn since the last call.

    Raises:
        InputError: no examples, labels of another shape, outside of the task's labels or not finite, or scores that are
            not probabilities.
        JobError: scores that are not finite.
    """
    scores = checked_scores(task, scores)
    labels = checked_labels(task, labels, len(scores))
    predicted = task.kind.decisions(scores)

    def draws() -> Iterator[np.ndarray]:
        # All examples once, and then the resamples.
        yield np.arange(len(scores))
        random = np.random.default_rng(seed)
        for _ in range(resamples):
            yield random.integers(len(scores), size=len(scores))
            advance(1)

    figures = metrics_of_draws(task, scores, labels, draws())
    values = {key: float(figures[key][0]) for key in task.kind.metric_keys(task.labels)}
    metrics = {}
    for key, value in values.items():
        if np.isnan(value):
            metrics[key] = Metric(None, note=_why_undefined(task, key, scores, labels, predicted))
            continue
        low = high = None
        if not np.isnan(figures[key][1:]).all():
            low, high = np.nanquantile(figures[key][1:], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]).tolist()
        metrics[key] = Metric(value, low, high, _left_out(task, key, values))
    return Metrics(metrics, _confusion(task, labels, predicted), len(scores), resamples, _LEVEL)


def has_collapsed(task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Num[np.ndarray, "N ..."]) -> bool:
    """Returns whether a classifier has collapsed to one class, as fine-tuned BERTs do with some seeds.

    DNABERT's issues 10 and 78 report runs that end at an accuracy of 0.5 and an MCC of 0: whatever the sequence, the
    output is the same. It has if all three hold: labels are of several classes; every example is predicted alike; and
    the spread is small, which is the standard deviation of the probabilities of a label over that of the label itself
    (0 or 1), the largest of all labels. The first two alone would take in a classifier of a rare class, which ranks
    well before any probability reaches a half; relative to labels, a rare class is held to its own measure.
    """
    if not task.kind.has_classes:
        return False
    scores = checked_scores(task, scores)
    labels = checked_labels(task, labels, len(scores))
    predicted = task.kind.decisions(scores)
    deviation = (labels[:, None] == np.arange(len(task.labels)) if task.kind.exclusive else labels).std(axis=0)
    varies = deviation > 0
    if not varies.any() or (predicted != predicted[0]).any():
        return False
    return bool((scores.std(axis=0)[varies] / deviation[varies]).max() < _SMALLEST_SPREAD)


def _left_out(task: TaskConfig, key: str, values: dict[str, float]) -> str:
    """Returns what a mean over labels leaves out."""
    name, _, average = key.rpartition("_")
    gaps = sum(np.isnan(values.get(f"{name}/{label}", 0)) for label in task.labels) if average == "macro" else 0
    return f"without {gaps} of {len(task.labels)} labels, for which it is undefined" if gaps else ""


def _why_undefined(task: TaskConfig, key: str, scores: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> str:
    name, _, label = key.partition("/")
    if not task.kind.has_classes:
        for target in [task.labels.index(label)] if label else range(len(task.labels)):
            for values, what in ((labels, "value"), (scores, "prediction")):
                if np.ptp(values[:, target]) == 0:
                    return f"every {what} of {task.labels[target]!r} is the same"
    if task.kind.exclusive:
        if name == "mcc":
            return f"every example is {task.labels[labels[0]]!r}"
        missing, never = (np.setdiff1d(np.arange(len(task.labels)), part) for part in (labels, predicted))
        gap = "no example is" if len(missing) else "nothing is predicted as"
        return f"{gap} {task.labels[(*missing, *never)[0]]!r}"
    if name.endswith("_macro") and len(task.labels) > 1:
        return f"{name.removesuffix('_macro')} is undefined for every label"
    # Without a name it is of all labels pooled, or of the only one.
    label = label or (task.labels[0] if len(task.labels) == 1 else "any label")
    truth = labels[:, task.labels.index(label)] if label in task.labels else labels
    if truth.all() or not truth.any():
        return f"{'every' if truth.all() else 'no'} example is {label!r}"
    return f"nothing is predicted as {label!r}"


def _confusion(task: TaskConfig, labels: np.ndarray, predicted: np.ndarray) -> tuple[ConfusionMatrix, ...]:
    if not task.kind.has_classes:
        return ()
    columns = [(task.labels, labels, predicted)]
    if not task.kind.exclusive:
        names = [(f"not {label}", label) for label in task.labels]
        columns = list(zip(names, labels.T, predicted.T, strict=True))
    matrices = []
    for classes, truth, chosen in columns:
        counts = np.bincount(truth * len(classes) + chosen, minlength=len(classes) ** 2).reshape(len(classes), -1)
        matrices.append(ConfusionMatrix(classes, tuple(map(tuple, counts.tolist()))))
    return tuple(matrices)
