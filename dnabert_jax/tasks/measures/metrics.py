"""Metrics of scores against labels, by scikit-learn and scipy, with bootstrap intervals.

A metric is known by its key:

    single_label_classification   loss accuracy mcc roc_auc auprc f1_macro precision_macro recall_macro
                                  and with two labels f1 precision recall, of which the second label is the positive
    multi_label_classification    loss subset_accuracy, and of accuracy f1 precision recall mcc roc_auc auprc:
                                  NAME_macro, the mean over labels; NAME_micro, all labels pooled; NAME/LABEL
    regression                    loss, and of r2 pearson spearman rmse: NAME, the mean over targets; NAME/TARGET

loss is what training minimises without its weights: cross-entropy in nats, its mean over labels, or the mean squared
error. roc_auc of more than two labels is the macro average one-vs-one, as in the original
(src/transformers/data/metrics/__init__.py; Hand and Till 2001). auprc is average precision; of more than two labels the
macro average one-vs-rest. A label of several is predicted from a probability of 0.5 on.

What labels or predictions leave undefined (0/0, or one class only) is None with a reason, and is in no average. One
convention is kept: MCC is 0, its limit, where labels are of several classes and predictions of one (Chicco and Jurman
2020). A collapsed model so has a figure to be selected, and averaged, by.
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Integer, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.measures.bootstrap import resampled_metrics
from dnabert_jax.tasks.measures.scores import checked_labels, checked_scores, decisions

_LOWER_IS_BETTER = ("loss", "rmse")
_BINARY = ("accuracy", "f1", "precision", "recall", "mcc", "roc_auc", "auprc")
_REGRESSION = ("r2", "pearson", "spearman", "rmse")

# A value, or why there is none.
_Values = dict[str, float | str]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes:
        value: None if it is undefined.
        low: lower end of the bootstrap interval; None without one.
        high: its upper end.
        note: why it is undefined, or what an average leaves out.
    """

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
        values: by key.
        confusion: one matrix; of several labels one each; of regression none.
        examples: of the split.
        resamples: that intervals are percentiles of; 0 if there are no intervals.
        level: share of resamples inside of an interval.
    """

    values: dict[str, Metric]
    confusion: tuple[ConfusionMatrix, ...]
    examples: int
    resamples: int
    level: float


def metric_keys(task: TaskConfig) -> tuple[str, ...]:
    """Keys of all metrics of a task, in the order in which they are reported."""
    if task.problem == "single_label_classification":
        binary = ("f1", "precision", "recall") if len(task.labels) == 2 else ()
        macro = ("f1_macro", "precision_macro", "recall_macro")
        return ("loss", "accuracy", "mcc", "roc_auc", "auprc", *binary, *macro)
    if task.problem == "regression":
        each = [f"{name}/{target}" for name in _REGRESSION for target in task.labels]
        return ("loss", *_REGRESSION, *each)
    averages = [f"{name}_{average}" for average in ("macro", "micro") for name in _BINARY]
    each = [f"{name}/{label}" for name in _BINARY for label in task.labels]
    return ("loss", "subset_accuracy", *averages, *each)


def validation_metric(task: TaskConfig, name: str = "") -> str:
    """The metric by which the best epoch is kept: the named one, or the problem's own.

    That is mcc, roc_auc_macro or r2. MCC is what GUE's tables print, it weighs classes of any size alike, and it is
    defined wherever labels differ. The loss is not taken: a fine-tuned BERT grows overconfident, and its loss rises
    while its predictions still improve. Labels of several are often rare and stay below 0.5 for long: the area under
    the ROC needs no threshold. R2, unlike a correlation, sees scale and offset.

    Raises:
        InputError: the task has no metric of that name.
    """
    own = {"single_label_classification": "mcc", "multi_label_classification": "roc_auc_macro", "regression": "r2"}
    keys = metric_keys(task)
    if name and name not in keys:
        raise InputError(f"{name!r} is no metric of {task.problem}: choose one of {', '.join(keys)}.")
    return name or own[task.problem]


def better(key: str) -> Literal["higher", "lower"]:
    """Which direction of a metric is better.

    Raises:
        InputError: there is no such metric.
    """
    name = key.partition("/")[0].removesuffix("_macro").removesuffix("_micro")
    if name not in {"loss", "subset_accuracy", *_BINARY, *_REGRESSION}:
        raise InputError(f"There is no metric {key!r}.")
    return "lower" if name in _LOWER_IS_BETTER else "higher"


def measure(
    task: TaskConfig,
    scores: Float[np.ndarray, "N C"],
    labels: Num[np.ndarray, " N"] | Num[np.ndarray, "N C"],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Metrics:
    """All metrics of scores against labels.

    Args:
        task: problem and names of its labels.
        scores: a label's probability (rows of a single-label problem sum to 1), or a target's value.
        labels: number of the label [N]; 1 for each label that holds, else 0 [N, C]; or values of the targets [N, C].
        resamples: of N examples, drawn with replacement, for percentile intervals; 0 for none. Resamples in which a
            metric is undefined do not count for its interval.
        level: share of the resamples inside of an interval.
        seed: of the resamples.

    Raises:
        InputError: no examples, labels of another shape, outside of the task's labels or not finite, a level outside
            of (0, 1), or scores that are no probabilities.
        JobError: scores that are not finite.
    """
    if not 0 < level < 1:
        raise InputError(f"The level of the intervals is {level}: it must lie in (0, 1).")
    scores = checked_scores(task, scores)
    labels = checked_labels(task, labels, len(scores))
    if task.problem == "single_label_classification":
        values, confusion = _single_label(task, scores, labels)
    elif task.problem == "multi_label_classification":
        values, confusion = _multi_label(task, scores, labels == 1)
    else:
        values, confusion = _regression(task, scores, labels), ()
    notes = {key: note for key, note in values.items() if isinstance(note, str)}
    if task.problem == "multi_label_classification":
        notes |= _left_out(task, values)
    drawn = resampled_metrics(task, scores, labels, decisions(task, scores), resamples, seed) if resamples else {}
    metrics = {}
    for key in metric_keys(task):
        value = values[key]
        if isinstance(value, str):
            metrics[key] = Metric(None, note=value)
            continue
        low = high = None
        if key in drawn and not np.isnan(drawn[key]).all():
            low, high = np.nanquantile(drawn[key], [(1 - level) / 2, (1 + level) / 2]).tolist()
        metrics[key] = Metric(float(value), low, high, notes.get(key, ""))
    return Metrics(metrics, confusion, len(scores), resamples, level)


def _single_label(
    task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Integer[np.ndarray, " N"]
) -> tuple[_Values, tuple[ConfusionMatrix, ...]]:
    from sklearn import metrics as sk

    classes = range(len(task.labels))
    predicted = decisions(task, scores)
    values: _Values = {"loss": sk.log_loss(labels, scores, labels=classes)}
    if len(classes) == 2:
        values |= _binary(labels == 1, predicted == 1, scores[:, 1], task.labels[1])
    values["accuracy"] = sk.accuracy_score(labels, predicted)
    present, chosen = np.unique(labels), np.unique(predicted)
    one_class = f"every example is {task.labels[present[0]]!r}"
    values["mcc"] = sk.matthews_corrcoef(labels, predicted) if len(present) > 1 else one_class
    missing = [task.labels[c] for c in classes if c not in present]
    never = [task.labels[c] for c in classes if c not in chosen]
    for key, metric in (("f1", sk.f1_score), ("precision", sk.precision_score), ("recall", sk.recall_score)):
        if missing:
            values[f"{key}_macro"] = f"no example is {missing[0]!r}"
        elif never and key == "precision":
            values[f"{key}_macro"] = f"nothing is predicted as {never[0]!r}"
        else:
            values[f"{key}_macro"] = metric(labels, predicted, labels=classes, average="macro")
    if len(classes) > 2:
        reason = f"no example is {missing[0]!r}" if missing else ""
        values["roc_auc"] = reason or sk.roc_auc_score(labels, scores, multi_class="ovo", average="macro")
        one_hot = labels[:, None] == np.array(classes)
        values["auprc"] = reason or sk.average_precision_score(one_hot, scores, average="macro")
    counts = sk.confusion_matrix(labels, predicted, labels=classes)
    return values, (_confusion(task.labels, counts),)


def _multi_label(
    task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Bool[np.ndarray, "N C"]
) -> tuple[_Values, tuple[ConfusionMatrix, ...]]:
    from sklearn import metrics as sk

    predicted = decisions(task, scores) == 1
    losses = [sk.log_loss(labels[:, c], scores[:, c], labels=[False, True]) for c in range(len(task.labels))]
    values: _Values = {"loss": float(np.mean(losses)), "subset_accuracy": (labels == predicted).all(axis=1).mean()}
    each = [_binary(labels[:, c], predicted[:, c], scores[:, c], label) for c, label in enumerate(task.labels)]
    pooled = _binary(labels.ravel(), predicted.ravel(), scores.ravel(), "any label")
    for name in _BINARY:
        values |= {f"{name}/{label}": of_label[name] for label, of_label in zip(task.labels, each, strict=True)}
        defined = [value for of_label in each if not isinstance(value := of_label[name], str)]
        values[f"{name}_macro"] = float(np.mean(defined)) if defined else f"{name} is undefined for every label"
        values[f"{name}_micro"] = pooled[name]
    # multilabel_confusion_matrix takes a single column for a binary problem.
    matrices = [sk.confusion_matrix(labels[:, c], predicted[:, c], labels=[False, True]) for c in range(len(each))]
    pairs = [(f"not {label}", label) for label in task.labels]
    return values, tuple(_confusion(pair, matrix) for pair, matrix in zip(pairs, matrices, strict=True))


def _left_out(task: TaskConfig, values: _Values) -> dict[str, str]:
    """What the means over labels leave out."""
    notes = {}
    for name in _BINARY:
        gaps = [label for label in task.labels if isinstance(values[f"{name}/{label}"], str)]
        if gaps:
            notes[f"{name}_macro"] = f"without {len(gaps)} of {len(task.labels)} labels, for which it is undefined"
    return notes


def _binary(
    labels: Bool[np.ndarray, " N"], predicted: Bool[np.ndarray, " N"], scores: Float[np.ndarray, " N"], positive: str
) -> _Values:
    from sklearn import metrics as sk

    accuracy = sk.accuracy_score(labels, predicted)
    if labels.all() or not labels.any():
        reason = f"{'every' if labels.all() else 'no'} example is {positive!r}"
        return {**dict.fromkeys(_BINARY, reason), "accuracy": accuracy}
    return {
        "accuracy": accuracy,
        "f1": sk.f1_score(labels, predicted),
        "precision": sk.precision_score(labels, predicted)
        if predicted.any()
        else f"nothing is predicted as {positive!r}",
        "recall": sk.recall_score(labels, predicted),
        "mcc": sk.matthews_corrcoef(labels, predicted),
        "roc_auc": sk.roc_auc_score(labels, scores),
        "auprc": sk.average_precision_score(labels, scores),
    }


def _regression(task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Float[np.ndarray, "N C"]) -> _Values:
    from scipy import stats
    from sklearn import metrics as sk

    values: _Values = {"loss": sk.mean_squared_error(labels, scores)}
    for target, x, y in zip(task.labels, scores.T, labels.T, strict=True):
        flat = f"every {'value' if np.ptp(y) == 0 else 'prediction'} of {target!r} is the same"
        constant = np.ptp(y) == 0 or np.ptp(x) == 0
        values[f"r2/{target}"] = sk.r2_score(y, x) if np.ptp(y) > 0 else flat
        values[f"pearson/{target}"] = flat if constant else stats.pearsonr(y, x).statistic
        values[f"spearman/{target}"] = flat if constant else stats.spearmanr(y, x).statistic
        values[f"rmse/{target}"] = sk.root_mean_squared_error(y, x)
    for name in _REGRESSION:
        each = [values[f"{name}/{target}"] for target in task.labels]
        reasons = [value for value in each if isinstance(value, str)]
        values[name] = reasons[0] if reasons else float(np.mean(each))  # type: ignore[arg-type]
    return values


def _confusion(classes: tuple[str, ...], counts: Integer[np.ndarray, "K K"]) -> ConfusionMatrix:
    return ConfusionMatrix(classes, tuple(tuple(row) for row in counts.tolist()))
