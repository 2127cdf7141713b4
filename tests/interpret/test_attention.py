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


def over_bases(of_kmers: np.ndarray) -> np.ndarray:
    """A base has the mean of the k-mers that cover it, however few."""
    bases = len(of_kmers) + K - 1
    covering = [[of_kmers[n] for n in range(len(of_kmers)) if n <= base < n + K] for base in range(bases)]
    return np.array([sum(values) / len(values) for values in covering])


def scores_of(model: DNAModel, sequences: list[tuple[str, str]], **settings: Any) -> list[np.ndarray]:
    rows = list(attention_scores(model, iter(sequences), **settings))
    assert [(row.name, len(scores)) for row, scores in rows] == [(name, len(text)) for name, text in sequences]
    return [scores for _, scores in rows]


@pytest.mark.parametrize(
    ("settings", "layer", "heads"),
    [({}, 1, [0, 1]), ({"layer": 1}, 0, [0, 1]), ({"layer": -2, "head": 2}, 0, [1]), ({"head": 1}, 1, [0])],
)
def test_scores_are_those_of_whole_matrices(
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
            np.testing.assert_allclose(rolled.sum(axis=1), 1, atol=1e-5)
            np.testing.assert_allclose(values, over_bases(rolled[0, 1:-1]), atol=1e-5)


@pytest.mark.parametrize("settings", [{"layer": 0}, {"layer": -3}, {"head": 3}, {"head": 1, "rollout": True}])
def test_what_is_not_there_is_refused(model: DNAModel, settings: Any) -> None:
    with pytest.raises(InputError, match=r"layer is|head"):
        next(attention_scores(model, [("a", "ACGT")], **settings))


def test_models_that_read_pieces_are_refused(saved: SavedModel) -> None:
    task = TaskConfig("regression", ("signal",), long="mean", window=10, overlap=2)
    pieces = dataclasses.replace(saved, description=dataclasses.replace(saved.description, task=task))
    with pytest.raises(InputError, match="mean"):
        next(attention_scores(DNAModel(pieces), [("a", "ACGT")]))
