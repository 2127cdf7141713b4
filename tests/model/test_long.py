"""Laws of heads over windows: absent ones change nothing, all real ones are learned from, one is the plain model."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.sequence.vocabulary import FIRST_KMER, PAD
from dnabert_jax.sequence.windows import Windows

WINDOWS = Windows(10, 2)
COUNTS = (26, 18, 7)
"""k-mers of sequences that have 3, 2 and 1 windows."""

LONGS = ("mean", "max", "attention", "lstm", "gru", "concatenation")


def task_of(long: Any) -> TaskConfig:
    layers = 2 if long in ("lstm", "gru") else 1
    return TaskConfig(
        "regression",
        ("signal",),
        long=long,
        split=3,
        window=WINDOWS.size,
        overlap=WINDOWS.overlap,
        num_rnn_layer=layers,
    )


@pytest.fixture(scope="module")
def config(small_model: ModelConfig) -> ModelConfig:
    return dataclasses.replace(
        small_model, num_layers=1, dropout=0.0, attention_dropout=0.0, initializer_range=0.3, max_positions=12
    )


@pytest.fixture(scope="module")
def made(config: ModelConfig) -> Callable[[str], Any]:
    return lambda long: sequence_classifier(config, task_of(long), rngs=nnx.Rngs(0))


def rows(windows: int) -> np.ndarray:
    """Of three sequences whose k-mers all differ."""
    kmers = np.arange(FIRST_KMER, FIRST_KMER + sum(COUNTS)).astype(np.int32)
    parts = np.split(kmers, np.cumsum(COUNTS)[:-1])
    cut = [WINDOWS.cut(part) for part in parts]
    padded = np.full((len(cut), windows, WINDOWS.size + 2), PAD, np.int32)
    for row, own in zip(padded, cut, strict=True):
        row[: len(own), : own.shape[1]] = own
    return padded


@pytest.mark.parametrize("long", LONGS)
def test_windows_that_a_sequence_does_not_have_change_nothing(made: Callable[[str], Any], long: str) -> None:
    """Alone a sequence has the windows that it needs, in a batch those of the longest, and in another one even more."""
    network = made(long)
    together = network(jnp.asarray(rows(3)))
    assert np.ptp(together) > 0.05
    # A concatenation has a place for each of its windows, and no more.
    if long == "concatenation":
        vectors = network.pooled_pieces(jnp.asarray(rows(3)))
        present = jnp.asarray(rows(3)[:, :, 0] != PAD)
        changed = jnp.where(present[:, :, None], vectors, 7.0)
        np.testing.assert_allclose(network.classify(changed, None, present), together, atol=1e-6)
        assert float(jnp.abs(network.classify(changed) - together)[1:].min()) > 1e-3
        return
    np.testing.assert_allclose(network(jnp.asarray(rows(5))), together, atol=1e-6)
    for number, windows in enumerate((3, 2, 1)):
        alone = network(jnp.asarray(rows(3)[number : number + 1, :windows]))
        np.testing.assert_allclose(alone[0], together[number], atol=1e-6)


@pytest.mark.parametrize("long", LONGS)
def test_the_encoder_learns_from_each_window_and_from_no_padding(made: Callable[[str], Any], long: str) -> None:
    graph, parameters = nnx.split(made(long), nnx.Param)
    ids = rows(3)

    def value(parameters: Any) -> jax.Array:
        return nnx.merge(graph, parameters)(jnp.asarray(ids)).sum()

    gradient = jax.grad(value)(parameters)
    by_token = np.abs(np.asarray(gradient["bert"]["embeddings"]["token"]["table"][...])).max(axis=1)
    first, last = FIRST_KMER, FIRST_KMER + sum(COUNTS)
    assert by_token[first:last].min() > 1e-7
    assert by_token[PAD] == 0
    assert by_token[last:].max() == 0
    others = [leaf for part, tree in gradient.items() if part != "bert" for leaf in jax.tree.leaves(tree)]
    assert all(np.abs(leaf).max() > 0 for leaf in others)


@pytest.mark.parametrize("long", ["mean", "max", "attention"])
def test_one_window_is_the_plain_classifier(config: ModelConfig, made: Callable[[str], Any], long: str) -> None:
    network = made(long)
    plain = sequence_classifier(config, TaskConfig("regression", ("signal",)), rngs=nnx.Rngs(1))
    parts = nnx.to_pure_dict(nnx.state(network, nnx.Param))
    nnx.update(plain, {part: tree for part, tree in parts.items() if part != "window_attention"})
    ids = jnp.asarray(rows(1)[2])
    np.testing.assert_allclose(network(ids[None]), plain(ids), atol=1e-6)


def test_weights_of_attention_are_learned_and_sum_to_1(made: Callable[[str], Any]) -> None:
    """With one window scored far above the others, its vector is all; with equal scores, it is the mean."""
    network, mean = made("attention"), made("mean")
    ids = jnp.asarray(rows(3))
    vectors, present = network.pooled_pieces(ids), jnp.asarray(rows(3)[:, :, 0] != PAD)
    network.window_attention.query[...] = jnp.zeros_like(network.window_attention.query[...])
    for part in ("kernel", "bias"):
        mean.classifier[part][...] = network.classifier[part][...]
    np.testing.assert_allclose(
        network.classify(vectors, None, present), mean.classify(vectors, None, present), atol=1e-6
    )
    second = vectors[0, 1]
    network.window_attention.dense.kernel[...] = jnp.outer(second, jnp.ones(128))
    network.window_attention.query[...] = jnp.full(128, 1e4)
    scores = network.window_attention(vectors[:1])[0]
    best = int(scores.argmax())
    np.testing.assert_allclose(
        network.classify(vectors[:1], None, present[:1])[0], network.classifier(vectors[0, best]), atol=1e-5
    )


def test_a_window_that_the_network_does_not_take_is_refused(config: ModelConfig) -> None:
    task = dataclasses.replace(task_of("mean"), window=11)
    with pytest.raises(InputError, match="window is 11 k-mers: the model takes at most 10"):
        sequence_classifier(config, task, rngs=nnx.Rngs(0))
