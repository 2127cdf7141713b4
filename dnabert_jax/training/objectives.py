"""What pre-training minimises: the cross-entropy of the masked k-mers.

B batch, M masked positions, V padded vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class TokenSums(NamedTuple):
    """Sums over masked tokens, so that batches and devices add up: loss in nats, correct predictions, tokens."""

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    tokens: Float[Array, ""]


def masked_token_sums(
    logits: Float[Array, "B M V"], labels: Int[Array, "B M"], weights: Float[Array, "B M"]
) -> TokenSums:
    """Cross-entropy and hits over the positions of weight 1."""
    # XLA vectorises and fuses these reductions on a processor; it computes log_softmax and argmax there more slowly.
    own = jnp.take_along_axis(logits, labels[:, :, None], axis=-1)[:, :, 0]
    # A filler's label may be padding, whose logit is -inf: `where` keeps it out of the sum, a product would not.
    losses = jnp.where(weights > 0, jax.nn.logsumexp(logits, axis=-1) - own, 0)
    largest = logits.max(axis=-1, keepdims=True)
    places = jnp.where(logits == largest, jnp.arange(logits.shape[-1], dtype=jnp.float32), jnp.inf)
    hits = (places.min(axis=-1) == labels) * weights
    return TokenSums(losses.sum(), hits.sum(), weights.sum())
