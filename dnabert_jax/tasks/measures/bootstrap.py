"""The metrics of many resamples of the same examples.

scikit-learn sorts and checks anew at each call, which a thousand resamples of 100,000 examples cannot afford. Here
scores are ranked once; a resample is then a weight for each example, with which every metric takes one pass. Undefined
is NaN. `metrics` says what each key means; tests hold both to the same figures.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Integer, Num

from dnabert_jax.config import TaskConfig

_Figures = dict[str, float]


def resampled_metrics(
    task: TaskConfig,
    scores: Float[np.ndarray, "N C"],
    labels: Num[np.ndarray, "N ..."],
    predicted: Num[np.ndarray, "N ..."],
    resamples: int,
    seed: int,
) -> dict[str, Float[np.ndarray, " R"]]:
    """Each metric of each resample, by key.

    Args:
        task: problem and names of its labels.
        scores: checked, in double precision.
        labels: checked.
        predicted: what scores predict.
        resamples: how many, each of N examples drawn with replacement.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    draws = (random.integers(len(scores), size=len(scores)) for _ in range(resamples))
    return metrics_of_draws(task, scores, labels, predicted, draws)


def metrics_of_draws(
    task: TaskConfig,
    scores: Float[np.ndarray, "N C"],
    labels: Num[np.ndarray, "N ..."],
    predicted: Num[np.ndarray, "N ..."],
    draws: Iterator[np.ndarray],
) -> dict[str, Float[np.ndarray, " R"]]:
    """As `resampled_metrics`, for given draws, each an array of numbers of examples."""
    if task.problem == "single_label_classification":
        figures = _single_label(scores, labels, predicted, draws)
    elif task.problem == "multi_label_classification":
        figures = _multi_label(task, scores, labels, predicted, draws)
    else:
        figures = _regression(task, scores, labels, draws)
    rows = list(figures)
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


class _Ranked:
    """Scores in their order, to be counted with the weights of one resample after another.

    Args:
        scores: of any shape.
        own: of the same shape, whether an example is of the class that the scores are of.
        among: of the same shape, the examples to compare; all if not given.
    """

    def __init__(self, scores: np.ndarray, own: np.ndarray, among: np.ndarray | None = None):
        chosen = np.arange(scores.size) if among is None else np.flatnonzero(among)
        order = np.argsort(scores.ravel()[chosen], kind="stable")
        self._order = chosen[order]
        ranked, self._own = scores.ravel()[self._order], np.flatnonzero(own.ravel()[self._order])
        # Where the examples with the same score as each own one begin and end.
        self._start = np.searchsorted(ranked, ranked[self._own], side="left")
        self._end = np.searchsorted(ranked, ranked[self._own], side="right")

    def curves(self, weights: np.ndarray) -> tuple[float, float]:
        """Area under the ROC and average precision where an example of the flattened scores counts weights times."""
        ranked = weights[self._order]
        own = ranked[self._own]
        below = _sums_before(ranked)
        ranked[self._own] = 0
        others_below = _sums_before(ranked)
        own_total, total, others = own.sum(), below[-1], others_below[-1]
        if not own_total or not others:
            return np.nan, np.nan
        # An own example beats the others below it, and half of those with its score.
        area = own @ (others_below[self._start] + others_below[self._end]) / (2 * own_total * others)
        found = own_total - (below - others_below)[self._start]
        precision = found / np.maximum(total - below[self._start], 1)
        return float(area), float(own @ precision / own_total)


def _sums_before(weights: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(weights) + 1)
    np.cumsum(weights, out=sums[1:])
    return sums


def _of_confusion(counts: Float[np.ndarray, "K K"]) -> _Figures:
    """Accuracy, MCC, the macro averages, and the figures of class 1, of counts[truth, prediction]."""
    right, truth, chosen = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    total = float(counts.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision, f1 = right / truth, right / chosen, 2 * right / (truth + chosen)
        # Gorodkin's MCC of any number of classes.
        covariance = float(right.sum()) * total - float(truth @ chosen)
        spread = (total**2 - float(truth @ truth)) * (total**2 - float(chosen @ chosen))
        mcc = covariance / np.sqrt(spread) if spread else 0.0
    every = (truth > 0).all()
    figures = {"accuracy": right.sum() / total, "mcc": mcc if (truth > 0).sum() > 1 else np.nan}
    for name, each in (("f1", f1), ("precision", precision), ("recall", recall)):
        figures[f"{name}_macro"] = each.mean() if every else np.nan
        figures[name] = each[1] if every else np.nan
    return figures


def _single_label(
    scores: np.ndarray, labels: np.ndarray, predicted: np.ndarray, draws: Iterator[np.ndarray]
) -> Iterator[_Figures]:
    count = scores.shape[1]
    columns = [1] if count == 2 else list(range(count))
    against_all = [_Ranked(scores[:, own], labels == own) for own in columns]
    # One-vs-one: each class against each other, both ways, as Hand and Till average them.
    pairs = [
        _Ranked(scores[:, own], labels == own, (labels == own) | (labels == other))
        for own, other in itertools.permutations(columns, 2)
    ]
    losses = _cross_entropy(scores[np.arange(len(labels)), labels])
    cells = labels * count + predicted
    for draw in draws:
        weights = np.bincount(draw, minlength=len(labels)).astype(np.float64)
        confusion = np.bincount(cells, weights, minlength=count**2).reshape(count, count)
        areas, averages = zip(*(column.curves(weights) for column in against_all), strict=True)
        if pairs:
            areas = tuple(pair.curves(weights)[0] for pair in pairs)
        yield {
            "loss": float(losses @ weights) / len(draw),
            **_of_confusion(confusion),
            "roc_auc": float(np.mean(areas)),
            "auprc": float(np.mean(averages)),
        }


def _multi_label(
    task: TaskConfig, scores: np.ndarray, labels: np.ndarray, predicted: np.ndarray, draws: Iterator[np.ndarray]
) -> Iterator[_Figures]:
    count = scores.shape[1]
    columns = [_Ranked(scores[:, c], labels[:, c] == 1) for c in range(count)]
    pooled = _Ranked(scores, labels == 1)
    losses = _cross_entropy(np.where(labels == 1, scores, 1 - scores)).mean(axis=1)
    exact = (labels == predicted).all(axis=1)
    # Four cells a label.
    cells = (np.arange(count) * 4 + labels * 2 + predicted).ravel()
    for draw in draws:
        weights = np.bincount(draw, minlength=len(labels)).astype(np.float64)
        repeated = np.repeat(weights, count)
        confusions = np.bincount(cells, repeated, minlength=4 * count).reshape(count, 2, 2)
        each = [_of_binary(confusions[c], column.curves(weights)) for c, column in enumerate(columns)]
        figures = {
            "loss": float(losses @ weights) / len(draw),
            "subset_accuracy": float(exact @ weights) / len(draw),
        }
        for name, micro in _of_binary(confusions.sum(axis=0), pooled.curves(repeated)).items():
            values = np.array([of_label[name] for of_label in each])
            figures |= {f"{name}/{label}": value for label, value in zip(task.labels, values, strict=True)}
            figures[f"{name}_macro"] = np.nan if np.isnan(values).all() else np.nanmean(values)
            figures[f"{name}_micro"] = micro
        yield figures


def _of_binary(confusion: Float[np.ndarray, "2 2"], curves: tuple[float, float]) -> _Figures:
    figures = _of_confusion(confusion)
    return {
        **{name: figures[name] for name in ("accuracy", "f1", "precision", "recall", "mcc")},
        "roc_auc": curves[0],
        "auprc": curves[1],
    }


def _cross_entropy(probability: np.ndarray) -> np.ndarray:
    """Nats of what came true; scikit-learn's clipping, so that a probability of 0 costs 36 and not infinity."""
    return -np.log(np.maximum(probability, np.finfo(np.float64).eps))


def _regression(
    task: TaskConfig, scores: np.ndarray, labels: np.ndarray, draws: Iterator[np.ndarray]
) -> Iterator[_Figures]:
    targets = list(zip(scores.T, labels.T, strict=True))
    groups = [[np.unique(values, return_inverse=True)[1] for values in pair] for pair in targets]
    for draw in draws:
        figures: _Figures = {}
        for target, (x, y), ranks in zip(task.labels, targets, groups, strict=True):
            x, y = x[draw], y[draw]
            error = np.mean((y - x) ** 2)
            figures |= {
                f"r2/{target}": 1 - error / np.var(y) if np.ptp(y) else np.nan,
                f"pearson/{target}": _correlation(x, y),
                f"spearman/{target}": _correlation(*(_mean_ranks(group[draw]) for group in ranks)),
                f"rmse/{target}": np.sqrt(error),
            }
        means = {
            name: float(np.mean([figures[f"{name}/{t}"] for t in task.labels]))
            for name in ("r2", "pearson", "spearman", "rmse")
        }
        yield {**figures, **means, "loss": float(np.mean([figures[f"rmse/{t}"] ** 2 for t in task.labels]))}


def _mean_ranks(groups: Integer[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Rank of each value, equal ones sharing the mean of theirs, from the order of its group."""
    counts = np.bincount(groups)
    return (counts.cumsum() - (counts - 1) / 2)[groups]


def _correlation(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))
