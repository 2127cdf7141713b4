"""Pictures of a classifier's scores: ROC, precision and recall, calibration; each class of several against the rest."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.measures.scores import checked_labels, checked_scores

_BINS = 10
_LEGEND_ENTRIES = 12
"""More curves than this are drawn thin and without names."""

_Class = tuple[str, Bool[np.ndarray, " N"], Float[np.ndarray, " N"]]
_Curve = Callable[[Bool[np.ndarray, " N"], Float[np.ndarray, " N"]], tuple[np.ndarray, np.ndarray, str]]


def draw_curves(
    task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Num[np.ndarray, "N ..."], directory: Path, title: str
) -> tuple[Path, ...]:
    """Draws roc.png, precision_recall.png and calibration.png into a directory and returns their paths.

    A class that has no examples, or nothing else, has no curve; the legend says so.

    Raises:
        InputError: regression, which has no such curves; scores or labels that cannot be measured.
        JobError: scores that are not finite.
    """
    if task.problem == "regression":
        raise InputError("Regression has no ROC, precision-recall or calibration curve.")
    scores = checked_scores(task, scores)
    classes = list(_classes(task, scores, checked_labels(task, labels, len(scores))))
    directory.mkdir(parents=True, exist_ok=True)
    return (
        _draw(classes, _roc, ("false positive rate", "true positive rate"), True, title, directory / "roc.png"),
        _draw(classes, _precision, ("recall", "precision"), False, title, directory / "precision_recall.png"),
        _draw(
            classes, _calibration, ("mean probability", "share that holds"), True, title, directory / "calibration.png"
        ),
    )


def _classes(task: TaskConfig, scores: np.ndarray, labels: np.ndarray) -> Iterator[_Class]:
    single = task.problem == "single_label_classification"
    for c, label in enumerate(task.labels):
        # Of two classes the first has the same curves, mirrored.
        if not (single and len(task.labels) == 2 and c == 0):
            yield label, labels == c if single else labels[:, c] == 1, scores[:, c]


def _draw(
    classes: list[_Class], curve: _Curve, axis_labels: tuple[str, str], diagonal: bool, title: str, picture: Path
) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5), layout="constrained")
    axes = figure.subplots()
    if diagonal:
        axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    few = len(classes) <= _LEGEND_ENTRIES
    for label, truth, scores in classes:
        if truth.all() or not truth.any():
            axes.plot([], [], " ", label=f"{label}: {'nothing else' if truth.all() else 'no examples'}")
            continue
        x, y, figure_of_merit = curve(truth, scores)
        marker = "o" if curve is _calibration and few else ""
        # Precision is not linear between thresholds, and average precision is the area below steps.
        steps = "steps-post" if curve is _precision else "default"
        axes.plot(
            x,
            y,
            linewidth=1.8 if few else 0.6,
            label=f"{label}: {figure_of_merit}",
            marker=marker,
            markersize=4,
            drawstyle=steps,
        )
    axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1], xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title=title)
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    if few:
        axes.legend(fontsize="small")
    figure.savefig(picture, dpi=150)
    return picture


def _roc(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    from sklearn.metrics import roc_auc_score, roc_curve

    wrong, right, _ = roc_curve(truth, scores)
    return wrong, right, f"AUC {roc_auc_score(truth, scores):.3f}"


def _precision(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(truth, scores)
    average = average_precision_score(truth, scores)
    return recall, precision, f"AP {average:.3f}, by chance {truth.mean():.3f}"


def _calibration(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    share, probability = calibration_curve(truth, scores, n_bins=_BINS, strategy="quantile")
    return probability, share, f"Brier {brier_score_loss(truth, scores):.3f}"
