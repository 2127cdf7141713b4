"""A collapsed classifier is told from those that look like one."""

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.tasks.measures.collapse import collapse

BINARY = TaskConfig("single_label_classification", ("no", "yes"))
CLASSES = TaskConfig("single_label_classification", ("none", "donor", "acceptor"))
SEVERAL = TaskConfig("multi_label_classification", ("CTCF", "MAX"))
LABELS = np.arange(400) % 2
RARE = (np.arange(1000) % 100 == 0).astype(int)


def binary(positive: np.ndarray) -> np.ndarray:
    return np.stack([1 - positive, positive], 1)


def noise(size: float, count: int = 400) -> np.ndarray:
    return np.random.default_rng(0).uniform(-size, size, count)


@pytest.mark.parametrize(
    "positive",
    [
        np.full(400, 0.5001),
        np.full(400, 1.0),
        0.4 + noise(1e-6),
        0.45 + noise(0.04),
        # Probabilities that say a little, but less than a hundredth of the labels' variance.
        0.4 + 0.04 * LABELS,
    ],
)
def test_one_class_and_hardly_any_spread_is_a_collapse(positive: np.ndarray) -> None:
    found = collapse(BINARY, binary(positive), LABELS)
    assert found.collapsed
    label = "yes" if positive[0] > 0.5 else "no"
    assert f"All 400 predictions are '{label}'" in found.reason


def test_the_spread_is_measured_against_that_of_labels() -> None:
    # Labels deviate by 0.5, probabilities by 0.02.
    assert collapse(BINARY, binary(0.4 + 0.04 * LABELS), LABELS).spread == pytest.approx(0.04)
    assert collapse(BINARY, binary(LABELS.astype(float)), LABELS).spread == pytest.approx(1)


@pytest.mark.parametrize(
    ("positive", "labels"),
    [
        # One class is predicted, and the scores rank: a threshold is wrong, not the model.
        (0.3 + 0.15 * LABELS, LABELS),
        # The same spread, a noisy one: overconfident or badly trained, but not constant.
        (0.3 + noise(0.15), LABELS),
        # A rare class: probabilities deviate by 0.02, which is much where labels deviate by 0.1.
        (0.02 + 0.2 * RARE, RARE),
        # One of 400 is predicted otherwise.
        (np.where(np.arange(400) == 7, 0.51, 0.49), LABELS),
        # There is but one class to predict.
        (np.full(400, 0.9), np.ones(400, int)),
    ],
)
def test_near_misses(positive: np.ndarray, labels: np.ndarray) -> None:
    assert not collapse(BINARY, binary(positive), labels).collapsed


def test_a_rare_class_can_collapse_too() -> None:
    assert collapse(BINARY, binary(0.02 + 0.009 * RARE), RARE).collapsed


def test_three_classes() -> None:
    labels = np.arange(300) % 3
    constant = np.tile([0.5, 0.3, 0.2], (300, 1))
    found = collapse(CLASSES, constant, labels)
    assert found.collapsed
    assert "'none'" in found.reason
    # It still tells acceptors from the rest, though it names none of them.
    assert not collapse(CLASSES, constant + np.outer(labels == 2, [0, -0.15, 0.15]), labels).collapsed


def test_several_labels() -> None:
    labels = np.stack([LABELS, np.ones(400, int)], 1)
    constant = np.tile([0.4, 0.9], (400, 1))
    found = collapse(SEVERAL, constant, labels)
    assert found.collapsed
    assert "['MAX']" in found.reason
    # One label that varies is ranked.
    assert not collapse(SEVERAL, constant - np.outer(LABELS, [0.2, 0]), labels).collapsed
    # That of the other label, which never varies, says nothing.
    assert collapse(SEVERAL, constant - np.outer(LABELS, [0, 0.2]), labels).collapsed


def test_what_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="no classes"):
        collapse(TaskConfig("regression", ("x",)), np.zeros((3, 1)), np.zeros((3, 1)))
    with pytest.raises(JobError, match="not finite"):
        collapse(BINARY, binary(np.full(400, np.nan)), LABELS)
