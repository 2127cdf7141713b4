"""What is minimised: cross-entropy of the masked k-mers, and the loss of a prediction a sequence.

B batch, M masked positions, V padded vocabulary, C labels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from dnabert_jax.config import TaskConfig


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


def sequence_losses(
    task: TaskConfig, logits: Float[Array, "B C"], labels: Int[Array, " B"] | Float[Array, "B C"]
) -> Float[Array, " B"]:
    """The loss of each sequence; its mean over a batch is that of transformers' BertForSequenceClassification.

    Args:
        logits: of the labels; for regression what is predicted.
        labels: the number of each sequence's label, or the probability of each label; for multi-label classification
            the probability of each, 0 or 1 as a rule; for regression the true values.

    Returns:
        Cross-entropy in nats; for several labels the mean of their binary cross-entropies; squared error, its mean over
        the outputs.
    """
    if task.problem == "single_label_classification" and labels.ndim == 2:
        return optax.softmax_cross_entropy(logits, labels)
    if task.problem == "single_label_classification":
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    if task.problem == "multi_label_classification":
        return optax.sigmoid_binary_cross_entropy(logits, labels).mean(axis=-1)
    return jnp.square(logits - labels).mean(axis=-1)
