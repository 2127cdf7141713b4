"""Metrics of examples and of many resamples of them.

scikit-learn sorts and checks anew at each call, which a thousand resamples of 100,000 examples, or of 400 classes,
cannot afford. Here scores are ranked once. A resample is a weight for each example, and a block of resamples is
computed at once by sparse matrix products that add up the weights between the thresholds of a curve. Undefined is NaN.
The ranks of several classes take at least 12 bytes per example and class: 100,000 examples of 400 classes, 0.5 GB.
`metrics` says what each key means.

Letters: N examples, C scores of each, R resamples of a block, U thresholds of a curve.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.problems import BINARY_METRICS, REGRESSION_METRICS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_Weights = Float64[np.ndarray, "N R"]
_PerResample = Float64[np.ndarray, " R"]
_Figures = Mapping[str, _PerResample]

_BLOCK_BYTES, _SMALLEST_BLOCK = 1 << 21, 16
"""The weights of a block of resamples stay in a processor's cache, if the examples are not too many."""


def metrics_of_draws(
    task: TaskConfig,
    scores: Float[np.ndarray, "N C"],
    labels: Num[np.ndarray, "N ..."],
    predicted: Num[np.ndarray, "N ..."],
    draws: Iterable[np.ndarray],
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Returns each metric of each draw, by key, where a draw is an array of numbers of examples."""
    if task.problem == "single_label_classification":
        figures_of = _single_label(scores, labels, predicted)
    elif task.problem == "multi_label_classification":
        figures_of = _multi_label(task, scores, labels, predicted)
    else:
        figures_of = _regression(task, scores, labels)
    blocks, remaining = [], iter(draws)
    size = max(_SMALLEST_BLOCK, _BLOCK_BYTES // (8 * len(scores)))
    with np.errstate(invalid="ignore", divide="ignore"):
        while block := list(itertools.islice(remaining, size)):
            blocks.append(figures_of(block))
    return {key: np.concatenate([figures[key] for figures in blocks]) for key in blocks[0]}


def _weights(draws: list[np.ndarray], examples: int) -> _Weights:
    counts = [np.bincount(draw, minlength=examples) for draw in draws]
    return np.ascontiguousarray(np.array(counts, np.float64).T)


def _counting(
    groups: Integer[np.ndarray, " n"], examples: Integer[np.ndarray, " n"], shape: tuple[int, int]
) -> "csr_array":
    """Returns the matrix that adds up the weights of the examples of each group."""
    from scipy.sparse import coo_array

    return coo_array((np.ones(len(groups)), (groups, examples)), shape=shape).tocsr()


class _Ranked:
    """Scores between those of the examples of a class, to be counted with the weights of resamples.

    Args:
        scores: of any shape with a row for each example; each score of an example counts by its weight.
        positive: of the same shape, whether the score is of an example of the class.
    """

    def __init__(self, scores: Float[np.ndarray, "N ..."], positive: Bool[np.ndarray, "N ..."]):
        # Thresholds are the scores of positive examples. Row u of the matrices adds up the weights of scores below
        # threshold u and not below the one before, of positive examples at u, and of others at u.
        thresholds = np.unique(scores[positive])
        left, right = (np.searchsorted(thresholds, scores, side) for side in ("left", "right"))
        examples = np.broadcast_to(np.arange(len(scores)).reshape(-1, *[1] * (scores.ndim - 1)), scores.shape)
        tied = ~positive & (left < right)
        count, total = len(thresholds), len(scores)
        self._between = _counting(right.ravel(), examples.ravel(), (count + 1, total))
        self._positive = _counting(left[positive], examples[positive], (count, total))
        self._tied = _counting(left[tied], examples[tied], (count, total))

    def wins(self, weights: _Weights, shares: _Weights) -> _PerResample:
        """Returns how often positive examples outrank others, where a tie is half a win and others count by shares."""
        others = self._between @ shares
        others[1:] -= self._positive @ shares
        return _dot(self._positive @ weights, others.cumsum(axis=0)[:-1] + self._tied @ shares / 2)

    def curves(self, weights: _Weights) -> tuple[_PerResample, _PerResample]:
        """Returns the area under the ROC curve and the average precision."""
        positives = self._positive @ weights
        below, positives_below = (self._between @ weights).cumsum(axis=0), positives.cumsum(axis=0)
        total, positive = below[-1], positives.sum(axis=0)
        positives_below -= positives
        wins = _dot(positives, below[:-1] - positives_below + self._tied @ weights / 2)
        precision = (positive - positives_below) / np.maximum(total - below[:-1], 1)
        average = np.where(positive < total, _dot(positives, precision) / positive, np.nan)
        return wins / (positive * (total - positive)), average


def _dot(a: Float64[np.ndarray, "n R"], b: Float64[np.ndarray, "n _"]) -> _PerResample:
    return np.vecdot(np.ascontiguousarray(a.T), np.ascontiguousarray(b.T))


def _of_confusion(
    right: Float64[np.ndarray, "K R"], truth: Float64[np.ndarray, "K R"], chosen: Float64[np.ndarray, "K R"]
) -> dict[str, _PerResample]:
    """Returns accuracy, MCC, the macro averages, and the figures of class 1."""
    recall, precision, f1 = right / truth, right / chosen, 2 * right / (truth + chosen)
    total = truth.sum(axis=0)
    # Gorodkin's MCC of any number of classes.
    covariance = right.sum(axis=0) * total - (truth * chosen).sum(axis=0)
    spread = (total**2 - (truth**2).sum(axis=0)) * (total**2 - (chosen**2).sum(axis=0))
    mcc = np.where(spread > 0, covariance / np.sqrt(spread), 0.0)
    every, several = (truth > 0).all(axis=0), (truth > 0).sum(axis=0) > 1
    figures = {"accuracy": right.sum(axis=0) / total, "mcc": np.where(several, mcc, np.nan)}
    for name, each in (("f1", f1), ("precision", precision), ("recall", recall)):
        figures[f"{name}_macro"] = np.where(every, each.mean(axis=0), np.nan)
        figures[name] = np.where(every, each[1], np.nan)
    return figures


def _single_label(
    scores: Float[np.ndarray, "N K"], labels: Integer[np.ndarray, " N"], predicted: Integer[np.ndarray, " N"]
) -> Callable[[list[np.ndarray]], _Figures]:
    total, count = scores.shape
    columns = [1] if count == 2 else list(range(count))
    ranked = [_Ranked(scores[:, column], labels == column) for column in columns]
    losses = _cross_entropy(scores[np.arange(total), labels])
    correct, examples = np.flatnonzero(labels == predicted), np.arange(total)
    by_truth, by_choice = (_counting(classes, examples, (count, total)) for classes in (labels, predicted))
    by_both = _counting(labels[correct], correct, (count, total))

    def figures_of(draws: list[np.ndarray]) -> _Figures:
        weights = _weights(draws, total)
        truth = by_truth @ weights
        areas, averages = zip(*(column.curves(weights) for column in ranked), strict=True)
        if count == 2:
            area = areas[0]
        else:
            # One-vs-one: each class against each other, both ways, as Hand and Till average them. An example counts by
            # its share of its class.
            shares = weights / truth[labels]
            area = sum(column.wins(shares, shares) for column in ranked) / (count * (count - 1))
        return {
            "loss": _dot(weights, losses[:, None]) / weights.sum(axis=0),
            **_of_confusion(by_both @ weights, truth, by_choice @ weights),
            "roc_auc": np.where((truth > 0).all(axis=0), area, np.nan),
            "auprc": np.mean(averages, axis=0),
        }

    return figures_of


def _multi_label(
    task: TaskConfig,
    scores: Float[np.ndarray, "N C"],
    labels: Integer[np.ndarray, "N C"],
    predicted: Integer[np.ndarray, "N C"],
) -> Callable[[list[np.ndarray]], _Figures]:
    ranked = [_Ranked(scores[:, c], labels[:, c] == 1) for c in range(scores.shape[1])]
    pooled = _Ranked(scores, labels == 1)
    losses = _cross_entropy(np.where(labels == 1, scores, 1 - scores)).mean(axis=1)
    exact = (labels == predicted).all(axis=1)
    # For each label, the examples that have it and not, are predicted to, and of which both is so.
    matrices = [np.stack([1.0 - part, part]).transpose(0, 2, 1) for part in (labels, predicted)]

    def figures_of(draws: list[np.ndarray]) -> _Figures:
        weights = _weights(draws, len(labels))
        truth, chosen = (matrix @ weights for matrix in matrices)
        right = (matrices[0] * matrices[1]) @ weights
        each = [
            {**_of_confusion(right[:, c], truth[:, c], chosen[:, c]), **_named(column.curves(weights))}
            for c, column in enumerate(ranked)
        ]
        micro = {
            **_of_confusion(*(part.sum(axis=1) for part in (right, truth, chosen))),
            **_named(pooled.curves(weights)),
        }
        figures = {
            "loss": _dot(weights, losses[:, None]) / weights.sum(axis=0),
            "subset_accuracy": exact @ weights / weights.sum(axis=0),
        }
        for name in BINARY_METRICS:
            values = np.array([of_label[name] for of_label in each])
            figures |= {f"{name}/{label}": value for label, value in zip(task.labels, values, strict=True)}
            defined = ~np.isnan(values)
            figures[f"{name}_macro"] = np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)
            figures[f"{name}_micro"] = micro[name]
        return figures

    return figures_of


def _named(curves: tuple[_PerResample, _PerResample]) -> _Figures:
    return dict(zip(("roc_auc", "auprc"), curves, strict=True))


def _cross_entropy(probability: np.ndarray) -> np.ndarray:
    """Returns nats of what came true; scikit-learn's clipping, so that a probability of 0 costs 36 and not infinity."""
    return -np.log(np.maximum(probability, np.finfo(np.float64).eps))


def _regression(
    task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Float[np.ndarray, "N C"]
) -> Callable[[list[np.ndarray]], _Figures]:
    targets = list(zip(scores.T, labels.T, strict=True))
    groups = [[np.unique(values, return_inverse=True)[1] for values in pair] for pair in targets]

    def figures_of_one(draw: np.ndarray) -> dict[str, float]:
        figures: dict[str, float] = {}
        for target, (x, y), ranks in zip(task.labels, targets, groups, strict=True):
            x, y = x[draw], y[draw]
            error = np.mean((y - x) ** 2)
            figures |= {
                f"r2/{target}": 1 - error / np.var(y) if np.ptp(y) else np.nan,
                f"pearson/{target}": _correlation(x, y),
                f"spearman/{target}": _correlation(*(_mean_ranks(group[draw]) for group in ranks)),
                f"rmse/{target}": np.sqrt(error),
            }
        for name in REGRESSION_METRICS:
            figures[name] = float(np.mean([figures[f"{name}/{target}"] for target in task.labels]))
        return {**figures, "loss": float(np.mean([figures[f"rmse/{target}"] ** 2 for target in task.labels]))}

    def figures_of(draws: list[np.ndarray]) -> _Figures:
        rows = [figures_of_one(draw) for draw in draws]
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}

    return figures_of


def _mean_ranks(groups: Integer[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Returns the rank of each value, equal ones sharing the mean of theirs, from the order of its group."""
    counts = np.bincount(groups)
    return (counts.cumsum() - (counts - 1) / 2)[groups]


def _correlation(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))
