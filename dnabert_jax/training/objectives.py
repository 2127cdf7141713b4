"""What is minimised: cross-entropy of the masked k-mers.

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
    log_likelihood = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, :, None], axis=-1)[:, :, 0]
    # A filler's label may be padding, whose logit is -inf: `where` keeps it out of the sum, a product would not.
    losses = jnp.where(weights > 0, -log_likelihood, 0)
    hits = (logits.argmax(axis=-1) == labels) * weights
    return TokenSums(losses.sum(), hits.sum(), weights.sum())
