"""Multi-head self-attention inside the segments of a packed row.

B batch, L queries, S keys (S = L), H hidden, N heads, K head size.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from dnabert_jax.config import ModelConfig
from dnabert_jax.model.layers import Dense, dropout

_MIMETIC_SPREAD = 1.6
"""Of queries and keys that start equal, times the root of the hidden size: enough to make attention local at first."""


def attention_probabilities(
    query: Float[Array, "B L N K"], key: Float[Array, "B S N K"], mask: Bool[Array, "B 1 L S"]
) -> Float[Array, "B N L S"]:
    """Softmax of the scaled dot products over the allowed keys, in float32; every query must have one."""
    scores = jnp.einsum("BLNK,BSNK->BNLS", query, key, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, scores / query.shape[-1] ** 0.5, jnp.finfo(jnp.float32).min)
    return jax.nn.softmax(scores, axis=-1)


class SelfAttention(nnx.Module):
    """Query, key and value of all heads come from one matrix product; the output is projected back to H."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        heads = {"heads": config.num_heads, "head_size": config.head_size}
        embed = {"embed": config.hidden_size}
        self.query_key_value = Dense(embed, {"query_key_value": 3, **heads}, config.initializer_range, rngs=rngs)
        if config.initializer == "mimetic":
            kernel = self.query_key_value.kernel
            shared = jax.random.normal(rngs.params(), kernel.shape[:1] + kernel.shape[2:])
            shared *= _MIMETIC_SPREAD / config.hidden_size**0.5
            kernel[...] = kernel[...].at[:, :2].set(shared[:, None])
        self.output = Dense(heads, embed, config.initializer_range, rngs=rngs)
        self.dropout_rate = config.attention_dropout

    def __call__(
        self, x: Float[Array, "B L H"], mask: Bool[Array, "B 1 L L"], dropout_key: PRNGKeyArray | None
    ) -> Float[Array, "B L H"]:
        query, key, value = jnp.moveaxis(self.query_key_value(x), 2, 0)
        probabilities = attention_probabilities(query, key, mask)
        probabilities = dropout(probabilities, self.dropout_rate, dropout_key).astype(x.dtype)
        return self.output(jnp.einsum("BNLS,BSNK->BLNK", probabilities, value))
