"""Heads on top of the encoder.

B batch, L tokens, M positions, H hidden, V padded vocabulary.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from dnabert_jax.config import ModelConfig
from dnabert_jax.model.layers import Dense, LayerNorm, gelu


class MaskedLMHead(nnx.Module):
    """Dense, GELU and LayerNorm, then the product with the token embeddings; padded ids get the logit -inf."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.transform = Dense(("embed", size), ("transform", size), config.initializer_range, rngs=rngs)
        self.norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.bias = nnx.Param(jnp.zeros((config.padded_vocabulary_size,)), axes=("vocabulary",))
        self.vocabulary_size = config.vocabulary_size

    def __call__(self, x: Float[Array, "B M H"], token_table: Float[Array, "V H"]) -> Float[Array, "B M V"]:
        x = self.norm(gelu(self.transform(x)))
        logits = jnp.einsum("BMH,VH->BMV", x, token_table.astype(x.dtype), preferred_element_type=jnp.float32)
        is_token = jnp.arange(token_table.shape[0]) < self.vocabulary_size
        return jnp.where(is_token, logits + self.bias[...], -jnp.inf)


class Pooler(nnx.Module):
    """One vector a sequence: a dense layer and tanh on the hidden state of its [CLS], the first token."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.dense = Dense(("embed", size), ("pooled", size), config.initializer_range, rngs=rngs)

    def __call__(self, hidden: Float[Array, "B L H"]) -> Float[Array, "B H"]:
        # In float32 always: it is a vector a sequence, where the encoder has hundreds.
        return jnp.tanh(self.dense(hidden[:, 0].astype(jnp.float32)))
