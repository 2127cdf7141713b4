"""Each metric against the definition, worked out by hand or by brute force."""

import itertools
import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.tasks.measures.bootstrap import metrics_of_draws
from dnabert_jax.tasks.measures.metrics import (
    Metrics,
    better,
    measure,
    validation_metric,
)
from dnabert_jax.tasks.measures.scores import checked_labels, checked_scores

BINARY, CLASSES, SEVERAL, NUMBERS = (
    TaskConfig("single_label_classification", ("no", "yes")),
    TaskConfig("single_label_classification", ("none", "donor", "acceptor")),
    TaskConfig("multi_label_classification", ("CTCF", "MAX", "MYC")),
    TaskConfig("regression", ("liver", "skin")),
)
Example = Callable[..., tuple[np.ndarray, np.ndarray]]


def values(metrics: Metrics) -> dict[str, float | None]:
    return {key: metric.value for key, metric in metrics.values.items()}


def area(positive: np.ndarray, negative: np.ndarray) -> float:
    """How often a positive outranks a negative, pair by pair."""
    return float(np.mean([(p > n) + (p == n) / 2 for p, n in itertools.product(positive, negative)]))


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Precision at each threshold, weighted by the recall that it adds."""
    found, total = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        recall = truth[scores >= threshold].sum() / truth.sum()
        total += (recall - found) * truth[scores >= threshold].mean()
        found = recall
    return total


def test_binary_metrics_by_hand() -> None:
    positive = np.array([0.9, 0.8, 0.6, 0.4, 0.7, 0.3, 0.2, 0.1])
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    metrics = measure(BINARY, np.stack([1 - positive, positive], 1), labels, resamples=0)
    # TP 3, FN 1, FP 1, TN 3; of 16 pairs, 0.6 < 0.7 and 0.4 < 0.7 are in the wrong order.
    assert metrics.confusion[0].classes == ("no", "yes")
    assert metrics.confusion[0].counts == ((3, 1), (1, 3))
    right = np.where(labels == 1, positive, 1 - positive)
    assert values(metrics) == pytest.approx(
        {
            "loss": -np.log(right).mean(),
            "accuracy": 0.75,
            "mcc": (3 * 3 - 1 * 1) / 16,
            "roc_auc": 14 / 16,
            "auprc": (1 + 1 + 3 / 4 + 4 / 5) / 4,
            "f1": 0.75,
            "precision": 0.75,
            "recall": 0.75,
            "f1_macro": 0.75,
            "precision_macro": 0.75,
            "recall_macro": 0.75,
        }
    )
    assert metrics.examples == 8
    assert {metric.low for metric in metrics.values.values()} == {None}


def test_the_second_label_is_the_positive_one() -> None:
    positive, labels = np.array([0.9, 0.8, 0.2, 0.1, 0.1]), np.array([1, 0, 1, 0, 0])
    found = values(measure(BINARY, np.stack([1 - positive, positive], 1), labels, resamples=0))
    assert (found["precision"], found["recall"]) == (1 / 2, 1 / 2)
    assert found["recall_macro"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_metrics_of_several_classes_by_brute_force(example: Example) -> None:
    scores, labels = example(CLASSES)
    found = values(measure(CLASSES, scores, labels, resamples=0))
    predicted = scores.argmax(1)
    areas = [area(scores[labels == a, a], scores[labels == b, a]) for a, b in itertools.permutations(range(3), 2)]
    assert found["roc_auc"] == pytest.approx(np.mean(areas))
    assert found["auprc"] == pytest.approx(np.mean([average_precision(labels == c, scores[:, c]) for c in range(3)]))
    recalls = [np.mean(predicted[labels == c] == c) for c in range(3)]
    precisions = [np.mean(labels[predicted == c] == c) for c in range(3)]
    assert found["recall_macro"] == pytest.approx(np.mean(recalls))
    assert found["precision_macro"] == pytest.approx(np.mean(precisions))
    f1 = [2 * p * r / (p + r) for p, r in zip(precisions, recalls, strict=True)]
    assert found["f1_macro"] == pytest.approx(np.mean(f1))
    # Gorodkin's definition: the correlation of indicators of truth and prediction, summed over classes.
    truth, chosen = np.eye(3)[labels], np.eye(3)[predicted]
    covariance = [
        np.sum((a - a.mean(0)) * (b - b.mean(0))) for a, b in ((truth, chosen), (truth, truth), (chosen,) * 2)
    ]
    assert found["mcc"] == pytest.approx(covariance[0] / np.sqrt(covariance[1] * covariance[2]))
    assert "f1" not in found


def test_metrics_of_several_labels_are_those_of_each_label(example: Example) -> None:
    scores, labels = example(SEVERAL)
    found = values(measure(SEVERAL, scores, labels, resamples=0))
    for c, name in enumerate(SEVERAL.labels):
        alone = values(measure(BINARY, np.stack([1 - scores[:, c], scores[:, c]], 1), labels[:, c], resamples=0))
        for key in ("accuracy", "f1", "precision", "recall", "mcc", "roc_auc", "auprc"):
            assert found[f"{key}/{name}"] == pytest.approx(alone[key])
    for key in ("accuracy", "f1", "precision", "recall", "mcc", "roc_auc", "auprc"):
        assert found[f"{key}_macro"] == pytest.approx(np.mean([found[f"{key}/{name}"] for name in SEVERAL.labels]))
    flat, truth = scores.ravel(), labels.ravel()
    assert found["roc_auc_micro"] == pytest.approx(area(flat[truth == 1], flat[truth == 0]))
    assert found["auprc_micro"] == pytest.approx(average_precision(truth == 1, flat))
    assert found["precision_micro"] == pytest.approx(truth[flat >= 0.5].mean())
    assert found["subset_accuracy"] == np.mean(
        [set(np.flatnonzero(a >= 0.5)) == set(np.flatnonzero(b)) for a, b in zip(scores, labels, strict=True)]
    )
    assert found["loss"] == pytest.approx(-np.log(np.where(labels == 1, scores, 1 - scores)).mean())


def test_metrics_of_numbers_by_definition(example: Example) -> None:
    scores, labels = example(NUMBERS)
    found = values(measure(NUMBERS, scores, labels, resamples=0))
    for c, name in enumerate(NUMBERS.labels):
        x, y = scores[:, c], labels[:, c]
        assert found[f"r2/{name}"] == pytest.approx(1 - np.sum((x - y) ** 2) / np.sum((y - y.mean()) ** 2))
        assert found[f"pearson/{name}"] == pytest.approx(np.corrcoef(x, y)[0, 1])
        ranks = [[(v < u).sum() + (v == u).sum() / 2 for u in v] for v in (x, y)]
        assert found[f"spearman/{name}"] == pytest.approx(np.corrcoef(ranks)[0, 1])
        assert found[f"rmse/{name}"] == pytest.approx(np.sqrt(np.mean((x - y) ** 2)))
    for key in ("r2", "pearson", "spearman", "rmse"):
        assert found[key] == pytest.approx((found[f"{key}/liver"] + found[f"{key}/skin"]) / 2)
    assert found["loss"] == pytest.approx(np.mean((scores - labels) ** 2))


def by_libraries(task: TaskConfig, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Each metric by scikit-learn and scipy, of examples for which all are defined."""
    predicted, count = task.kind.decisions(scores), len(task.labels)
    if task.problem == "regression":
        return {
            "loss": sk.mean_squared_error(labels, scores),
            **{f"r2/{t}": sk.r2_score(labels[:, c], scores[:, c]) for c, t in enumerate(task.labels)},
            **{f"pearson/{t}": pearsonr(labels[:, c], scores[:, c])[0] for c, t in enumerate(task.labels)},
            **{f"spearman/{t}": spearmanr(labels[:, c], scores[:, c])[0] for c, t in enumerate(task.labels)},
            **{f"rmse/{t}": sk.root_mean_squared_error(labels[:, c], scores[:, c]) for c, t in enumerate(task.labels)},
        }
    if task.problem == "multi_label_classification":
        return {
            "subset_accuracy": sk.accuracy_score(labels, predicted),
            **{
                f"{name}_{average}": function(labels, values, average=average)
                for average in ("macro", "micro")
                for name, function, values in (
                    ("f1", sk.f1_score, predicted),
                    ("precision", sk.precision_score, predicted),
                    ("recall", sk.recall_score, predicted),
                    ("roc_auc", sk.roc_auc_score, scores),
                    ("auprc", sk.average_precision_score, scores),
                )
            },
        }
    binary = count == 2
    return {
        "loss": sk.log_loss(labels, scores),
        "accuracy": sk.accuracy_score(labels, predicted),
        "mcc": sk.matthews_corrcoef(labels, predicted),
        "roc_auc": sk.roc_auc_score(labels, scores[:, 1] if binary else scores, multi_class="ovo"),
        "auprc": sk.average_precision_score(
            labels if binary else np.eye(count)[labels], scores[:, 1] if binary else scores
        ),
        "f1_macro": sk.f1_score(labels, predicted, average="macro"),
        "recall_macro": sk.recall_score(labels, predicted, average="macro"),
    }


def with_ties(task: TaskConfig, scores: np.ndarray) -> np.ndarray:
    if task.problem == "single_label_classification":
        rounded = np.round(scores, 1) + 0.01
        return rounded / rounded.sum(axis=1, keepdims=True)
    return np.round(scores, 1)


TEN = TaskConfig("single_label_classification", tuple(f"TF{number}" for number in range(10)))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("task", [BINARY, CLASSES, TEN, SEVERAL, NUMBERS])
def test_the_metrics_of_examples_and_of_resamples_are_those_of_scikit_learn(
    task: TaskConfig, tied: bool, example: Example
) -> None:
    scores, labels = example(task, count=200)
    scores = checked_scores(task, with_ties(task, scores) if tied else scores)
    labels = checked_labels(task, labels, len(scores))
    draws = [np.arange(200), *np.random.default_rng(1).integers(200, size=(40, 200))]
    drawn = metrics_of_draws(task, scores, labels, task.kind.decisions(scores), draws)
    assert set(drawn) >= set(task.kind.metric_keys(task.labels))
    for number, draw in enumerate(draws):
        expected = by_libraries(task, scores[draw], labels[draw])
        assert {key: drawn[key][number] for key in expected} == pytest.approx(expected, abs=1e-12), number


@pytest.mark.parametrize("task", [BINARY, CLASSES, SEVERAL, NUMBERS])
def test_a_metric_is_undefined_for_a_resample_as_for_its_examples_alone(task: TaskConfig, example: Example) -> None:
    scores, labels = example(task)
    scores, labels = checked_scores(task, scores), checked_labels(task, labels, len(scores))
    draws = np.random.default_rng(2).integers(60, size=(60, 3))
    drawn = metrics_of_draws(task, scores, labels, task.kind.decisions(scores), draws)
    gaps = 0
    for number, draw in enumerate(draws):
        for key, value in values(measure(task, scores[draw], labels[draw], resamples=0)).items():
            gaps += value is None
            figure = drawn[key][number]
            assert np.isnan(figure) if value is None else figure == pytest.approx(value), (key, draw)
    assert gaps > 3


def test_intervals_of_400_classes_take_seconds() -> None:
    classes, examples, resamples = 400, 2400, 200
    random = np.random.default_rng(0)
    task = TaskConfig("single_label_classification", tuple(map(str, range(classes))))
    labels = np.arange(examples) % classes
    scores = random.random((examples, classes)) + 0.5 * np.eye(classes)[labels]
    scores /= scores.sum(axis=1, keepdims=True)
    advanced: list[int] = []
    begin = time.process_time()
    measure(task, scores, labels, resamples=resamples, advance=advanced.append)
    # The pairs of classes one by one took a thousand times as long.
    assert time.process_time() - begin < 30
    assert sum(advanced) == resamples
    assert len(advanced) > 1


def test_intervals_are_percentiles_of_resamples(example: Example) -> None:
    scores, labels = example(BINARY)
    metrics = measure(BINARY, scores, labels, resamples=200, level=0.8, seed=3)
    random = np.random.default_rng(3)
    areas = []
    for _ in range(200):
        draw = random.integers(60, size=60)
        areas.append(area(scores[draw][labels[draw] == 1, 1], scores[draw][labels[draw] == 0, 1]))
    found = metrics.values["roc_auc"]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(areas, [10, 90])))
    assert (metrics.resamples, metrics.level) == (200, 0.8)
    assert measure(BINARY, scores, labels, resamples=200, level=0.8, seed=3) == metrics
    assert measure(BINARY, scores, labels, resamples=200, level=0.8, seed=4) != metrics


@pytest.mark.parametrize("task", [BINARY, CLASSES, SEVERAL, NUMBERS])
def test_every_defined_metric_has_an_interval_around_it(task: TaskConfig, example: Example) -> None:
    metrics = measure(task, *example(task), resamples=300)
    assert tuple(metrics.values) == task.kind.metric_keys(task.labels)
    for key, metric in metrics.values.items():
        assert metric.low < metric.value < metric.high, key


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_most_metrics_undefined(label: int, example: Example) -> None:
    scores, _ = example(BINARY)
    metrics = measure(BINARY, scores, np.full(60, label), resamples=20)
    undefined = {key: metric for key, metric in metrics.values.items() if metric.value is None}
    assert set(metrics.values) - set(undefined) == {"loss", "accuracy"}
    for metric in undefined.values():
        assert metric.note
        assert metric.low is None
    assert metrics.confusion[0].counts[1 - label] == (0, 0)


def test_a_class_without_examples_leaves_averages_over_classes_undefined(example: Example) -> None:
    scores, labels = example(CLASSES)
    kept = labels != 2
    metrics = measure(CLASSES, scores[kept], labels[kept], resamples=20)
    assert {key for key, metric in metrics.values.items() if metric.value is None} == {
        *("f1_macro", "precision_macro", "recall_macro", "roc_auc", "auprc")
    }
    assert metrics.values["roc_auc"].note == "no example is 'acceptor'"


def test_a_class_never_predicted_has_no_precision_and_counts_for_the_rest() -> None:
    labels = np.array([0, 0, 1, 1])
    positive = np.array([0.1, 0.2, 0.3, 0.4])
    metrics = measure(BINARY, np.stack([1 - positive, positive], 1), labels, resamples=50)
    found = values(metrics)
    assert (found["precision"], found["precision_macro"]) == (None, None)
    assert metrics.values["precision"].note == "nothing is predicted as 'yes'"
    assert (found["mcc"], found["f1"], found["recall"], found["roc_auc"]) == (0, 0, 0, 1)


def test_averages_over_labels_leave_out_what_is_undefined_and_say_so(example: Example) -> None:
    scores, labels = example(SEVERAL)
    labels[:, 2] = 0
    metrics = measure(SEVERAL, scores, labels, resamples=20)
    found = values(metrics)
    assert found["roc_auc/MYC"] is None
    assert found["roc_auc_macro"] == pytest.approx((found["roc_auc/CTCF"] + found["roc_auc/MAX"]) / 2)
    assert metrics.values["roc_auc_macro"].note == "without 1 of 3 labels, for which it is undefined"
    assert metrics.values["accuracy_macro"].note == ""


def test_constant_numbers_have_no_correlation(example: Example) -> None:
    scores, labels = example(NUMBERS)
    scores[:, 0] = 0.1
    metrics = measure(NUMBERS, scores, labels, resamples=20)
    assert {key for key, metric in metrics.values.items() if metric.value is None} == {
        *("pearson", "spearman", "pearson/liver", "spearman/liver")
    }
    labels[:, 0] = 0.1
    assert measure(NUMBERS, scores, labels, resamples=20).values["r2"].value is None


@pytest.mark.parametrize(
    ("task", "change", "error", "message"),
    [
        (BINARY, lambda s, y: (s[:0], y[:0]), InputError, "2 columns are needed"),
        (BINARY, lambda s, y: (s[:, :1], y), InputError, "2 columns are needed"),
        (BINARY, lambda s, y: (s, y + 1), InputError, "A label is 2: single_label_classification of"),
        (BINARY, lambda s, y: (s, y + 0.5), InputError, "has 0 to 1"),
        (SEVERAL, lambda s, y: (s, y * 2), InputError, "has 0 and 1"),
        (SEVERAL, lambda s, y: (s, y[:, 0]), InputError, "do not fit 60 scores of 3 labels"),
        (NUMBERS, lambda s, y: (s, y * np.nan), InputError, "120 labels are not finite"),
        (BINARY, lambda s, y: (np.log(s), y), InputError, "probabilities"),
        (BINARY, lambda s, y: (s / 2, y), InputError, "probabilities"),
        (SEVERAL, lambda s, y: (s + 0.5, y), InputError, "probabilities"),
        (BINARY, lambda s, y: (s * np.nan, y), JobError, "60 of 60 scores are not finite"),
    ],
)
def test_what_cannot_be_measured(task, change, error, message, example: Example) -> None:
    with pytest.raises(error, match=message):
        measure(task, *change(*example(task)))


def test_a_level_outside_of_zero_to_one(example: Example) -> None:
    with pytest.raises(InputError, match="level"):
        measure(BINARY, *example(BINARY), level=95.0)


def test_single_precision_of_a_network_is_good_enough(example: Example) -> None:
    scores, labels = example(CLASSES)
    rough = scores.astype(np.float32) * np.float32(1.002)
    assert values(measure(CLASSES, rough, labels, resamples=0)) == pytest.approx(
        values(measure(CLASSES, scores, labels, resamples=0))
    )


@pytest.mark.parametrize("task", [BINARY, CLASSES, SEVERAL, NUMBERS])
def test_the_better_direction_is_that_of_better_scores(task: TaskConfig, example: Example) -> None:
    scores, labels = example(task)
    perfect = labels.astype(float) if labels.ndim == 2 else np.eye(len(task.labels))[labels]
    good, bad = (values(measure(task, s, labels, resamples=0)) for s in (perfect, scores))
    for key in task.kind.metric_keys(task.labels):
        assert (good[key] > bad[key]) == (better(key) == "higher"), key


def test_metrics_are_chosen_by_name() -> None:
    assert [validation_metric(task) for task in (BINARY, SEVERAL, NUMBERS)] == ["roc_auc", "roc_auc_macro", "r2"]
    assert validation_metric(BINARY, "loss") == "loss"
    for task, name in ((BINARY, "f1_micro"), (CLASSES, "f1"), (NUMBERS, "mcc"), (SEVERAL, "mcc/SPI1")):
        with pytest.raises(InputError, match="has no metric"):
            validation_metric(task, name)
    with pytest.raises(InputError, match="no metric 'speed'"):
        better("speed")


def test_one_label_or_target_is_as_good_as_several_and_no_figure_is_there_twice(example: Example) -> None:
    for several in (SEVERAL, NUMBERS):
        task = TaskConfig(several.problem, several.labels[:1])
        scores, labels = example(several)
        alone = measure(task, scores[:, :1], labels[:, :1], resamples=10)
        together = measure(several, scores, labels, resamples=10)
        assert alone.confusion == together.confusion[:1]
        found = [metric.value for metric in alone.values.values()]
        assert len(set(found)) == len(found)
        for key in ("r2", "pearson", "spearman", "rmse") if several is NUMBERS else ("f1", "roc_auc", "mcc"):
            assert (
                alone.values[key if several is NUMBERS else f"{key}_macro"]
                == together.values[f"{key}/{task.labels[0]}"]
            )


@pytest.mark.parametrize("task", [BINARY, CLASSES, SEVERAL, NUMBERS])
def test_a_single_example_can_be_measured(task: TaskConfig, example: Example) -> None:
    metrics = measure(task, *example(task, count=1), resamples=5)
    assert metrics.values["loss"].value > 0
    assert [metric.note for metric in metrics.values.values() if metric.value is None]
