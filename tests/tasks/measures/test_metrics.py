"""Each metric is scikit-learn's or scipy's, what is undefined has no value, and a collapse is told from near misses."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.problems import BINARY_METRICS, REGRESSION_METRICS
from dnabert_jax.tasks.measures.bootstrap import metrics_of_draws
from dnabert_jax.tasks.measures.metrics import (
    Metrics,
    better,
    checked_labels,
    checked_scores,
    has_collapsed,
    measure,
    validation_metric,
)
from tests.tasks.conftest import BINARY, CLASSES, NUMBERS, SEVERAL, example

TEN = TaskConfig("single_label_classification", tuple(f"TF{number}" for number in range(10)))


def values(metrics: Metrics) -> dict[str, float | None]:
    return {key: metric.value for key, metric in metrics.values.items()}


def binary(positive: np.ndarray) -> np.ndarray:
    return np.stack([1 - positive, positive], 1)


def of_columns(
    names: tuple[str, ...], functions: dict[str, Callable[..., float]], labels: np.ndarray, scores: np.ndarray
) -> dict[str, float]:
    """Each figure of each column, and the mean of each over columns."""
    pairs = list(zip(names, labels.T, scores.T, strict=True))
    figures = {f"{key}/{name}": function(y, x) for key, function in functions.items() for name, y, x in pairs}
    return figures | {key: np.mean([figures[f"{key}/{name}"] for name in names]) for key in functions}


def by_libraries(task: TaskConfig, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Each metric by scikit-learn and scipy."""
    if task is NUMBERS:
        functions = [sk.r2_score, lambda y, x: pearsonr(y, x)[0], lambda y, x: spearmanr(y, x)[0]]
        named = dict(zip(REGRESSION_METRICS, [*functions, sk.root_mean_squared_error], strict=True))
        return {"loss": sk.mean_squared_error(labels, scores), **of_columns(task.labels, named, labels, scores)}
    if task is SEVERAL:
        decided = sk.accuracy_score, sk.f1_score, sk.precision_score, sk.recall_score, sk.matthews_corrcoef
        functions = [lambda y, x, function=function: function(y, x >= 0.5) for function in decided]
        functions += [sk.roc_auc_score, sk.average_precision_score]
        named = dict(zip(BINARY_METRICS, functions, strict=True))
        each = of_columns(task.labels, named, labels, scores)
        return {
            "loss": np.mean([sk.log_loss(y, x) for y, x in zip(labels.T, scores.T, strict=True)]),
            "subset_accuracy": sk.accuracy_score(labels, scores >= 0.5),
            **{key if "/" in key else f"{key}_macro": value for key, value in each.items()},
            **{f"{name}_micro": function(labels.ravel(), scores.ravel()) for name, function in named.items()},
        }
    predicted, classes = scores.argmax(axis=1), np.arange(len(task.labels))
    by_class = sk.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=np.nan)
    named = dict(zip(("precision", "recall", "f1"), by_class[:3], strict=True))
    two = len(classes) == 2
    ranked, truth = (scores[:, 1], labels) if two else (scores, np.eye(len(classes))[labels])
    return {
        "loss": sk.log_loss(labels, scores),
        "accuracy": sk.accuracy_score(labels, predicted),
        "mcc": sk.matthews_corrcoef(labels, predicted),
        "roc_auc": sk.roc_auc_score(labels, ranked, multi_class="ovo"),
        "auprc": sk.average_precision_score(truth, ranked),
        **{f"{name}_macro": each.mean() for name, each in named.items()},
        **{name: each[1] for name, each in named.items() if two},
    }


def with_ties(task: TaskConfig, scores: np.ndarray) -> np.ndarray:
    if task.problem == "single_label_classification":
        rounded = np.round(scores, 1) + 0.01
        return rounded / rounded.sum(axis=1, keepdims=True)
    return np.round(scores, 1)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("task", [BINARY, CLASSES, TEN, SEVERAL, NUMBERS])
def test_the_metrics_of_examples_and_of_resamples_are_those_of_scikit_learn(task: TaskConfig, tied: bool) -> None:
    scores, labels = example(task, count=200)
    scores = checked_scores(task, with_ties(task, scores) if tied else scores)
    labels = checked_labels(task, labels, len(scores))
    draws = [np.arange(200), *np.random.default_rng(1).integers(200, size=(40, 200))]
    drawn = metrics_of_draws(task, scores, labels, draws)
    for number, draw in enumerate(draws):
        expected = by_libraries(task, scores[draw], labels[draw])
        assert set(expected) == set(task.kind.metric_keys(task.labels))
        assert {key: drawn[key][number] for key in expected} == pytest.approx(expected, abs=1e-12, nan_ok=True), number
    if task.kind.has_classes:
        matrices = [matrix.counts for matrix in measure(task, scores, labels, resamples=0).confusion]
        confusion = sk.confusion_matrix if task.kind.exclusive else sk.multilabel_confusion_matrix
        expected = confusion(labels, task.kind.decisions(scores))
        np.testing.assert_array_equal(matrices, expected.reshape(len(matrices), *expected.shape[-2:]))


@pytest.mark.parametrize("task", [BINARY, CLASSES, SEVERAL, NUMBERS])
def test_a_metric_is_undefined_for_a_resample_as_for_its_examples_alone(task: TaskConfig) -> None:
    scores, labels = example(task)
    scores, labels = checked_scores(task, scores), checked_labels(task, labels, len(scores))
    draws = [np.array([0]), *np.random.default_rng(2).integers(60, size=(60, 3))]
    drawn = metrics_of_draws(task, scores, labels, draws)
    gaps = 0
    for number, draw in enumerate(draws):
        for key, value in values(measure(task, scores[draw], labels[draw], resamples=0)).items():
            gaps += value is None
            figure = drawn[key][number]
            assert np.isnan(figure) if value is None else figure == pytest.approx(value), (key, draw)
    assert gaps > 3


def test_intervals_are_percentiles_of_resamples() -> None:
    scores, labels = example(BINARY)
    advanced: list[int] = []
    metrics = measure(BINARY, scores, labels, resamples=200, seed=3, advance=advanced.append)
    assert advanced == [1] * 200
    draws = np.random.default_rng(3).integers(60, size=(200, 60))
    areas = [sk.roc_auc_score(labels[draw], scores[draw, 1]) for draw in draws]
    found = metrics.values["roc_auc"]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(areas, [2.5, 97.5])))
    assert (metrics.resamples, metrics.level) == (200, 0.95)
    assert measure(BINARY, scores, labels, resamples=200, seed=3) == metrics
    assert measure(BINARY, scores, labels, resamples=200, seed=4) != metrics


AVERAGES = {"f1_macro", "precision_macro", "recall_macro", "roc_auc", "auprc"}
CORRELATIONS = "pearson", "spearman", "pearson/liver", "spearman/liver"
ALL_BUT_TWO = {*BINARY.kind.metric_keys(BINARY.labels)} - {"loss", "accuracy"}


@pytest.mark.parametrize(
    ("task", "change", "undefined", "why"),
    [
        (BINARY, lambda s, y: (s, y * 0), ALL_BUT_TWO, "example is"),
        (BINARY, lambda s, y: (s, y * 0 + 1), ALL_BUT_TWO, "example is"),
        (CLASSES, lambda s, y: (s[y != 2], y[y != 2]), AVERAGES, "acceptor"),
        (BINARY, lambda s, y: (binary(s[:, 1] / 2.1), y), {"precision", "precision_macro"}, "yes"),
        (NUMBERS, lambda s, y: (s * [0, 1], y), {*CORRELATIONS}, "liver"),
        (NUMBERS, lambda s, y: (s, y * [0, 1]), {"r2", "r2/liver", *CORRELATIONS}, "liver"),
        (SEVERAL, lambda s, y: (s, y * [1, 1, 0]), {f"{key}/MYC" for key in BINARY_METRICS[1:]}, "MYC"),
    ],
)
def test_what_labels_or_predictions_leave_undefined_has_a_reason(
    task: TaskConfig, change: Callable, undefined: set[str], why: str
) -> None:
    metrics = measure(task, *change(*example(task)), resamples=20)
    gaps = {key: metric for key, metric in metrics.values.items() if metric.value is None}
    assert set(gaps) == undefined
    for metric in gaps.values():
        assert metric.low is metric.high is None
        assert why in metric.note
    # Of a model that predicts one class it is 0 by convention.
    assert "precision" not in undefined or "mcc" in undefined or metrics.values["mcc"].value == 0


def test_averages_over_labels_leave_out_what_is_undefined_and_say_so() -> None:
    scores, labels = example(SEVERAL)
    labels[:, 2] = 0
    metrics = measure(SEVERAL, scores, labels, resamples=20)
    found = values(metrics)
    assert found["roc_auc/MYC"] is None
    assert found["roc_auc_macro"] == pytest.approx((found["roc_auc/CTCF"] + found["roc_auc/MAX"]) / 2)
    assert metrics.values["roc_auc_macro"].note == "without 1 of 3 labels, for which it is undefined"
    assert metrics.values["accuracy_macro"].note == ""


@pytest.mark.parametrize(
    ("task", "change", "error", "value"),
    [
        (BINARY, lambda s, y: (s[:0], y[:0]), InputError, r"\(0, 2\)"),
        (BINARY, lambda s, y: (s[:, :1], y), InputError, r"\(60, 1\)"),
        (BINARY, lambda s, y: (s, y + 1), InputError, " 2"),
        (BINARY, lambda s, y: (s, y + 0.5), InputError, "0 to 1"),
        (SEVERAL, lambda s, y: (s, y * 2), InputError, "0 and 1"),
        (SEVERAL, lambda s, y: (s, y[:, 0]), InputError, r"\(60,\)"),
        (NUMBERS, lambda s, y: (s, y * np.nan), InputError, "120"),
        (BINARY, lambda s, y: (s / 2, y), InputError, "probabilities"),
        (SEVERAL, lambda s, y: (s + 0.5, y), InputError, "probabilities"),
        (BINARY, lambda s, y: (s * np.nan, y), JobError, "60 of 60"),
    ],
)
def test_what_cannot_be_measured(task, change, error, value) -> None:
    with pytest.raises(error, match=value):
        measure(task, *change(*example(task)))


def test_single_precision_of_a_network_is_good_enough() -> None:
    scores, labels = example(CLASSES)
    exact, rough = (measure(CLASSES, s, labels, resamples=0) for s in (scores, scores.astype(np.float32) * 1.002))
    assert values(rough) == pytest.approx(values(exact))


@pytest.mark.parametrize("task", [BINARY, CLASSES, SEVERAL, NUMBERS])
def test_the_better_direction_is_that_of_better_scores_and_intervals_are_around_figures(task: TaskConfig) -> None:
    scores, labels = example(task)
    perfect = labels.astype(float) if labels.ndim == 2 else np.eye(len(task.labels))[labels]
    good, bad = values(measure(task, perfect, labels, resamples=0)), measure(task, scores, labels, resamples=300)
    assert tuple(bad.values) == task.kind.metric_keys(task.labels)
    for key, metric in bad.values.items():
        assert metric.low < metric.value < metric.high, key
        assert (good[key] > metric.value) == (better(key) == "higher"), key


def test_metrics_are_chosen_by_name() -> None:
    assert [validation_metric(task) for task in (BINARY, SEVERAL, NUMBERS)] == ["roc_auc", "roc_auc_macro", "r2"]
    assert validation_metric(BINARY, "loss") == "loss"
    for task, name in ((BINARY, "f1_micro"), (CLASSES, "f1"), (NUMBERS, "mcc"), (SEVERAL, "mcc/SPI1")):
        with pytest.raises(InputError, match="has no metric"):
            validation_metric(task, name)
    with pytest.raises(InputError, match="no metric 'speed'"):
        better("speed")


@pytest.mark.parametrize(("several", "suffix"), [(SEVERAL, "_macro"), (NUMBERS, "")])
def test_one_label_or_target_is_as_good_as_several_and_no_figure_is_there_twice(
    several: TaskConfig, suffix: str
) -> None:
    task = TaskConfig(several.problem, several.labels[:1])
    scores, labels = example(several)
    alone = measure(task, scores[:, :1], labels[:, :1], resamples=10)
    together = measure(several, scores, labels, resamples=10)
    assert alone.confusion == together.confusion[:1]
    assert len(set(values(alone).values())) == len(alone.values)
    for key in REGRESSION_METRICS if several is NUMBERS else BINARY_METRICS:
        assert alone.values[f"{key}{suffix}"] == together.values[f"{key}/{task.labels[0]}"]


HALVES = np.arange(400) % 2
RARE = (np.arange(1000) % 100 == 0).astype(int)
THIRDS = np.arange(300) % 3
NOISE = np.random.default_rng(0).uniform(-1, 1, 400)
FLAT = np.tile([0.5, 0.3, 0.2], (300, 1))
TWO = TaskConfig("multi_label_classification", ("CTCF", "MAX"))
WITH_ALWAYS = np.stack([HALVES, np.ones(400, int)], 1)
"""Of two labels, the second always holds."""


@pytest.mark.parametrize(
    ("task", "scores", "labels", "collapsed"),
    [
        (BINARY, binary(np.full(400, 0.5001)), HALVES, True),
        (BINARY, binary(0.45 + 0.04 * NOISE), HALVES, True),
        # Probabilities that say a little, but less than a hundredth of the labels' variance.
        (BINARY, binary(0.4 + 0.04 * HALVES), HALVES, True),
        # One class is predicted, and the scores rank: a threshold is wrong, not the model.
        (BINARY, binary(0.3 + 0.15 * HALVES), HALVES, False),
        # The same spread, and noise: overconfident or badly trained, but not constant.
        (BINARY, binary(0.3 + 0.15 * NOISE), HALVES, False),
        # A rare class: probabilities deviate by 0.02, which is much where labels deviate by 0.1.
        (BINARY, binary(0.02 + 0.2 * RARE), RARE, False),
        (BINARY, binary(0.02 + 0.009 * RARE), RARE, True),
        # One of 400 is predicted otherwise.
        (BINARY, binary(np.where(np.arange(400) == 7, 0.51, 0.49)), HALVES, False),
        # There is but one class to predict.
        (BINARY, binary(np.full(400, 0.9)), np.ones(400, int), False),
        (CLASSES, FLAT, THIRDS, True),
        # It still tells acceptors from the rest, though it names none of them.
        (CLASSES, FLAT + np.outer(THIRDS == 2, [0, -0.15, 0.15]), THIRDS, False),
        (TWO, np.tile([0.4, 0.9], (400, 1)), WITH_ALWAYS, True),
        # One label that varies is ranked.
        (TWO, np.tile([0.4, 0.9], (400, 1)) - np.outer(HALVES, [0.2, 0]), WITH_ALWAYS, False),
        # That of the other label, which never varies, says nothing.
        (TWO, np.tile([0.4, 0.9], (400, 1)) - np.outer(HALVES, [0, 0.2]), WITH_ALWAYS, True),
        (NUMBERS, np.zeros((3, 2)), np.arange(6.0).reshape(3, 2), False),
    ],
)
def test_one_class_and_hardly_any_spread_is_a_collapse(
    task: TaskConfig, scores: np.ndarray, labels: np.ndarray, collapsed: bool
) -> None:
    assert has_collapsed(task, scores, labels) is collapsed
