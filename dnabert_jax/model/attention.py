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
from dnabert_jax.model.segments import attention_mask

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
        self.dropout_rate = config.attention_dropout

    def __call__(
        self, x: Float[Array, "B L H"], segment_ids: Int[Array, "B L"], attend: Attend, keys: RowKeys | None
    ) -> Float[Array, "B L H"]:
        if keys is not None:
            keys = fold_in(RowKeys(*(word[:, None] for word in keys)), jnp.arange(self.num_heads, dtype=jnp.int32))
        query, key, value = self.query(x), self.key(x), self.value(x)
        return self.output(attend(Heads(query, key, value, segment_ids, self.head_size, self.dropout_rate, keys)))

    def of_first(self, x: Float[Array, "B S H"], segment_ids: Int[Array, "B S"]) -> Float[Array, "B 1 H"]:
        """What a call gives the first token, in inference: its query alone is computed, and every key and value."""
        probabilities = self.probabilities(x, segment_ids, queries=1).astype(x.dtype)
        value = self.value(x).reshape(*x.shape[:2], -1, self.head_size)
        attended = jnp.einsum("BNLS,BSNK->BLNK", probabilities, value)
        return self.output(attended.reshape(len(x), 1, -1))

    def probabilities(
        self, x: Float[Array, "B S H"], segment_ids: Int[Array, "B S"], queries: int | None = None
    ) -> Float[Array, "B N L S"]:
        """What each query (third axis) gives to each key, before dropout, in float32; padding attends to padding.

        Query and key are computed as in a call; under jit XLA finds that they are the same ones.

        Args:
            x: hidden states that the layer takes.
            segment_ids: tokens of the same number see each other.
            queries: how many of the first tokens ask; all of them if not given.
        """
        rows = ((self.query, x[:, :queries]), (self.key, x))
        query, key = (dense(own).reshape(*own.shape[:2], -1, self.head_size) for dense, own in rows)
        return attention_probabilities(query, key, attention_mask(segment_ids)[:, :, :queries])
