"""Laws of the heads: padding changes nothing, dropout follows its keys and acts where it should, losses are defined."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.dropout import row_keys
from dnabert_jax.model.long import Classifier, sequence_classifier
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP

TASK = TaskConfig("single_label_classification", ("no", "yes"), dropout=0.5)
LONG = dataclasses.replace(TASK, long="gru", split=2, num_rnn_layer=2, rnn_dropout=0.5)
ROWS = np.array([[CLS, 9, 10, 11, SEP], [CLS, 40, SEP, PAD, PAD]], np.int32)
KEYS = row_keys(jax.random.key(0), 2)


def made(config: ModelConfig, task: TaskConfig) -> Classifier:
    return sequence_classifier(config, task, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def still(small_model: ModelConfig) -> ModelConfig:
    """Without dropout in the encoder, so that what is dropped out is dropped by the head."""
    return dataclasses.replace(small_model, dropout=0.0, attention_dropout=0.0, initializer_range=0.2)


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_more_padding_changes_nothing(still: ModelConfig, compute_dtype: str) -> None:
    network = made(dataclasses.replace(still, compute_dtype=compute_dtype), TASK)
    logits = network(jnp.asarray(ROWS))
    assert logits.shape == (2, 2)
    assert logits.dtype == jnp.float32
    padded = network(jnp.asarray(np.pad(ROWS, ((0, 0), (0, 9)))))
    np.testing.assert_allclose(padded, logits, atol=1e-5 if compute_dtype == "float32" else 2e-2)
    assert float(jnp.abs(logits[0] - logits[1]).max()) > 0.05


@pytest.mark.parametrize("task", [TASK, LONG, dataclasses.replace(LONG, long="concatenation")])
def test_dropout_of_the_head_follows_its_keys(still: ModelConfig, task: TaskConfig) -> None:
    network = made(still, task)
    rows = jnp.asarray(ROWS if task.long == "none" else np.stack([ROWS, ROWS], axis=1))
    first, again, other = (network(rows, row_keys(jax.random.key(seed), 2)) for seed in (0, 0, 1))
    assert (first == again).all()
    for different in (other, network(rows)):
        assert float(jnp.abs(first - different).min()) > 1e-5


def test_the_expectation_under_dropout_is_the_pooled_vector(still: ModelConfig) -> None:
    """The classifier is linear: the mean of its logits over many keys is the logit without dropout."""
    network = made(still, TASK)
    many = jnp.asarray(np.repeat(ROWS[:1], 4000, axis=0))
    logits = network(many, row_keys(jax.random.key(0), 4000))
    error = logits.std(axis=0) / 4000**0.5
    assert (jnp.abs(logits.mean(axis=0) - network(many[:1])[0]) < 5 * error).all()


def test_dropout_of_a_recurrence_acts_between_its_layers(still: ModelConfig) -> None:
    rows = jnp.asarray(np.stack([ROWS, ROWS], axis=1))
    quiet = dataclasses.replace(LONG, dropout=0.0)
    for layers, acts in ((1, False), (2, True)):
        network = made(still, dataclasses.replace(quiet, num_rnn_layer=layers))
        assert bool((network(rows, KEYS) != network(rows)).all()) == acts


def test_equal_pieces_are_dropped_out_differently(small_model: ModelConfig) -> None:
    network = made(small_model, LONG)
    vectors = network.pooled_pieces(jnp.asarray(np.stack([ROWS, ROWS], axis=1)), KEYS)
    assert not (vectors[:, 0] == vectors[:, 1]).any()
    assert not (vectors[0] == vectors[1]).any()
