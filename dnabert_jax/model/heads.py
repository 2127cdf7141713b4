"""Heads on top of the encoder.

B batch, L tokens, M positions, H hidden, V padded vocabulary.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from dnabert_jax.config import ModelConfig, TokenPooling
from dnabert_jax.model.layers import Dense, Embedding, LayerNorm, gelu
from dnabert_jax.model.segments import spells_bases


class MaskedLMHead(nnx.Module):
    """Dense, GELU and LayerNorm, then the product with the vectors of tokens, or with a table of its own.

    Padded ids get the logit -inf.
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.transform = Dense(("embed", size), ("transform", size), config.initializer_range, rngs=rngs)
        self.norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.bias = nnx.Param(jnp.zeros((config.padded_vocabulary_size,)), axes=("vocabulary",))
        rows, self.vocabulary_size = config.padded_vocabulary_size, config.vocabulary_size
        table = functools.partial(Embedding, rows, size, config.initializer_range, "vocabulary", rngs=rngs)
        self.decoder = None if config.tied_head else table(used=self.vocabulary_size)

    def __call__(self, x: Float[Array, "B M H"], token_table: Float[Array, "V H"]) -> Float[Array, "B M V"]:
        x = self.norm(gelu(self.transform(x)))
        table = token_table if self.decoder is None else self.decoder.table[...]
        logits = jnp.einsum("BMH,VH->BMV", x, table.astype(x.dtype), preferred_element_type=jnp.float32)
        is_token = jnp.arange(table.shape[0]) < self.vocabulary_size
        return jnp.where(is_token, logits + self.bias[...], -jnp.inf)


class Pooler(nnx.Module):
    """One vector per sequence, of the width `pooled_size`, in the ways of `TaskConfig.pooling`."""

    def __init__(self, config: ModelConfig, pooling: TokenPooling = "cls", *, rngs: nnx.Rngs):
        self.pooling, size = pooling, config.hidden_size
        if pooling == "cls":
            self.dense = Dense(("embed", size), ("pooled", size), config.initializer_range, rngs=rngs)
            return
        self.norm = LayerNorm(pooled_size(config, pooling), config.layer_norm_epsilon)
        if pooling == "attention":
            # From zero, so that the weights begin as those of the mean.
            self.query = nnx.Param(jnp.zeros((size,)), axes=("embed",))

    def __call__(self, hidden: Float[Array, "B L H"], input_ids: Int[Array, "B tokens"]) -> Float[Array, "B P"]:
        # In float32 always: it is a vector a sequence, where the encoder has hundreds.
        if self.pooling == "cls":
            return jnp.tanh(self.dense(hidden[:, 0].astype(jnp.float32)))
        hidden, counted = hidden.astype(jnp.float32), spells_bases(input_ids)
        vectors = []
        if self.pooling == "attention":
            weights = jax.nn.softmax(jnp.where(counted, hidden @ self.query[...], NEVER), axis=1)
            vectors.append(jnp.einsum("BLH,BL->BH", hidden, weights))
        if self.pooling in ("mean", "mean-max"):
            vectors.append(masked_mean(hidden, counted))
        if self.pooling in ("max", "mean-max"):
            vectors.append(masked_max(hidden, counted))
        return self.norm(jnp.concatenate(vectors, axis=1))


def pooled_size(config: ModelConfig, pooling: TokenPooling) -> int:
    """Returns the width of a pooled vector."""
    return config.hidden_size * (2 if pooling == "mean-max" else 1)


NEVER = -1e30
"""A score whose weight is 0 beside any other; finite, since a row that fills up a batch has nothing to weigh."""


def masked_mean(vectors: Float[Array, "B L H"], counted: Bool[Array, "B L"]) -> Float[Array, "B H"]:
    """Returns the mean of the vectors that count; zero where there are none."""
    total = jnp.einsum("BLH,BL->BH", vectors, counted.astype(vectors.dtype))
    return total / jnp.maximum(counted.sum(axis=1, keepdims=True), 1)


def masked_max(vectors: Float[Array, "B L H"], counted: Bool[Array, "B L"]) -> Float[Array, "B H"]:
    """Returns the largest value of each feature among the vectors that count; zero where there are none."""
    largest = jnp.max(vectors, axis=1, where=counted[..., None], initial=NEVER)
    return jnp.where(counted.any(axis=1, keepdims=True), largest, 0)
