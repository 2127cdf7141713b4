"""Laws of the network: packing changes nothing, gradients stay inside a sequence, dropout drops."""

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dnabert_jax.config import ModelConfig
from dnabert_jax.data.packing import fill_rows
from dnabert_jax.families import PRESETS
from dnabert_jax.model.backbone import Backbone, Execution, LanguageModel
from dnabert_jax.model.binding import bind
from dnabert_jax.model.dropout import row_keys
from dnabert_jax.model.layers import Dense, LayerNorm, gelu, sinusoids
from dnabert_jax.model.segments import read_segments
from dnabert_jax.sequence.vocabulary import CLS, MASK, NUM_SPECIAL, PAD, SEP
from dnabert_jax.training.state import Parameters, init_parameters
from tests.model.encoder_states import encoder_states


def random_parameters(config: ModelConfig) -> Parameters:
    """Returns larger ones than at initialisation, so that positions and neighbours matter."""
    scale = jax.random.key(1)
    return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(scale, leaf.shape), init_parameters(config, 0))


@pytest.fixture(scope="module")
def parameters(small_model: ModelConfig) -> Parameters:
    return random_parameters(small_model)


MECHANISMS: dict[str, dict[str, Any]] = {
    "post-LN": {},
    "token dropout": {"norm": "pre", "token_types": False, "tied_head": False, "token_dropout": 0.12},
    "rotary and gated": {"positions": "rotary", "norm": "pre", "feed_forward": "swiglu", "token_types": False},
    "without [SEP]": {"tokens": "6-mers", "positions": "rotary"},
}


@pytest.mark.parametrize("changes", MECHANISMS.values(), ids=MECHANISMS)
def test_a_packed_row_gives_every_sequence_the_logits_it_has_alone(
    small_model: ModelConfig, changes: dict[str, Any]
) -> None:
    config = dataclasses.replace(small_model, **changes)
    rng, size, specials = np.random.default_rng(0), config.vocabulary_size, config.tokenizer.specials
    counts = np.array([5, 20, 11, 13, 30, 62, 17, 5])
    ids = rng.integers(MASK, 69, counts.sum()).astype(np.uint16)
    ids[::4] = MASK
    packed = fill_rows(ids, counts, 64, config.tokenizer.suffix)
    assert len(packed) < len(counts)
    parameters = random_parameters(config)
    apply = jax.jit(lambda rows: bind(LanguageModel, parameters, config)(rows))
    packed_logits = np.asarray(apply(jnp.asarray(packed.astype(np.int32))))
    lengths = []
    for row, logits in zip(packed, packed_logits, strict=True):
        begins, filled = np.flatnonzero(row == CLS), np.flatnonzero(row != PAD).max() + 1
        for begin, end in zip(begins, [*begins[1:], filled], strict=True):
            alone = np.full((1, 64), PAD, np.int32)
            alone[0, : end - begin] = row[begin:end]
            expected = apply(jnp.asarray(alone))[0, : end - begin]
            np.testing.assert_allclose(logits[begin:end, :size], expected[:, :size], atol=1e-5, rtol=0)
            lengths.append(end - begin - specials)
    assert sorted(lengths) == sorted(counts)


def test_the_states_of_a_packed_row_are_those_of_its_sequences(
    small_model: ModelConfig, parameters: Parameters
) -> None:
    encoder = bind(LanguageModel, parameters, small_model).backbone
    row = jnp.array([[CLS, 9, 10, 11, SEP, CLS, 40, 50, SEP, PAD]])
    states = encoder_states(encoder, row)
    assert states.hidden.shape == (3, 1, 10, 32)
    assert states.attention.shape == (2, 1, 4, 10, 10)
    np.testing.assert_allclose(states.hidden[-1], encoder(row, read_segments(row)), atol=1e-6)
    for begin, end in ((0, 5), (5, 9)):
        alone = encoder_states(encoder, row[:, begin:end])
        np.testing.assert_allclose(states.hidden[:, :, begin:end], alone.hidden, atol=1e-5)
        attention = states.attention[:, :, :, begin:end]
        np.testing.assert_allclose(attention[..., begin:end], alone.attention, atol=1e-6)
        # So nothing is left for the other sequence and for padding.
        np.testing.assert_allclose(alone.attention.sum(axis=-1), 1, rtol=1e-6)
        assert (attention.at[..., begin:end].set(0) == 0).all()


def test_padded_ids_are_never_predicted(small_model: ModelConfig, parameters: Parameters) -> None:
    logits = bind(LanguageModel, parameters, small_model)(jnp.array([[CLS, 9, SEP]]))
    assert logits.shape == (1, 3, 128)
    assert (logits[..., 69:] == -jnp.inf).all()
    assert jnp.isfinite(logits[..., :69]).all()


def test_logits_at_chosen_positions_are_those_of_all(small_model: ModelConfig, parameters: Parameters) -> None:
    rows = jnp.array([[CLS, 9, 10, 11, SEP], [CLS, 40, 50, SEP, PAD]])
    model = bind(LanguageModel, parameters, small_model)
    np.testing.assert_allclose(
        model(rows, jnp.array([[2, 0], [1, 1]]))[0], model(rows)[0, [2, 0]], rtol=1e-6, atol=1e-6
    )


def test_dropout_acts_in_training_only_and_follows_its_key(small_model: ModelConfig, parameters: Parameters) -> None:
    rows = jnp.array([[CLS, 9, 10, 11, SEP]])
    model = bind(LanguageModel, parameters, small_model)
    first, again, other = (model(rows, keys=row_keys(jax.random.key(seed), 1))[..., :69] for seed in (0, 0, 1))
    assert (first == again).all()
    assert not jnp.allclose(first, other)
    assert not jnp.allclose(first, model(rows)[..., :69])


def test_layer_norm_has_mean_zero_and_variance_one() -> None:
    x = 3 + 5 * jax.random.normal(jax.random.key(0), (4, 64))
    normal = LayerNorm(64, 1e-12)(x)
    np.testing.assert_allclose(normal.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(normal.var(axis=-1), 1, rtol=1e-5)


def test_bfloat16_compute_stays_near_float32(small_model: ModelConfig, parameters: Parameters) -> None:
    rows = jnp.array([[CLS, *range(5, 50), SEP]])
    wide = bind(LanguageModel, parameters, small_model)(rows)[..., :69]
    in_bfloat16 = dataclasses.replace(small_model, compute_dtype="bfloat16")
    narrow = bind(LanguageModel, parameters, in_bfloat16)(rows)[..., :69]
    assert narrow.dtype == jnp.float32
    assert 0 < float(jnp.abs(wide - narrow).max()) < 0.05 * float(jnp.abs(wide).max())


@pytest.mark.parametrize("execution", [Execution(unroll=2), Execution(remat="dots"), Execution(unroll=2, remat="full")])
def test_unrolling_and_computing_again_change_nothing(
    small_model: ModelConfig, parameters: Parameters, execution: Execution
) -> None:
    rows = jnp.array([[CLS, *range(5, 50), SEP]])
    keys = row_keys(jax.random.key(0), 1)

    def loss(parameters: Parameters, execution: Execution) -> jax.Array:
        return jnp.square(bind(LanguageModel, parameters, small_model)(rows, None, keys, execution)[..., :69]).mean()

    for ours, theirs in zip(
        jax.tree.leaves(jax.grad(loss)(parameters, execution)),
        jax.tree.leaves(jax.grad(loss)(parameters, Execution())),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_layer_norm_has_the_gradients_of_its_definition() -> None:
    """Also in one pass over 16-bit inputs, to their digits."""
    x, weight = (jax.random.normal(jax.random.key(seed), (5, 7, 64)) for seed in (0, 1))
    scale, bias = (jax.random.normal(jax.random.key(seed), (64,)) for seed in (2, 3))
    graph, _ = nnx.split(LayerNorm(64, 1e-12))

    def ours(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
        return (nnx.merge(graph, {"scale": scale, "bias": bias})(x) * weight).sum()

    def definition(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
        normal = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return ((normal * scale + bias) * weight).sum()

    expected = jax.grad(definition, (0, 1, 2))(x, scale, bias)
    for mine, theirs in zip(jax.grad(ours, (0, 1, 2))(x, scale, bias), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
    narrow = jax.grad(ours, (0, 1, 2))(x.astype(jnp.bfloat16), scale, bias)
    for mine, theirs in zip(narrow, expected, strict=True):
        np.testing.assert_allclose(mine.astype(jnp.float32), theirs, atol=0.02 * float(jnp.abs(theirs).max()))


def test_the_gradient_of_a_bias_is_summed_in_float32() -> None:
    """Of 4,096 tokens: a sum in bfloat16 stops growing at 256."""
    graph, state = nnx.split(Dense(("embed", 8), ("mlp", 16), 0.02, rngs=nnx.Rngs(0)))

    def total(state: nnx.State) -> jax.Array:
        return nnx.merge(graph, state)(jnp.ones((8, 512, 8), jnp.bfloat16)).sum(dtype=jnp.float32)

    np.testing.assert_array_equal(jax.grad(total)(state)["bias"][...], np.full(16, 4096, np.float32))


def test_gelu_is_exact_in_float32_and_within_a_bfloat16_step_of_it() -> None:
    x = jnp.linspace(-12, 12, 4001).astype(jnp.bfloat16)
    exact = np.array([0.5 * value * math.erfc(-value / 2**0.5) for value in x.astype(jnp.float32).tolist()])
    np.testing.assert_allclose(gelu(x.astype(jnp.float32)), exact, atol=1e-6)
    # 7.8e-5 of the formula, and half a step of the rounding.
    error = np.abs(np.asarray(gelu(x).astype(jnp.float32)) - exact)
    assert (error <= 8e-5 + 2.0**-8 * np.abs(exact)).all()
    slope = jax.vmap(jax.grad(lambda value: gelu(value).astype(jnp.float32)))(x).astype(jnp.float32)
    true_slope = jax.vmap(jax.grad(lambda value: jax.nn.gelu(value, approximate=False)))(x.astype(jnp.float32))
    np.testing.assert_allclose(slope, true_slope, atol=6e-3)


def test_sinusoids_have_the_stated_spread_and_tell_positions_apart() -> None:
    table = sinusoids(512, 64, 0.02)
    assert table.shape == (512, 64)
    assert float(jnp.sqrt(jnp.square(table).mean())) == pytest.approx(0.02, rel=1e-3)
    similarity = table @ table.T
    assert (similarity.argmax(axis=1) == jnp.arange(512)).all()


def test_of_a_mimetic_start_kmers_attend_to_neighbours_and_cls_to_all() -> None:
    """As the tiny preset starts."""
    config = PRESETS["tiny"].model
    backbone = Backbone(config, rngs=nnx.Rngs(0))
    kmers = np.random.default_rng(0).integers(NUM_SPECIAL, config.vocabulary_size, (4, 200))
    ids = jnp.asarray(np.concatenate([np.full((4, 1), CLS), kmers, np.full((4, 1), SEP)], axis=1), jnp.int32)
    first_layer = np.asarray(encoder_states(backbone, ids).attention[0]).mean(axis=(0, 1))
    near = np.array([first_layer[at, at - 5 : at + 6].sum() for at in range(50, 150)])
    assert near.min() > 5 * 11 / 202
    others = first_layer[0, 1:]
    assert others[:100].sum() == pytest.approx(others[101:].sum(), rel=0.5)


def test_of_a_mimetic_start_kmers_are_as_alike_as_their_letters() -> None:
    config = dataclasses.replace(PRESETS["tiny"].model, k=4, hidden_size=512)
    table = Backbone(config, rngs=nnx.Rngs(0)).embeddings.token.table
    kmers = np.asarray(table[...])[NUM_SPECIAL : config.vocabulary_size]
    assert kmers.std() == pytest.approx(config.initializer_range, rel=0.05)
    letters = np.array(list(itertools.product(range(4), repeat=4)))
    shared = (letters[:, None] == letters).sum(axis=2)
    similarity = np.corrcoef(kmers)
    # A letter in common counts 1, another in its place -1/3: centred vectors of four letters have these products.
    for count in range(4):
        expected = 0.9 * (count - (4 - count) / 3) / 4
        assert similarity[shared == count].mean() == pytest.approx(expected, abs=0.05)
