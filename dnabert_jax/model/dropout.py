"""Dropout whose masks are a pure function of (key, row, place): cheap on any device, the same on any mesh.

JAX's default generator costs some hundred integer operations for 64 bits and its hardware generators depend on how an
array is split. Here each element hashes its counter with the 64-bit key of its row: about ten operations that XLA
fuses into whatever uses the mask, so that no mask lies in memory, and the backward pass draws it anew. The hash is the
multiply-and-shift finaliser of 32-bit hashes with half of the key before and half between its two rounds. All
arithmetic is on int32, as a Pallas kernel (`dnabert_jax.model.pallas_attention`) draws the same bits.

A and C are the last two axes of what is dropped out.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

_FIRST_MULTIPLIER = 0x7FEB352D
_SECOND_MULTIPLIER = 0x846CA68B - 2**32
_STRIDE = 0x9E3779B9 - 2**32
"""2^32 divided by the golden ratio, made odd: neighbouring numbers become distant ones."""


_COLUMNS = 2**16
"""More than any matrix has; as many rows may it have, before counters meet again."""


class RowKeys(NamedTuple):
    """64 bits for each row of a batch, in two words of the same shape."""

    first: Int[Array, "..."]
    second: Int[Array, "..."]


def row_keys(key: PRNGKeyArray, rows: int) -> RowKeys:
    """Keys of the rows 0 .. rows - 1 of a global batch."""
    words = jax.lax.bitcast_convert_type(jax.random.bits(key, (2,)), jnp.int32)
    return fold_in(RowKeys(words[0], words[1]), jnp.arange(rows, dtype=jnp.int32))


def fold_in(keys: RowKeys, number: Int[Array, "..."] | int) -> RowKeys:
    """Other keys for each number, which broadcasts against the keys."""
    place = jnp.asarray(number, jnp.int32) * _STRIDE
    return RowKeys(hashed(place, keys.first, keys.second), hashed(place, keys.second, ~keys.first))


def hashed(
    counter: Int[Array, "..."], first: Int[Array, "..."] | Int[Array, ""], second: Int[Array, "..."] | Int[Array, ""]
) -> Int[Array, "..."]:
    """32 bits for each counter under a key of two words; the arguments broadcast."""
    bits = counter + first
    bits = (bits ^ jax.lax.shift_right_logical(bits, jnp.full_like(bits, 16))) * jnp.int32(_FIRST_MULTIPLIER)
    bits = bits ^ second
    bits = (bits ^ jax.lax.shift_right_logical(bits, jnp.full_like(bits, 15))) * jnp.int32(_SECOND_MULTIPLIER)
    return bits ^ jax.lax.shift_right_logical(bits, jnp.full_like(bits, 16))


def counter(row: Int[Array, "..."], column: Int[Array, "..."]) -> Int[Array, "..."]:
    """Of an element of a matrix, the same however far the matrix is padded; the arguments broadcast."""
    return row * _COLUMNS + column


def kept(bits: Int[Array, "..."], rate: float) -> Bool[Array, "..."]:
    """False with probability `rate`, to one in 2^32."""
    return bits >= jnp.int32(min(round(rate * 2**32), 2**32 - 1) - 2**31)


def dropout(x: Float[Array, "*rows A C"], rate: float, keys: RowKeys | None) -> Float[Array, "*rows A C"]:
    """Zeroes each element with probability `rate` and scales up the rest.

    Args:
        x: one matrix, or several, a row.
        rate: from 0 to below 1.
        keys: one for each matrix; none mean no dropout.
    """
    return x if keys is None or rate == 0 else _dropout(rate, x, keys)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dropout(rate: float, x: Float[Array, "*rows A C"], keys: RowKeys) -> Float[Array, "*rows A C"]:
    height, width = x.shape[-2:]
    counters = counter(jnp.arange(height, dtype=jnp.int32)[:, None], jnp.arange(width, dtype=jnp.int32))
    keep = kept(hashed(counters, keys.first[..., None, None], keys.second[..., None, None]), rate)
    # In float32: 1 / 0.9 in bfloat16 is wrong by 0.2 %.
    return jnp.where(keep, x.astype(jnp.float32) / (1 - rate), 0).astype(x.dtype)


def _dropout_forward(rate: float, x: Array, keys: RowKeys) -> tuple[Array, RowKeys]:
    return _dropout(rate, x, keys), keys


def _dropout_backward(rate: float, keys: RowKeys, gradient: Array) -> tuple[Array, None]:
    return _dropout(rate, gradient, keys), None


_dropout.defvjp(_dropout_forward, _dropout_backward)
