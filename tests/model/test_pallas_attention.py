"""The TPU kernel of attention, interpreted without a TPU, equals plain XLA, dropout and gradients included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from dnabert_jax.errors import InputError
from dnabert_jax.model.attention import Attend, Heads, xla_attention
from dnabert_jax.model.dropout import RowKeys, fold_in, row_keys
from dnabert_jax.model.pallas_attention import pallas_attention, supports
from dnabert_jax.planning.compilation import make_devices


def interpreted(heads: Heads, block: int | None = None) -> jax.Array:
    return pallas_attention(heads, interpret=True, block=block)


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize(("heads", "head_size", "block"), [(4, 64, 256), (1, 128, 128), (4, 32, 128)])
def test_it_equals_plain_attention_and_so_do_its_gradients(rate: float, heads: int, head_size: int, block: int) -> None:
    batch, length, width = 2, 256, heads * head_size
    query, key, value, weight = jax.random.normal(jax.random.key(0), (4, batch, length, width))
    # A packed row with padding, and a row of one sequence.
    segments = jnp.array([[1] * 100 + [2] * 99 + [0] * 57, [1] * 256])
    of_rows = row_keys(jax.random.key(1), batch)
    keys = fold_in(RowKeys(*(word[:, None] for word in of_rows)), jnp.arange(heads)) if rate else None

    def weighted(attend: Attend, *arguments: jax.Array) -> jax.Array:
        return (attend(Heads(*arguments, segments, head_size, rate, keys)) * weight).sum()

    arguments = (query, key, value)
    with jax.default_matmul_precision("highest"):
        inputs = Heads(*arguments, segments, head_size, rate, keys)
        plain = xla_attention(inputs)
        blockwise = functools.partial(interpreted, block=block)
        np.testing.assert_allclose(blockwise(inputs), plain, atol=2e-6)
        expected = jax.grad(weighted, (1, 2, 3))(xla_attention, *arguments)
        for ours, theirs in zip(jax.grad(weighted, (1, 2, 3))(blockwise, *arguments), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=5e-6)
    if rate:
        without = xla_attention(Heads(*arguments, segments, head_size))
        assert float(jnp.abs(plain - without).max()) > 0.1, "nothing was dropped"


def test_in_bfloat16_it_is_as_near_to_float32_as_plain_attention() -> None:
    inputs = jax.random.normal(jax.random.key(0), (3, 2, 256, 128))
    segments = jnp.array([[1] * 100 + [2] * 156, [1] * 256])
    exact = xla_attention(Heads(*inputs, segments, 64))
    narrow = [x.astype(jnp.bfloat16) for x in inputs]
    errors = [
        float(jnp.abs(attend(Heads(*narrow, segments, 64)).astype(jnp.float32) - exact).max())
        for attend in (xla_attention, interpreted)
    ]
    assert 0 < errors[1] < 1.5 * errors[0] < 0.05


def test_what_it_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match="no rows of 64 tokens with 2 heads of 64"):
        interpreted(Heads(*jnp.zeros((3, 2, 64, 128)), jnp.ones((2, 64), int), 64))


def test_what_it_takes() -> None:
    assert supports(512, 12, 64)
    assert supports(512, 6, 64)
    assert not supports(512, 3, 64), "three heads of 64 do not fill registers of 128 lanes"
    assert not supports(510, 12, 64)
    assert supports(2048, 16, 64)
    assert not supports(16384, 16, 64)
    assert not supports(512, 2, 48)


@pytest.mark.by_hand
@pytest.mark.tpu_compiler
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_longest_rows_fit_into_the_memory_of_a_core(dtype: str) -> None:
    _, (device,) = make_devices("v5e:1x1")
    lies = SingleDeviceSharding(device)
    rows = jax.ShapeDtypeStruct((1, 8192, 128), dtype, sharding=lies)
    numbers, words = (jax.ShapeDtypeStruct((1, size), "int32", sharding=lies) for size in (8192, 2))

    def total(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, *keys: jax.Array) -> jax.Array:
        return pallas_attention(Heads(query, key, value, segments, 64, 0.1, RowKeys(*keys))).astype("float32").sum()

    assert jax.jit(jax.grad(total, (0, 1, 2))).lower(rows, rows, rows, numbers, words, words).compile()
