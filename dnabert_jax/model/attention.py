"""Multi-head self-attention inside the segments of a packed row.

How attention is computed is a setting (`Attend`): plain XLA here, cuDNN's fused kernel on a GPU, or a TPU kernel
(`dnabert_jax.model.pallas_attention`). All see the same masks of dropout.
B rows, L queries, S keys (S = L), H hidden, N heads, K head size, J = N x K.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from dnabert_jax.config import ModelConfig
from dnabert_jax.model.dropout import RowKeys, dropout, fold_in
from dnabert_jax.model.layers import Dense
from dnabert_jax.model.segments import Segments, attention_mask

_MIMETIC_SPREAD = 1.6
"""Of queries and keys that start equal, times the root of the hidden size: enough to make attention local at first."""


class Heads(NamedTuple):
    """What attention is computed from.

    Attributes:
        query: not yet scaled, of all heads, side by side in the last axis.
        key: laid out like the queries.
        value: laid out like the queries.
        segment_ids: a token attends to those of the same number.
        size: columns of a head, K.
        rate: of dropout on the probabilities.
        keys: of each row and head for it, [B, N]; None means no dropout.
    """

    query: Float[Array, "B L J"]
    key: Float[Array, "B L J"]
    value: Float[Array, "B L J"]
    segment_ids: Int[Array, "B L"]
    size: int
    rate: float = 0.0
    keys: RowKeys | None = None

    def split(self) -> tuple[Float[Array, "B L N K"], Float[Array, "B L N K"], Float[Array, "B L N K"]]:
        """Returns queries, keys and values with an axis for the heads."""
        query, key, value = (x.reshape(*x.shape[:2], -1, self.size) for x in self[:3])
        return query, key, value


Attend = Callable[[Heads], Float[Array, "B L J"]]
"""A kernel of attention."""


def attention_probabilities(
    query: Float[Array, "B L N K"], key: Float[Array, "B S N K"], mask: Bool[Array, "B 1 L S"]
) -> Float[Array, "B N L S"]:
    """Softmax of the scaled dot products over the allowed keys, in float32; every query must have one."""
    scores = jnp.einsum("BLNK,BSNK->BNLS", query, key, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, scores / query.shape[-1] ** 0.5, jnp.finfo(jnp.float32).min)
    return jax.nn.softmax(scores, axis=-1)


def xla_attention(heads: Heads) -> Float[Array, "B L J"]:
    """`Attend` in plain XLA, for any platform and size."""
    query, key, value = heads.split()
    probabilities = attention_probabilities(query, key, attention_mask(heads.segment_ids))
    probabilities = dropout(probabilities, heads.rate, heads.keys)
    return jnp.einsum("BNLS,BSNK->BLNK", probabilities.astype(value.dtype), value).reshape(heads.query.shape)


def cudnn_attention(heads: Heads) -> Float[Array, "B L J"]:
    """`Attend` by cuDNN's fused kernel: a GPU, 16-bit activations, and no dropout on the probabilities.

    It was compiled for GPUs and never run: no test compares its numbers.
    """
    if heads.keys is not None and heads.rate:
        raise ValueError("JAX's cuDNN attention drops no probabilities out.")
    mask = attention_mask(heads.segment_ids)
    attended = jax.nn.dot_product_attention(*heads.split(), mask=mask, implementation="cudnn")
    return attended.reshape(heads.query.shape)


_ROTARY_BASE = 10_000


def rotate(x: Float[Array, "B L J"], positions: Int[Array, "B L"], size: int) -> Float[Array, "B L J"]:
    """Returns queries or keys turned by their positions: number i of a head together with number i + size / 2.

    Args:
        size: columns of a head, of which each pair has a frequency of its own.
    """
    frequencies = _ROTARY_BASE ** (-jnp.arange(0, size, 2) / size)
    angles = (positions[..., None] * frequencies)[:, :, None]
    first, second = jnp.split(x.reshape(*x.shape[:2], -1, size).astype(jnp.float32), 2, axis=-1)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype).reshape(x.shape)


class SelfAttention(nnx.Module):
    """Dense layers to query, key and value of all heads, attention, and a dense layer back to H."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        embed, heads = ("embed", config.hidden_size), ("heads", config.hidden_size)
        dense = functools.partial(Dense, scale=config.initializer_range, units={"heads": config.head_size}, rngs=rngs)
        self.query, self.key, self.value = (dense(embed, heads) for _ in range(3))
        self.output = dense(heads, embed)
        if config.initializer == "mimetic":
            shared = jax.random.normal(rngs.params(), self.query.kernel.shape)
            self.query.kernel[...] = self.key.kernel[...] = shared * _MIMETIC_SPREAD / config.hidden_size**0.5
        self.num_heads, self.head_size = config.num_heads, config.head_size
        self.dropout_rate, self.rotary = config.attention_dropout, config.positions == "rotary"

    def __call__(
        self, x: Float[Array, "B L H"], segments: Segments, attend: Attend, keys: RowKeys | None
    ) -> Float[Array, "B L H"]:
        if keys is not None:
            keys = fold_in(RowKeys(*(word[:, None] for word in keys)), jnp.arange(self.num_heads, dtype=jnp.int32))
        query, key, value = self._placed(self.query, x, segments), self._placed(self.key, x, segments), self.value(x)
        return self.output(attend(Heads(query, key, value, segments.ids, self.head_size, self.dropout_rate, keys)))

    def _placed(self, dense: Dense, x: Float[Array, "B L H"], segments: Segments) -> Float[Array, "B L J"]:
        """Returns queries or keys, with their positions if those are rotary."""
        return rotate(dense(x), segments.positions[:, : x.shape[1]], self.head_size) if self.rotary else dense(x)

    def of_first(self, x: Float[Array, "B S H"], segments: Segments) -> Float[Array, "B 1 H"]:
        """What a call gives the first token, in inference: its query alone is computed, and every key and value."""
        probabilities = self.probabilities(x, segments, queries=1).astype(x.dtype)
        value = self.value(x).reshape(*x.shape[:2], -1, self.head_size)
        attended = jnp.einsum("BNLS,BSNK->BLNK", probabilities, value)
        return self.output(attended.reshape(len(x), 1, -1))

    def probabilities(
        self, x: Float[Array, "B S H"], segments: Segments, queries: int | None = None
    ) -> Float[Array, "B N L S"]:
        """What each query (third axis) gives to each key, before dropout, in float32; padding attends to padding.

        Query and key are computed as in a call; under jit XLA finds that they are the same ones.

        Args:
            x: hidden states that the layer takes.
            segments: which tokens see each other, and their positions.
            queries: how many of the first tokens ask; all of them if not given.
        """
        rows = ((self.query, x[:, :queries]), (self.key, x))
        placed = (self._placed(dense, own, segments) for dense, own in rows)
        query, key = (own.reshape(*own.shape[:2], -1, self.head_size) for own in placed)
        return attention_probabilities(query, key, attention_mask(segments.ids)[:, :, :queries])
