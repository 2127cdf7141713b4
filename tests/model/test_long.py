"""Laws of heads over windows: absent ones change nothing, all real ones are learned from, one is the plain model."""

import dataclasses
import functools
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
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL, PAD, SEP
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
    """Of three sequences whose k-mers all differ: their first windows, and what some do not have."""
    kmers = np.arange(NUM_SPECIAL, NUM_SPECIAL + sum(COUNTS)).astype(np.int32)
    parts = np.split(kmers, np.cumsum(COUNTS)[:-1])
    cut = [WINDOWS.cut(part, (SEP,)) for part in parts]
    padded = np.full((len(cut), windows, WINDOWS.size + 2), PAD, np.int32)
    for row, own in zip(padded, cut, strict=True):
        row[: len(own), : own.shape[1]] = own[:windows]
    return padded


def compiled(network: Any) -> Callable[[jax.Array], jax.Array]:
    graph, parameters = nnx.split(network)
    return functools.partial(jax.jit(lambda parameters, ids: nnx.merge(graph, parameters)(ids)), parameters)


@pytest.mark.parametrize("long", LONGS)
def test_windows_that_a_sequence_does_not_have_change_nothing_and_all_others_are_learned_from(
    made: Callable[[str], Any], long: str
) -> None:
    """A batch with more windows than any sequence has, beside the head on each sequence's own windows alone."""
    graph, parameters = nnx.split(made(long), nnx.Param)
    most = 3 if long == "concatenation" else 5

    @jax.jit
    def computed(parameters: Any, ids: jax.Array) -> Any:
        def value(parameters: Any) -> tuple[jax.Array, Any]:
            network = nnx.merge(graph, parameters)
            logits = network(ids)
            return logits.sum(), (logits, network.pooled_pieces(ids))

        return jax.grad(value, has_aux=True)(parameters)

    gradient, (logits, vectors) = computed(parameters, jnp.asarray(rows(most)))
    assert np.ptp(logits) > 0.01
    head = jax.jit(lambda parameters, vectors: nnx.merge(graph, parameters).classify(vectors))
    for number, windows in enumerate((3, 2, 1)):
        own = vectors[number : number + 1, :windows]
        if long == "concatenation":
            own = jnp.pad(own, ((0, 0), (0, 3 - windows), (0, 0)))
        np.testing.assert_allclose(head(parameters, own)[0], logits[number], atol=1e-6)
    # Each k-mer stands once in a sequence, and so in one window or in two that overlap.
    by_token = np.abs(np.asarray(gradient["backbone"]["embeddings"]["token"]["table"][...])).max(axis=1)
    first, last = NUM_SPECIAL, NUM_SPECIAL + sum(COUNTS)
    assert by_token[first:last].min() > 1e-7
    assert by_token[PAD] == by_token[last:].max() == 0
    others = [leaf for part, tree in gradient.items() if part != "backbone" for leaf in jax.tree.leaves(tree)]
    assert min(np.abs(leaf).max() for leaf in others) > 0


@pytest.mark.parametrize("long", ["mean", "max", "attention"])
def test_one_window_is_the_plain_classifier(config: ModelConfig, made: Callable[[str], Any], long: str) -> None:
    network = made(long)
    plain = sequence_classifier(config, TaskConfig("regression", ("signal",)), rngs=nnx.Rngs(1))
    parts = nnx.to_pure_dict(nnx.state(network, nnx.Param))
    nnx.update(plain, {part: tree for part, tree in parts.items() if part != "window_attention"})
    ids = jnp.asarray(rows(1)[2])
    np.testing.assert_allclose(compiled(network)(ids[None]), compiled(plain)(ids), atol=1e-6)


def test_attention_is_between_the_mean_and_the_best_window(made: Callable[[str], Any]) -> None:
    """A query of zeros gives the mean of the windows that are there; a large one the window that it scores highest."""
    network, generator = made("attention"), np.random.default_rng(0)
    vectors = jnp.asarray(generator.uniform(-1, 1, (2, 4, 32)).astype(np.float32))
    present = jnp.arange(4) < jnp.array([[4], [2]])
    query = network.window_attention.query
    random = query[...]
    query[...] = 0 * random
    means = jnp.stack([vectors[0].mean(axis=0), vectors[1, :2].mean(axis=0)])
    np.testing.assert_allclose(network.classify(vectors, None, present), network.classifier(means), atol=1e-6)
    query[...] = 1e5 * random
    best = np.where(present, network.window_attention(vectors), -np.inf).argmax(axis=1)
    chosen = jnp.stack([row[number] for row, number in zip(vectors, best, strict=True)])
    np.testing.assert_allclose(network.classify(vectors, None, present), network.classifier(chosen), atol=1e-5)


def test_a_window_that_the_network_does_not_take_is_refused(config: ModelConfig) -> None:
    task = dataclasses.replace(task_of("mean"), window=11)
    with pytest.raises(InputError, match=r"window is 11 .* 10,"):
        sequence_classifier(config, task, rngs=nnx.Rngs(0))
