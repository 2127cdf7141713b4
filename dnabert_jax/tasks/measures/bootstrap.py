"""Metrics of examples and of many resamples of them.

scikit-learn sorts and checks anew at each call, which a thousand resamples of 100,000 examples, or of 400 classes,
cannot afford. Here scores are ranked once. A resample is a weight for each example, and a block of resamples is
computed at once by sparse matrix products that add up weights: between the thresholds of a curve, and on the margins
and the diagonal of the confusion matrix. Undefined is NaN. The ranks of several classes take at least 12 bytes per
example and class: 100,000 examples of 400 classes, 0.5 GB. `metrics` says what each key means.

Letters: N examples, n entries (an example's only one, or one per label), C scores, K classes, R resamples of a block.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.problems import BINARY_METRICS, REGRESSION_METRICS

_Entries = Integer[np.ndarray, " n"]
_Weights = Float64[np.ndarray, "N R"]
_PerResample = Float64[np.ndarray, " R"]
_Measure = Callable[[_Weights], dict[str, _PerResample]]

_BLOCK_BYTES, _SMALLEST_BLOCK = 1 << 21, 16
"""The weights of a block of resamples stay in a processor's cache, if the examples are not too many."""


def metrics_of_draws(
    task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Num[np.ndarray, "N ..."], draws: Iterable[np.ndarray]
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Returns each metric of each draw, by key, where a draw is an array of numbers of examples."""
    prepare: Any = _single_label if task.kind.exclusive else _multi_label if task.kind.has_classes else _regression
    figures_of: _Measure = prepare(task, scores, labels)
    blocks, remaining = [], iter(draws)
    size = max(_SMALLEST_BLOCK, _BLOCK_BYTES // (8 * len(scores)))
    with np.errstate(invalid="ignore", divide="ignore"):
        while block := [np.bincount(draw, minlength=len(scores)) for draw in itertools.islice(remaining, size)]:
            blocks.append(figures_of(np.ascontiguousarray(np.array(block, np.float64).T)))
    return {key: np.concatenate([figures[key] for figures in blocks]) for key in blocks[0]}


def _counting(groups: _Entries, examples: _Entries, shape: tuple[int, int]) -> Any:
    """Returns the sparse matrix that adds up the weights of the entries of each group."""
    from scipy.sparse import coo_array

    return coo_array((np.ones(len(groups)), (groups, examples)), shape=shape).tocsr()


def _dot(a: Float64[np.ndarray, "n R"], b: Float64[np.ndarray, "n _"]) -> _PerResample:
    return np.vecdot(np.ascontiguousarray(a.T), np.ascontiguousarray(b.T))


def _mean(values: Float64[np.ndarray, " N"], weights: _Weights) -> _PerResample:
    return _dot(weights, values[:, None]) / weights.sum(axis=0)


def _cross_entropy(probability: np.ndarray) -> np.ndarray:
    """Returns nats of what came true; scikit-learn's clipping, so that a probability of 0 costs 36 and not infinity."""
    return -np.log(np.maximum(probability, np.finfo(np.float64).eps))


def _curves(
    scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], examples: _Entries
) -> Callable[[_Weights], tuple[_PerResample, _PerResample]]:
    """Ranks the scores of entries, of which some are positive.

    Returns:
        A function from weights to how often positive entries outrank others, where a tie is half a win, and to the
        average precision.
    """
    # Thresholds are the scores of positive entries. Slot 2u holds the scores between thresholds u - 1 and u, and slot
    # 2u + 1 those equal to threshold u.
    thresholds, count = np.unique(scores[positive]), int(examples[-1]) + 1
    slots = np.searchsorted(thresholds, scores, "left") + np.searchsorted(thresholds, scores, "right")
    of_all = _counting(slots, examples, (2 * len(thresholds) + 1, count))
    of_positive = _counting(slots[positive] // 2, examples[positive], (len(thresholds), count))

    def curves(weights: _Weights) -> tuple[_PerResample, _PerResample]:
        positives, through = of_positive @ weights, (of_all @ weights).cumsum(axis=0)
        below, total, positive = through[:-1:2], through[-1], positives.sum(axis=0)
        positives_below = positives.cumsum(axis=0) - positives
        others = (below + through[1::2]) / 2 - positives_below - positives / 2
        precision = (positive - positives_below) / np.maximum(total - below, 1)
        average = np.where(positive < total, _dot(positives, precision) / positive, np.nan)
        return _dot(positives, others), average

    return curves


def _classification(
    scores: Float[np.ndarray, "n C"], labels: _Entries, predicted: _Entries, examples: _Entries
) -> _Measure:
    """Returns a function from weights to the metrics of K classes.

    Args:
        scores: of each class; of two classes, those of class 1.
        examples: the example that each entry belongs to, ascending; of more than two classes, each has one entry.
    """
    size = max(scores.shape[1], 2)
    classes = range(size)[-scores.shape[1] :]
    curves = [_curves(column, labels == k, examples) for column, k in zip(scores.T, classes, strict=True)]
    correct, count = labels == predicted, int(examples[-1]) + 1
    groups = np.concatenate([labels, size + predicted, 2 * size + labels[correct]])
    margins = _counting(groups, np.concatenate([examples, examples, examples[correct]]), (3 * size, count))

    def figures_of(weights: _Weights) -> dict[str, _PerResample]:
        truth, chosen, right = (margins @ weights).reshape(3, size, -1)
        wins, averages = zip(*(column(weights) for column in curves), strict=True)
        if size == 2:
            area = wins[0] / truth.prod(axis=0)
        else:
            # One-vs-one: each class against each other, both ways, as Hand and Till average them. An example counts by
            # its share of its class.
            shares = weights / truth[labels]
            area = sum(column(shares)[0] for column in curves) / (size * (size - 1))
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
        return {**figures, "roc_auc": np.where(every, area, np.nan), "auprc": np.mean(averages, axis=0)}

    return figures_of


def _single_label(task: TaskConfig, scores: Float[np.ndarray, "N K"], labels: Integer[np.ndarray, " N"]) -> _Measure:
    examples = np.arange(len(scores))
    losses = _cross_entropy(scores[examples, labels])
    columns = scores[:, 1:] if scores.shape[1] == 2 else scores
    figures_of = _classification(columns, labels, task.kind.decisions(scores), examples)
    return lambda weights: {"loss": _mean(losses, weights), **figures_of(weights)}


def _multi_label(task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Integer[np.ndarray, "N C"]) -> _Measure:
    examples, predicted = np.arange(len(scores)), task.kind.decisions(scores)
    each = [_classification(scores[:, [c]], labels[:, c], predicted[:, c], examples) for c in range(scores.shape[1])]
    owners = examples.repeat(scores.shape[1])
    pooled = _classification(scores.reshape(-1, 1), labels.ravel(), predicted.ravel(), owners)
    losses = _cross_entropy(np.where(labels == 1, scores, 1 - scores)).mean(axis=1)
    exact = (labels == predicted).all(axis=1).astype(np.float64)

    def figures_of(weights: _Weights) -> dict[str, _PerResample]:
        by_label, micro = [label(weights) for label in each], pooled(weights)
        figures = {"loss": _mean(losses, weights), "subset_accuracy": _mean(exact, weights)}
        for name in BINARY_METRICS:
            values = np.array([of_label[name] for of_label in by_label])
            figures |= {f"{name}/{label}": value for label, value in zip(task.labels, values, strict=True)}
            defined = ~np.isnan(values)
            figures[f"{name}_macro"] = np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)
            figures[f"{name}_micro"] = micro[name]
        return figures

    return figures_of


def _regression(task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Float[np.ndarray, "N C"]) -> _Measure:
    targets = list(zip(scores.T, labels.T, strict=True))
    groups = [[np.unique(values, return_inverse=True)[1] for values in pair] for pair in targets]

    def figures_of_draw(draw: np.ndarray) -> dict[str, float]:
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

    def figures_of(weights: _Weights) -> dict[str, _PerResample]:
        rows = [figures_of_draw(np.arange(len(scores)).repeat(counts.astype(int))) for counts in weights.T]
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
