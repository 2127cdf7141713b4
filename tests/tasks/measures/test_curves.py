"""The curves are pictures, and what is drawn is what the definition says."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from dnabert_jax.config import TaskConfig
from dnabert_jax.tasks.measures.curves import draw_curves
from tests.tasks.conftest import BINARY, CLASSES, NUMBERS, SEVERAL, example

Drawn = list[dict[str, np.ndarray]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """The lines of each figure that is saved, by their names."""
    figures: Drawn = []
    save = Figure.savefig

    def record(figure: Figure, *arguments: object, **settings: object) -> None:
        figures.append({str(line.get_label()): line.get_xydata() for line in figure.axes[0].lines})
        save(figure, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", record)
    return figures


def line(figure: dict[str, np.ndarray], name: str) -> np.ndarray:
    return next(points for label, points in figure.items() if label.startswith(name + ":"))


@pytest.mark.parametrize("task", [BINARY, CLASSES, SEVERAL])
def test_three_pictures_are_drawn(task: TaskConfig, tmp_path: Path, drawn: Drawn) -> None:
    draw_curves(task, *example(task), tmp_path / "curves", "CTCF_A549")
    paths = sorted((tmp_path / "curves").iterdir())
    assert [path.name for path in paths] == ["calibration.png", "curves.json", "precision_recall.png", "roc.png"]
    assert all(min(imread(path).shape[:2]) > 700 for path in paths if path.suffix == ".png")
    assert [sum(":" in label for label in figure) for figure in drawn] == [1 if task is BINARY else 3] * 3


def test_curves_by_definition(tmp_path: Path, drawn: Drawn) -> None:
    scores, labels = example(CLASSES)
    draw_curves(CLASSES, scores, labels, tmp_path, "")
    roc, precision, calibration = drawn
    truth, column = labels == 1, scores[:, 1]
    chosen = [column >= threshold for threshold in np.unique(column)]
    rates = {(round(np.mean(c[~truth]), 9), round(np.mean(c[truth]), 9)) for c in chosen}
    points = {(round(x, 9), round(y, 9)) for x, y in line(roc, "donor")}
    # Points in the middle of a straight piece are not drawn.
    assert points <= rates | {(0, 0)}
    assert len(points) > 10
    expected = [(np.mean(c[truth]), np.mean(truth[c])) for c in chosen]
    assert line(precision, "donor")[: len(expected)] == pytest.approx(np.array(expected))
    bins = line(calibration, "donor")
    assert len(bins) <= 10
    # Bins of about the same size: the mean over them is the mean over all.
    assert bins.mean(axis=0) == pytest.approx([column.mean(), truth.mean()], abs=0.03)


def test_a_class_without_examples_has_no_curve_and_the_legend_says_so(tmp_path: Path, drawn: Drawn) -> None:
    scores, labels = example(SEVERAL)
    labels[:, 1], labels[:, 2] = 0, 1
    draw_curves(SEVERAL, scores, labels, tmp_path, "")
    for figure in drawn:
        assert len(figure["MAX: no examples"]) == len(figure["MYC: nothing else"]) == 0 < len(line(figure, "CTCF"))


def test_very_many_labels_are_drawn_without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    legends = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: legends.append(figure.axes[0].get_legend()))
    random = np.random.default_rng(0)
    for count in (12, 30):
        task = TaskConfig("multi_label_classification", tuple(f"TF{c}" for c in range(count)))
        draw_curves(task, random.random((50, count)), random.integers(2, size=(50, count)), tmp_path, "labels")
    assert [legend is None for legend in legends] == [False] * 3 + [True] * 3


def test_a_regression_has_a_scatter_plot_of_each_target(tmp_path: Path, drawn: Drawn) -> None:
    scores, labels = example(NUMBERS)
    draw_curves(NUMBERS, scores, labels, tmp_path, "")
    assert [path.name for path in tmp_path.iterdir()] == ["scatter.png"]
    (figure,) = drawn
    assert list(figure.values())[1] == pytest.approx(np.stack([labels[:, 0], scores[:, 0]], axis=1))


NAMES = ("$$", r"$\x$", "$0-$10", "_x", "100 %", "a\nb", "\udce9", "Häm")


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
def test_names_are_drawn_as_they_are(problem: str, tmp_path: Path, drawn: Drawn) -> None:
    task = TaskConfig(problem, NAMES)
    draw_curves(task, *example(task, count=200), tmp_path, r"$\set$$")
    assert len(list(tmp_path.glob("*.png"))) == (3 if task.kind.has_classes else 1)
    for figure in drawn if task.kind.has_classes else ():
        assert {label.strip().partition(":")[0] for label in figure if ":" in label} == set(NAMES)


@pytest.mark.parametrize(
    ("task", "failing", "left"),
    [
        (BINARY, "roc.png", ["calibration.png", "curves.json", "precision_recall.png"]),
        (SEVERAL, "png", ["curves.json"]),
        (NUMBERS, "png", []),
    ],
)
def test_a_picture_that_fails_is_said_and_costs_no_other(
    task: TaskConfig,
    failing: str,
    left: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save = Figure.savefig

    def fail(figure: Figure, path: Path, **settings: object) -> None:
        save(figure, path, **settings)
        if path.name.endswith(failing):
            raise ValueError("the picture is too large")

    monkeypatch.setattr(Figure, "savefig", fail)
    draw_curves(task, *example(task), tmp_path / "curves", "")
    assert sorted(path.name for path in tmp_path.glob("curves/*")) == left
    assert (tmp_path / "curves").exists() == bool(left)
    message = caplog.records[-1].getMessage()
    assert re.search(rf"{failing}.*the picture is too large", message)
