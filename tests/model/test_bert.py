"""Laws of the network: packing changes nothing, gradients stay inside a sequence, dropout drops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnabert_jax.config import ModelConfig
from dnabert_jax.data.packing import fill_rows
from dnabert_jax.model.layers import LayerNorm, dropout, sinusoids
from dnabert_jax.sequence.vocabulary import CLS, FIRST_KMER, PAD, SEP
from dnabert_jax.training.state import Network, Parameters, abstract_network, init_parameters


@pytest.fixture(scope="module")
def network(small_model: ModelConfig) -> Network:
    return abstract_network(small_model)


@pytest.fixture(scope="module")
def parameters(small_model: ModelConfig) -> Parameters:
    """Larger than at initialisation, so that positions and neighbours matter."""
    scale = jax.random.key(1)
    return jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(scale, leaf.shape), init_parameters(small_model, jax.random.key(0))
    )


def test_a_packed_row_gives_every_sequence_the_logits_it_has_alone(network: Network, parameters: Parameters) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(FIRST_KMER, 69, 500).astype(np.uint16)
    counts = np.array([5, 20, 11, 13, 30, 62, 17, 5])
    starts = rng.integers(0, 500 - counts)
    packed = fill_rows(ids, starts, counts, 64)
    assert len(packed) < len(counts)
    apply = jax.jit(lambda rows: network.bind(parameters)(rows))
    packed_logits = np.asarray(apply(jnp.asarray(packed.astype(np.int32))))
    seen = 0
    for row, logits in zip(packed, packed_logits, strict=True):
        for begin, end in zip(np.flatnonzero(row == CLS), np.flatnonzero(row == SEP), strict=True):
            alone = np.full((1, 64), PAD, np.int32)
            alone[0, : end + 1 - begin] = row[begin : end + 1]
            expected = apply(jnp.asarray(alone))[0, : end + 1 - begin]
            np.testing.assert_allclose(logits[begin : end + 1, :69], expected[:, :69], atol=1e-5, rtol=0)
            seen += 1
    assert seen == len(counts)


def test_padded_ids_are_never_predicted(network: Network, parameters: Parameters) -> None:
    logits = network.bind(parameters)(jnp.array([[CLS, 9, SEP]]))
    assert logits.shape == (1, 3, 128)
    assert (logits[..., 69:] == -jnp.inf).all()
    assert jnp.isfinite(logits[..., :69]).all()


def test_logits_at_chosen_positions_are_those_of_all(network: Network, parameters: Parameters) -> None:
    rows = jnp.array([[CLS, 9, 10, 11, SEP], [CLS, 40, 50, SEP, PAD]])
    model = network.bind(parameters)
    np.testing.assert_allclose(
        model(rows, jnp.array([[2, 0], [1, 1]]))[0], model(rows)[0, [2, 0]], rtol=1e-6, atol=1e-6
    )


def test_dropout_acts_in_training_only_and_follows_its_key(network: Network, parameters: Parameters) -> None:
    rows = jnp.array([[CLS, 9, 10, 11, SEP]])
    model = network.bind(parameters)
    first, again, other = (model(rows, dropout_key=jax.random.key(seed))[..., :69] for seed in (0, 0, 1))
    assert (first == again).all()
    assert not jnp.allclose(first, other)
    assert not jnp.allclose(first, model(rows)[..., :69])


def test_dropout_keeps_the_mean_and_the_stated_share() -> None:
    x = jnp.ones((1000, 1000))
    dropped = dropout(x, 0.1, jax.random.key(0))
    assert float((dropped == 0).mean()) == pytest.approx(0.1, abs=3 * (0.1 * 0.9 / 1e6) ** 0.5)
    assert float(dropped.mean()) == pytest.approx(1, abs=2e-3)


def test_layer_norm_has_mean_zero_and_variance_one() -> None:
    x = 3 + 5 * jax.random.normal(jax.random.key(0), (4, 64))
    normal = LayerNorm(64, 1e-12)(x)
    np.testing.assert_allclose(normal.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(normal.var(axis=-1), 1, rtol=1e-5)


def test_bfloat16_compute_stays_near_float32(small_model: ModelConfig, parameters: Parameters) -> None:
    rows = jnp.array([[CLS, *range(5, 50), SEP]])
    wide = abstract_network(small_model).bind(parameters)(rows)[..., :69]
    narrow = abstract_network(dataclasses.replace(small_model, compute_dtype="bfloat16")).bind(parameters)(rows)[
        ..., :69
    ]
    assert narrow.dtype == jnp.float32
    assert 0 < float(jnp.abs(wide - narrow).max()) < 0.05 * float(jnp.abs(wide).max())


def test_unrolling_the_scan_changes_nothing(small_model: ModelConfig, parameters: Parameters) -> None:
    rows = jnp.array([[CLS, *range(5, 50), SEP]])
    rolled = abstract_network(small_model).bind(parameters)(rows)
    unrolled = abstract_network(dataclasses.replace(small_model, scan_unroll=2)).bind(parameters)(rows)
    np.testing.assert_allclose(rolled, unrolled, atol=1e-6)


def test_sinusoids_have_the_stated_spread_and_tell_positions_apart() -> None:
    table = sinusoids(512, 64, 0.02)
    assert table.shape == (512, 64)
    assert float(jnp.sqrt(jnp.square(table).mean())) == pytest.approx(0.02, rel=1e-3)
    similarity = table @ table.T
    assert (similarity.argmax(axis=1) == jnp.arange(512)).all()
