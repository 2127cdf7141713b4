"""The likelihood of an allele under a masked language model: of its bases, where every token that shows them is hidden.

B batch, L tokens, M hidden tokens, V vocabulary.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32

from dnabert_jax import stream
from dnabert_jax.config import ModelConfig
from dnabert_jax.interpret.variants.alleles import Window
from dnabert_jax.model.binding import bind
from dnabert_jax.model.heads import MaskedLMHead
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.sequence.buckets import computed_in_order
from dnabert_jax.sequence.vocabulary import MASK


def allele_likelihoods(model: DNAModel, windows: Sequence[Window]) -> Float32[np.ndarray, " n"]:
    """Returns how well a pre-trained model expects the bases of each allele: it sees the window with them hidden.

    All tokens that cover a base of the allele are masked, so that nothing shows it. For alleles of the same length what
    the model sees is the same with either, so that the difference of their scores is the logarithm of the ratio of
    their probabilities: for overlapping k-mers except for the mean, as k predictions of a base are not independent
    evidence.

    The score is, where tokens overlap, the mean over them of the log-probability of the token that is there. Elsewhere
    it is the sum over them of the log-probability that a token spells the bases of the allele that it covers, whatever
    its other bases are.
    """
    if not windows:
        return np.zeros(0, np.float32)
    head, table = model.masked_lm or (None, None)
    rows = [_marked(model, window) for window in windows]
    # A power of two, so that few programs are compiled.
    room = 1 << (max(int((row < 0).sum()) for row in rows) - 1).bit_length()

    @fixed_settings()
    def likelihood(marked: Int32[np.ndarray, "B L"]) -> Array:
        hidden = model.encoder(np.where(marked < 0, MASK, marked), model.config.num_layers)
        if model.tokenizer.overlap > 1:
            return _mean_log_probability(model.config, head, table, hidden, marked)
        return _log_probabilities(model.config, room, head, table, hidden, marked)

    tokens, longest = stream.tokens_together(), model.config.max_positions
    computed = (value for _, value in computed_in_order(iter(rows), longest, tokens, likelihood, lambda _: None))
    values = computed if model.tokenizer.overlap > 1 else _log_marginals(model, windows, rows, computed)
    return np.fromiter(values, np.float32, len(windows))


def _marked(model: DNAModel, window: Window) -> Int32[np.ndarray, " L"]:
    """Returns the ids of a window, those that are to be predicted with a minus."""
    ids = model.ids_within_limit(window.codes, "the window").astype(np.int32)
    content = ids[model.tokenizer.content(len(ids))]
    content[model.tokenizer.covering(content, window.first, window.first + window.length)] *= -1
    return ids


@functools.partial(jax.jit, static_argnums=0)
def _mean_log_probability(config: ModelConfig, parameters: Any, table: Array, hidden: Array, marked: Array) -> Array:
    logits = bind(MaskedLMHead, parameters, config)(hidden, table)
    is_marked = marked < 0
    predicted = jnp.take_along_axis(logits, jnp.where(is_marked, -marked, 0)[..., None], axis=-1)[..., 0]
    log_probability = jnp.where(is_marked, predicted - jax.nn.logsumexp(logits, axis=-1), 0)
    return log_probability.sum(axis=1) / jnp.maximum(is_marked.sum(axis=1), 1)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _log_probabilities(
    config: ModelConfig, room: int, parameters: Any, table: Array, hidden: Array, marked: Array
) -> Float[Array, "B {room} V"]:
    """Returns the log-probabilities of all tokens at the hidden ones of each row; what follows them means nothing."""
    places = jnp.argsort(marked >= 0, axis=1, stable=True)[:, :room]
    chosen = jnp.take_along_axis(hidden, places[..., None], axis=1)
    return jax.nn.log_softmax(bind(MaskedLMHead, parameters, config)(chosen, table))


def _log_marginals(
    model: DNAModel,
    windows: Sequence[Window],
    rows: Sequence[Int32[np.ndarray, " _"]],
    computed: Iterator[Float32[np.ndarray, "M V"]],
) -> Iterator[np.float32]:
    """Yields the log-probability of the bases of each allele from those of all tokens where it is hidden."""
    tokenizer = model.tokenizer
    for window, row, log_probabilities in zip(windows, rows, computed, strict=True):
        content = np.abs(row[tokenizer.content(len(row))])
        hidden = row[tokenizer.content(len(row))] < 0
        total = np.float32(0)
        for token, start, values in zip(
            content[hidden], tokenizer.starts(content)[hidden], log_probabilities, strict=False
        ):
            bases = start + np.arange(tokenizer.spelling.shape[1])
            fixed = (bases >= window.first) & (bases < window.first + window.length)
            carries = (tokenizer.spelling[:, fixed] == tokenizer.spelling[token, fixed]).all(axis=1)
            carries &= tokenizer.width == tokenizer.width[token]
            total += np.logaddexp.reduce(values[: tokenizer.vocabulary_size][carries])
        yield total
