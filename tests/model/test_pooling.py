"""Poolings of k-mers: what NumPy computes from the same hidden states, whatever stands around the k-mers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.heads import Pooler, masked_max
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP, UNK

IDS = np.array([[CLS, 9, UNK, 11, SEP, PAD], [CLS, 40, SEP, PAD, PAD, PAD]], np.int32)
POOLINGS = ["mean", "max", "mean-max", "attention"]


def expected(pooling: str, kmers: np.ndarray, query: np.ndarray) -> np.ndarray:
    weights = np.exp(kmers @ query) / np.exp(kmers @ query).sum()
    mean, largest = kmers.mean(axis=0), kmers.max(axis=0)
    vector = {
        "mean": mean, "max": largest, "mean-max": np.concatenate([mean, largest]), "attention": weights @ kmers,
    }[pooling]  # fmt: skip
    return (vector - vector.mean()) / vector.std()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_are_of_the_kmers_alone(small_model: ModelConfig, pooling: Any) -> None:
    hidden = np.random.default_rng(0).normal(size=(2, 6, 32)).astype(np.float32)
    pooler = Pooler(small_model, pooling, rngs=nnx.Rngs(0))
    query = np.random.default_rng(1).normal(size=32).astype(np.float32)
    if pooling == "attention":
        pooler.query[...] = query
    vectors = pooler(jnp.asarray(hidden), jnp.asarray(IDS))
    for row, count in enumerate((3, 1)):
        of_kmers = expected(pooling, hidden[row, 1 : 1 + count].astype(np.float64), query)
        np.testing.assert_allclose(vectors[row], of_kmers, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_row_of_padding_alone_has_finite_gradients(small_model: ModelConfig, pooling: Any) -> None:
    """Such rows fill up the last batch of an epoch, with the weight 0."""
    task = TaskConfig("regression", ("signal",), pooling=pooling)
    graph, parameters = nnx.split(sequence_classifier(small_model, task, rngs=nnx.Rngs(0)), nnx.Param)
    parameters = jax.tree.map(lambda leaf: leaf + 0.1, parameters)

    def loss(parameters: Any) -> Any:
        return (nnx.merge(graph, parameters)(jnp.zeros((1, 6), jnp.int32)) * 0).sum()

    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(jax.grad(loss)(parameters)))


def test_the_largest_of_nothing_is_zero() -> None:
    vectors = jnp.full((2, 3, 4), -5.0)
    counted = jnp.array([[True, False, False], [False, False, False]])
    np.testing.assert_array_equal(masked_max(vectors, counted), [[-5.0] * 4, [0.0] * 4])


@pytest.mark.parametrize("long", ["none", "max", "lstm", "concatenation"])
def test_a_new_head_says_nothing_before_it_has_learned(small_model: ModelConfig, long: Any) -> None:
    """It starts at zero, so that it does not disturb the encoder."""
    windows = {} if long == "none" else {"long": long, "window": 4, "split": 2}
    task = TaskConfig("single_label_classification", ("no", "yes"), pooling="mean-max", **windows)
    rows = jnp.asarray(IDS if long == "none" else np.stack([IDS, IDS], axis=1))
    np.testing.assert_array_equal(sequence_classifier(small_model, task, rngs=nnx.Rngs(0))(rows), np.zeros((2, 2)))
