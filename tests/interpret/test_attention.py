"""Attention scores of bases: those of the whole matrices of a sequence alone, by the original's definition."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.training.saved_model import SavedModel

K = 3


def means(of_kmers: np.ndarray) -> np.ndarray:
    """A base has the mean of the k-mers that cover it, however few."""
    bases = len(of_kmers) + K - 1
    covering = [[of_kmers[n] for n in range(len(of_kmers)) if n <= base < n + K] for base in range(bases)]
    return np.array([sum(own) / len(own) for own in covering])


def by_definition(of_kmers: np.ndarray) -> np.ndarray:
    """The scores of a sequence have the norm 1."""
    scores = means(of_kmers)
    return scores / np.sqrt((scores**2).sum())


def found(model: DNAModel, sequences: list[tuple[str, str]], **settings: Any) -> list[np.ndarray]:
    rows = list(attention_scores(model, iter(sequences), **settings))
    assert [name for name, _ in rows] == [name for name, _ in sequences]
    assert [len(scores) for _, scores in rows] == [len(text) for _, text in sequences]
    return [scores for _, scores in rows]


@pytest.mark.parametrize(
    ("settings", "layer", "heads"),
    [({}, 1, [0, 1]), ({"layer": 1}, 0, [0, 1]), ({"layer": -2, "head": 2}, 0, [1]), ({"head": 1}, 1, [0])],
)
def test_scores_are_those_of_whole_matrices(
    model: DNAModel, sequences: list[tuple[str, str]], matrices: list[np.ndarray], settings: Any, layer: int, heads: Any
) -> None:
    for scores, whole in zip(found(model, sequences, **settings), matrices, strict=True):
        expected = by_definition(whole[layer][heads].sum(axis=0)[0, 1:-1])
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert np.ptp(expected) > 0.01 or len(expected) == K


def test_rollout_is_the_product_of_the_layers_matrices(
    model: DNAModel, sequences: list[tuple[str, str]], matrices: list[np.ndarray]
) -> None:
    for layer in (1, 2):
        scores = found(model, sequences, rollout=True, layer=layer, normalization="none")
        for own, whole in zip(scores, matrices, strict=True):
            mixed = [(one.mean(axis=0) + np.eye(whole.shape[-1])) / 2 for one in whole[:layer]]
            rolled = np.linalg.multi_dot(mixed[::-1]) if layer > 1 else mixed[0]
            np.testing.assert_allclose(rolled.sum(axis=1), 1, atol=1e-5)
            np.testing.assert_allclose(own, means(rolled[0, 1:-1]), atol=1e-5)


def test_scores_that_are_not_normalised_are_probabilities(model: DNAModel, sequences: list[tuple[str, str]]) -> None:
    raw, unit = (found(model, sequences, normalization=kind) for kind in ("none", "l2"))
    for one, other in zip(raw, unit, strict=True):
        assert 0 < one.max() < 2
        assert np.linalg.norm(other) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(one / np.linalg.norm(one), other, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layer": 0}, "layer is 0: the first is 1 or -2, the last 2 or -1"),
        ({"layer": -3}, "layer is -3"),
        ({"head": 3}, "head is 3: the model has 1 to 2"),
        ({"head": 1, "rollout": True}, "name no head"),
    ],
)
def test_what_is_not_there_is_refused(model: DNAModel, settings: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        next(attention_scores(model, [("a", "ACGT")], **settings))


def test_models_that_read_pieces_are_refused(saved: SavedModel) -> None:
    task = TaskConfig("regression", ("signal",), long="mean", window=10, overlap=2)
    pieces = dataclasses.replace(saved, description=dataclasses.replace(saved.description, task=task))
    with pytest.raises(InputError, match="this one reads pieces of it"):
        next(attention_scores(DNAModel(pieces), [("a", "ACGT")]))


def test_a_sequence_that_is_too_long_is_named(model: DNAModel) -> None:
    with pytest.raises(InputError, match=r"sequence 2 \(b\) has 23 .* 22\b"):
        list(attention_scores(model, [("a", "ACGT"), ("b", "A" * 25)]))
