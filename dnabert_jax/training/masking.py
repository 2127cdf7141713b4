"""The objective of masked tokens: what is hidden of packed rows, and the loss; and masks that regularise fine-tuning.

DNABERT masks spans of k neighbouring k-mers, as a lone masked k-mer could be read off from its neighbours: centres
are drawn independently, and each masks itself and its neighbours at the offsets of `span_offsets` (MASK_LIST and
mask_tokens in run_pretrain.py of the original). Two things differ from the original, on purpose:

- The rate is that of the masked k-mers. Spans overlap, so the original's centre rate 0.15 / 6 masks 14.1 %; here the
  centre rate is 1 - (1 - rate)^(1/k). A centre may also fall just outside a sequence and mask its first or last
  k-mers, so that the rate holds up to the ends and for short sequences. Tests hold it on real rows.
- Random replacements are k-mers; the original draws special tokens as well.

B batch, L tokens, M most masked positions of a row, V padded vocabulary.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dnabert_jax.config import MaskingConfig
from dnabert_jax.model.dropout import RowKeys, counter, fold_in, hashed, kept
from dnabert_jax.model.segments import spells_bases
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.vocabulary import MASK, NUM_SPECIAL

_CAPACITY_DEVIATIONS = 5
_CAPACITY_MULTIPLE = 8

_KMERS = -1
"""The number that is folded into the keys of rows; the layers of the network fold in numbers from 0 on."""


class MaskedRows(NamedTuple):
    """Corrupted rows and what is to be predicted; the number of positions is static.

    Attributes:
        predict_at: positions in the row, ascending; where weights is 0 they mean nothing.
        weights: 1 for a masked position, 0 for a filler.
        overflow: masked positions that found no place in M and were left as they were, over the batch.
    """

    input_ids: Int[Array, "B L"]
    predict_at: Int[Array, "B M"]
    labels: Int[Array, "B M"]
    weights: Float[Array, "B M"]
    overflow: Int[Array, ""]


def span_offsets(k: int) -> range:
    """Which neighbours a centre masks: -1..1, -1..2, -2..2, -2..3 for k = 3, 4, 5, 6, as in the original."""
    return range(-((k - 1) // 2), k // 2 + 1)


def centre_rate(rate: Float[Array, ""] | float, k: int) -> Float[Array, ""] | float:
    """The rate of centres at which the share `rate` of k-mers lies in a span."""
    return 1 - (1 - rate) ** (1 / k)


def widen_spans(centres: Bool[Array, "B C"], k: int) -> Bool[Array, "B L"]:
    """Which of L positions lie in a span.

    Args:
        centres: at all C = L + k - 1 places whose span may reach the row: -(k // 2) to L - 1 + (k - 1) // 2.
    """
    length = centres.shape[1] - k + 1
    # Position i is masked by the centre at i - offset, which is k // 2 places further on in the array.
    firsts = [k // 2 - offset for offset in span_offsets(k)]
    return jnp.stack([centres[:, first : first + length] for first in firsts]).any(axis=0)


def masked_capacity(row_length: int, k: int, rate: float) -> int:
    """Positions to make room for: five standard deviations above the mean of a full row, rounded up to 8.

    The number of masked positions varies more than a binomial one, as they come in spans: two positions at a distance
    d < k are both unmasked with probability (1 - p)^(k + d), p being the rate of centres.
    """
    spared = 1 - centre_rate(rate, k)
    covariance = sum(spared ** (k + abs(d)) - spared ** (2 * k) for d in range(1 - k, k))
    deviation = math.sqrt(row_length * covariance)
    needed = rate * row_length + _CAPACITY_DEVIATIONS * deviation
    return min(row_length, math.ceil(needed / _CAPACITY_MULTIPLE) * _CAPACITY_MULTIPLE)


@dataclasses.dataclass(frozen=True)
class MaskedTokens:
    """The objective of masked language models: spans of tokens are hidden, and each is predicted.

    A span is as many tokens as cover a base, so that none of them can be read off from a neighbour that stays.
    """

    settings: MaskingConfig
    tokenizer: Tokenizer

    def rate(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Returns the share of tokens to hide at a step of training."""
        return jnp.where(step < self.settings.late_from_step, self.settings.rate, self.settings.late_rate)

    def hide(self, input_ids: Int[Array, "B L"], key: PRNGKeyArray, rate: Float[Array, ""] | float) -> MaskedRows:
        """Draws masks and corrupts rows.

        Args:
            input_ids: packed rows.
            key: the same key gives the same masks on any mesh.
            rate: share of tokens to hide; may be traced. The highest rate of the settings bounds M.
        """
        (batch, length), span, settings = input_ids.shape, self.tokenizer.overlap, self.settings
        centre_key, action_key, random_key = jax.random.split(key, 3)
        centres = jax.random.uniform(centre_key, (batch, length + span - 1)) < centre_rate(rate, span)
        wanted = widen_spans(centres, span) & (input_ids >= NUM_SPECIAL)
        capacity = masked_capacity(length, span, max(settings.rate, settings.late_rate))
        masked = wanted & (jnp.cumsum(wanted, axis=1) <= capacity)

        action, size = jax.random.uniform(action_key, input_ids.shape), self.tokenizer.content_end
        from_all = settings.random_from == "all"
        last = size if from_all else size - 1
        random_tokens = jax.random.randint(random_key, input_ids.shape, NUM_SPECIAL, last, input_ids.dtype)
        if not from_all:
            # All but the true one are as many numbers, of which those from it on are one further.
            random_tokens += random_tokens >= input_ids
        corrupted = jnp.where(action < settings.mask_share + settings.random_share, random_tokens, input_ids)
        corrupted = jnp.where(action < settings.mask_share, MASK, corrupted)

        places = jnp.sort(jnp.where(masked, jnp.arange(length), length), axis=1)[:, :capacity]
        weights = (places < length).astype(jnp.float32)
        predict_at = jnp.minimum(places, length - 1)
        return MaskedRows(
            input_ids=jnp.where(masked, corrupted, input_ids),
            predict_at=predict_at,
            labels=jnp.take_along_axis(input_ids, predict_at, axis=1),
            weights=weights,
            overflow=(wanted & ~masked).sum(),
        )


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


def mask_kmers(input_ids: Int[Array, "*dims"], rate: float, keys: RowKeys) -> Int[Array, "*dims"]:
    """Returns rows in which each token is replaced by [MASK] with probability `rate`, independently of the others.

    A model that is trained on such rows relies less on single tokens. Nothing is predicted, so the bases that the
    neighbours of a masked token show do no harm.

    Args:
        input_ids: a sequence per row, [B, L], or in windows, [B, T, L].
        rate: from 0 to below 1.
        keys: one for each row of the batch.
    """
    if rate == 0:
        return input_ids
    rows = input_ids.reshape(len(input_ids), -1, input_ids.shape[-1])
    windows, tokens = (jnp.arange(size, dtype=jnp.int32) for size in rows.shape[1:])
    first, second = (word[:, None, None] for word in fold_in(keys, _KMERS))
    stays = kept(hashed(counter(windows[:, None], tokens), first, second), rate)
    return jnp.where(stays | ~spells_bases(rows), rows, MASK).reshape(input_ids.shape)
