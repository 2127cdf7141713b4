"""Heads on top of the encoder.

B batch, M positions, H hidden, V padded vocabulary.
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
