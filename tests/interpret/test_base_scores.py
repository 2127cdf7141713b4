"""Scores of bases: attention is that of whole matrices, gradients of finite differences, and integrals are complete."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.attribution import Integrated, gradient_times_input, integrated_gradients
from dnabert_jax.interpret.target import Target, choose_target
from dnabert_jax.model.binding import bind
from dnabert_jax.model.classification import SequenceClassifier
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.vocabulary import MASK
from dnabert_jax.stream import Coded
from dnabert_jax.training.saved_model import SavedModel

K = 3
Logit = Callable[[np.ndarray, int, np.ndarray], float]


def with_task(saved: SavedModel, task: TaskConfig | None) -> DNAModel:
    return DNAModel(dataclasses.replace(saved, description=dataclasses.replace(saved.description, task=task)))


def over_bases(of_kmers: np.ndarray) -> np.ndarray:
    """A base has the mean of the k-mers that cover it, however few."""
    bases = len(of_kmers) + K - 1
    covering = [[of_kmers[n] for n in range(len(of_kmers)) if n <= base < n + K] for base in range(bases)]
    return np.array([sum(values) / len(values) for values in covering])


def scores_of(model: DNAModel, sequences: list[tuple[str, str]], **settings: Any) -> list[np.ndarray]:
    rows = list(attention_scores(model, iter(sequences), **settings))
    assert [(each.name, len(scores)) for each, scores in rows] == [(name, len(text)) for name, text in sequences]
    return [scores for _, scores in rows]


@pytest.mark.parametrize(
    ("settings", "layer", "heads"),
    [({}, 1, [0, 1]), ({"layer": 1}, 0, [0, 1]), ({"layer": -2, "head": 2}, 0, [1]), ({"head": 1}, 1, [0])],
)
def test_attention_is_that_of_whole_matrices(
    model: DNAModel, sequences: list[tuple[str, str]], matrices: list[np.ndarray], settings: Any, layer: int, heads: Any
) -> None:
    raw = scores_of(model, sequences, normalization="none", **settings)
    for scores, unnormalized, whole in zip(scores_of(model, sequences, **settings), raw, matrices, strict=True):
        expected = over_bases(whole[layer][heads].sum(axis=0)[0, 1:-1])
        np.testing.assert_allclose(unnormalized, expected, atol=1e-5)
        np.testing.assert_allclose(scores, expected / np.sqrt((expected**2).sum()), atol=1e-5)
        assert np.ptp(expected) > 0.001 or len(expected) == K


def test_rollout_is_the_product_of_the_layers_matrices(
    model: DNAModel, sequences: list[tuple[str, str]], matrices: list[np.ndarray]
) -> None:
    for layer in (1, 2):
        scores = scores_of(model, sequences, rollout=True, layer=layer, normalization="none")
        for values, whole in zip(scores, matrices, strict=True):
            mixed = [(matrix.mean(axis=0) + np.eye(whole.shape[-1])) / 2 for matrix in whole[:layer]]
            rolled = np.linalg.multi_dot(mixed[::-1]) if layer > 1 else mixed[0]
            np.testing.assert_allclose(values, over_bases(rolled[0, 1:-1]), atol=1e-5)


def test_attention_that_is_not_there_is_refused(saved: SavedModel, model: DNAModel) -> None:
    pieces = with_task(saved, TaskConfig("regression", ("signal",), long="mean", window=10, overlap=2))
    for settings in ({"layer": 0}, {"layer": -3}, {"head": 3}, {"head": 1, "rollout": True}):
        with pytest.raises(InputError, match=r"layer is|head"):
            next(attention_scores(model, [("a", "ACGT")], **settings))
    with pytest.raises(InputError, match="mean"):
        next(attention_scores(pieces, [("a", "ACGT")]))


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
    ids, table = model.encode("ACGTA"), saved.parameters["backbone"]["embeddings"]["token"]["table"]
    step, of_kmers = 1e-2, []
    for token in range(1, len(ids) - 1):
        # Along the vector itself, the derivative is the product of vector and gradient.
        ends = [logit(ids, token, table[ids[token]] * (1 + sign * step)) for sign in (1, -1)]
        of_kmers.append((ends[0] - ends[1]) / (2 * step))
    expected = np.convolve(of_kmers, np.ones(3) / 3)
    [(sequence, scores)] = gradient_times_input(model, [("a", "ACGTA")], target)
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
        assert max(20 * row.gap, row.relative_gap) < 0.05
        assert row.scores.sum() == pytest.approx(row.output - row.baseline, abs=1e-3)
    assert max(abs(row.output - row.baseline) for row in integrals) > 0.05
    few = integrated_gradients(model, iter(sequences), target, baseline, 1)
    assert max(row.gap for row in few) > 10 * max(row.gap for row in integrals)


@pytest.mark.parametrize(
    ("total", "output", "baseline", "share"),
    [(1.1, 3.0, 2.0, 0.1), (-1.0, 2.0, 4.0, 0.5), (0.1, 2.0, 2.0, np.inf), (0.0, 2.0, 2.0, 0), (4e-6, 0.5, 0.5, 0)],
)
def test_the_gap_is_a_share_of_the_difference(total: float, output: float, baseline: float, share: float) -> None:
    scores = np.array([total - 0.25, 0.25], np.float32)
    integrated = Integrated(Coded("a", "", base_codes(b"AC")), scores, output, baseline)
    assert integrated.relative_gap == pytest.approx(share, abs=1e-6)


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
    two = with_task(saved, TaskConfig("single_label_classification", ("no", "yes")))
    assert choose_target(two, "It").label == "yes"
    assert choose_target(two, "It", "no", "probability").number == 0
    signal = with_task(saved, TaskConfig("regression", ("signal",)))
    assert choose_target(signal, "It").label == "signal"
    for bad, label, scale, word in (
        (model, "", "logit", "--label"),
        (model, "enhancer", "logit", "'enhancer'.* donor, acceptor, neither"),
        (signal, "", "probability", "probability"),
        (with_task(saved, None), "", "logit", "classifier"),
        (with_task(saved, TaskConfig("regression", ("s",), long="lstm", split=2)), "", "logit", "lstm"),
    ):
        with pytest.raises(InputError, match=word):
            choose_target(bad, "It", label, scale)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="steps is 0"):
        next(integrated_gradients(model, [("a", "ACGT")], choose_target(two, "It"), steps=0))
