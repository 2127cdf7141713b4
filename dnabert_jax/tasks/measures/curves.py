"""Pictures of scores: of a classifier the ROC, precision-recall and calibration curves; of a regression a scatter plot.

Of several classes, each has a curve against the rest. The points of curves are written too, for others to draw.
"""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.io.pictures import accompanying, drawing
from dnabert_jax.tasks.measures.metrics import checked_labels, checked_scores
from dnabert_jax.typed_json import to_json

CURVES_FILE = "curves.json"

_KINDS: dict[str, tuple[str, str, bool, dict[str, str]]] = {
    "roc": ("false positive rate", "true positive rate", True, {}),
    # Precision is not linear between thresholds, and average precision is the area below steps.
    "precision_recall": ("recall", "precision", False, {"drawstyle": "steps-post"}),
    "calibration": ("mean probability", "observed frequency", True, {"marker": "o"}),
}
"""The axis labels, diagonal and style of each picture."""
_GRID = 1000
"""A curve's points that lie in one cell of a grid of this many by as many are one point in the file."""
_LEGEND_ENTRIES = 12
"""More curves than this are drawn thin and without names."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """A curve of the class `label`: its points, and as `figure` its area or score, or why there are no points."""

    label: str
    figure: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Curves:
    """The curves of each class."""

    roc: tuple[Curve, ...]
    precision_recall: tuple[Curve, ...]
    calibration: tuple[Curve, ...]


def draw_curves(
    task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Num[np.ndarray, "N ..."], directory: Path, title: str
) -> None:
    """Draws roc.png, precision_recall.png and calibration.png, or the scatter.png of a regression, into a directory.

    Beside curves is curves.json, which `typed_json.read_json(Curves, path)` reads: their points, except those that no
    picture would show. A class that has no examples, or nothing else, has no curve; the legend says so. A file that
    cannot be drawn or written is a warning.

    Raises:
        InputError: scores or labels that cannot be measured.
        JobError: scores that are not finite.
    """
    scores = checked_scores(task, scores)
    labels = checked_labels(task, labels, len(scores))
    directory.mkdir(parents=True, exist_ok=True)
    if not task.kind.has_classes:
        _draw_scatter(task, scores, labels, directory / "scatter.png", title)
    else:
        curves = {}
        for name in _KINDS:
            with accompanying(picture := directory / f"{name}.png"):
                curves[name] = _curves(task, scores, labels, name)
                _draw(curves[name], name, title, picture)
        with accompanying(directory / CURVES_FILE):
            thinned = Curves(**{name: tuple(map(_thinned, curves[name])) for name in _KINDS})
            (directory / CURVES_FILE).write_text(to_json(thinned), "utf-8")
    if not any(directory.iterdir()):
        directory.rmdir()


def _curves(task: TaskConfig, scores: np.ndarray, labels: np.ndarray, kind: str) -> list[Curve]:
    curves = []
    for c, label in enumerate(task.labels):
        truth = labels == c if task.kind.exclusive else labels[:, c] == 1
        if task.positive and c == 0:
            continue  # of two classes the first has the same curves, mirrored
        if truth.all() or not truth.any():
            curves.append(Curve(label, "nothing else" if truth.all() else "no examples", (), ()))
        else:
            x, y, figure = _points(kind, truth, scores[:, c])
            curves.append(Curve(label, figure, tuple(x.tolist()), tuple(y.tolist())))
    return curves


def _thinned(curve: Curve) -> Curve:
    """Returns, of consecutive points in a cell of the grid, the first; the last point of all stays."""
    points = np.array([curve.x, curve.y]).T
    cells = np.rint(points * _GRID)
    chosen = np.ones(len(points), bool)
    chosen[1:-1] = (cells[1:-1] != cells[:-2]).any(axis=1)
    x, y = points[chosen].T.round(6).tolist()
    return dataclasses.replace(curve, x=tuple(x), y=tuple(y))


def _points(
    kind: str, truth: Bool[np.ndarray, " N"], scores: Float[np.ndarray, " N"]
) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns the points of a curve, and its area or score."""
    from sklearn import calibration, metrics

    if kind == "roc":
        x, y, _ = metrics.roc_curve(truth, scores)
        return x, y, f"AUC {metrics.roc_auc_score(truth, scores):.3f}"
    if kind == "precision_recall":
        y, x, _ = metrics.precision_recall_curve(truth, scores)
        return x, y, f"AP {metrics.average_precision_score(truth, scores):.3f}, by chance {truth.mean():.3f}"
    y, x = calibration.calibration_curve(truth, scores, n_bins=10, strategy="quantile")
    return x, y, f"Brier {metrics.brier_score_loss(truth, scores):.3f}"


def _draw(curves: list[Curve], kind: str, title: str, picture: Path) -> None:
    xlabel, ylabel, diagonal, style = _KINDS[kind]
    with drawing(picture, 5.2, 5.0) as figure:
        axes = figure.subplots()
        if diagonal:
            axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
        few = len(curves) <= _LEGEND_ENTRIES
        width, size = (1.8, 4) if few else (0.6, 0)
        for curve in curves:
            # A legend leaves out what begins with an underscore.
            label = f"{' ' * curve.label.startswith('_')}{curve.label}: {curve.figure}"
            line = "-" if curve.x else " "
            axes.plot(curve.x, curve.y, linewidth=width, linestyle=line, label=label, markersize=size, **style)
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title=title)
        axes.set_aspect("equal")
        axes.grid(alpha=0.3)
        if few:
            axes.legend(fontsize="small")


def _draw_scatter(task: TaskConfig, scores: np.ndarray, labels: np.ndarray, picture: Path, title: str) -> None:
    """Draws predicted against true values, a panel for each of the first targets."""
    shown = task.labels[:_LEGEND_ENTRIES]
    columns = min(len(shown), 4)
    rows = -(-len(shown) // columns)
    with accompanying(picture), drawing(picture, 3.8 * columns, 3.8 * rows + 0.4) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        for number, target in enumerate(shown):
            axes, x, y = panels[number], labels[:, number], scores[:, number]
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            axes.plot(ends, ends, "--", color="grey", linewidth=1)
            axes.plot(x, y, "o", markersize=3, alpha=0.4, markeredgewidth=0)
            r = f", r = {np.corrcoef(x, y)[0, 1]:.3f}" if np.ptp(x) > 0 and np.ptp(y) > 0 else ""
            axes.set(xlabel="true value", ylabel="predicted value", title=f"{target}{r}")
            axes.grid(alpha=0.3)
        figure.suptitle(title)
