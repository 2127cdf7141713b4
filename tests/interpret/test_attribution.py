"""Attributions: gradients by finite differences, and integrals that are complete."""

import copy
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.attribution import Integrated, gradient_times_input, integrated_gradients
from dnabert_jax.interpret.target import Target, choose_target
from dnabert_jax.model.binding import bind
from dnabert_jax.model.classification import SequenceClassifier
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.vocabulary import MASK
from dnabert_jax.stream import Coded
from dnabert_jax.training.saved_model import Description, SavedModel

Logit = Callable[[np.ndarray, int, np.ndarray], float]


@pytest.fixture(scope="module")
def target(model: DNAModel) -> Target:
    return choose_target(model, "A test", "acceptor")


@pytest.fixture(scope="module")
def logit(saved: SavedModel) -> Logit:
    """That of acceptor, by the network as it is trained, of ids and with another vector for a token."""
    task = saved.description.task
    assert task is not None

    @jax.jit
    def of_network(parameters: Any, ids: jax.Array) -> jax.Array:
        return bind(SequenceClassifier, parameters, saved.config, task)(ids[None])[0, 1]

    def compute(ids: np.ndarray, token: int, vector: np.ndarray) -> float:
        # An id that stands for that vector alone: rows of the table from vocabulary_size on are padding.
        parameters, changed = copy.deepcopy(saved.parameters), ids.copy()
        parameters["backbone"]["embeddings"]["token"]["table"][saved.config.vocabulary_size] = vector
        changed[token] = saved.config.vocabulary_size
        return float(of_network(parameters, changed))

    return compute


def test_gradients_are_those_of_finite_differences(
    saved: SavedModel, model: DNAModel, target: Target, logit: Logit
) -> None:
    """The score of a k-mer is shared by its bases, so that a base has a third of each that covers it."""
    text = "ACGTA"
    ids, table = model.encode(text), saved.parameters["backbone"]["embeddings"]["token"]["table"]
    step, of_kmers = 1e-2, []
    for token in range(1, len(ids) - 1):
        # Along the vector itself, the derivative is the product of vector and gradient.
        own = table[ids[token]]
        ends = [logit(ids, token, own * (1 + sign * step)) for sign in (1, -1)]
        of_kmers.append((ends[0] - ends[1]) / (2 * step))
    expected = np.convolve(of_kmers, np.ones(3) / 3)
    [(sequence, scores)] = gradient_times_input(model, [("a", text)], target)
    assert sequence.name == "a"
    np.testing.assert_allclose(scores, expected, atol=5e-4)
    assert np.abs(expected).max() > 0.03


@pytest.mark.parametrize("baseline", ["mask", "zero"])
def test_integrated_gradients_are_complete(
    model: DNAModel, target: Target, sequences: list[tuple[str, str]], baseline: Any
) -> None:
    done: list[int] = []
    integrals = list(integrated_gradients(model, iter(sequences), target, baseline, 24, done.append))
    found = [(row.sequence.name, len(row.scores)) for row in integrals]
    assert found == [(name, len(text)) for name, text in sequences]
    assert sum(done) == len(sequences)
    for row in integrals:
        assert row.gap < 1e-3
        assert row.relative_gap < 0.05
        assert row.scores.sum() == pytest.approx(row.output - row.baseline, abs=1e-3)
    assert max(abs(row.output - row.baseline) for row in integrals) > 0.1
    few = integrated_gradients(model, iter(sequences), target, baseline, 1)
    assert max(row.gap for row in few) > 10 * max(row.gap for row in integrals)


@pytest.mark.parametrize(
    ("sum_of_scores", "output", "baseline", "share"),
    [(1.1, 3.0, 2.0, 0.1), (-1.0, 2.0, 4.0, 0.5), (0.1, 2.0, 2.0, np.inf), (0.0, 2.0, 2.0, 0), (4e-6, 0.5, 0.5, 0)],
)
def test_the_gap_is_a_share_of_the_difference(
    sum_of_scores: float, output: float, baseline: float, share: float
) -> None:
    scores = np.array([sum_of_scores - 0.25, 0.25], np.float32)
    assert Integrated(Coded("a", "", base_codes(b"AC")), scores, output, baseline).relative_gap == pytest.approx(
        share, abs=1e-6
    )


def test_output_and_baseline_are_those_of_the_network(
    saved: SavedModel, model: DNAModel, target: Target, logit: Logit
) -> None:
    [row] = integrated_gradients(model, [("a", "ACGTA")], target, "mask", 1)
    ids, table = model.encode("ACGTA"), saved.parameters["backbone"]["embeddings"]["token"]["table"]
    masked = np.array([ids[0], *[MASK] * 3, ids[-1]], np.int32)
    assert row.output == pytest.approx(logit(ids, 1, table[ids[1]]), abs=1e-4)
    assert row.baseline == pytest.approx(logit(masked, 1, table[MASK]), abs=1e-4)
    # A k-mer of the baseline has no part.
    [row] = integrated_gradients(model, [("a", "ACNAC")], target, "unknown", 1)
    assert not row.scores.any()
    assert row.output == row.baseline


def test_the_target_is_named_or_the_positive_of_two(saved: SavedModel, model: DNAModel) -> None:
    def with_task(task: TaskConfig | None) -> DNAModel:
        return DNAModel(SavedModel(Description(saved.config, task, {}), 0, saved.parameters))

    two = with_task(TaskConfig("single_label_classification", ("no", "yes")))
    assert choose_target(two, "It").label == "yes"
    assert choose_target(two, "It", "no", "probability").number == 0
    signal = with_task(TaskConfig("regression", ("signal",)))
    assert choose_target(signal, "It").label == "signal"
    for bad, label, scale, word in (
        (model, "", "logit", "--label"),
        (model, "enhancer", "logit", "'enhancer'.* donor, acceptor, neither"),
        (signal, "", "probability", "probability"),
        (with_task(None), "", "logit", "classifier"),
        (with_task(TaskConfig("regression", ("s",), long="lstm", split=2)), "", "logit", "lstm"),
    ):
        with pytest.raises(InputError, match=word):
            choose_target(bad, "It", label, scale)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="steps is 0"):
        next(integrated_gradients(model, [("a", "ACGT")], choose_target(two, "It"), steps=0))
