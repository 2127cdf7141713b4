"""How well a pre-trained model expects the bases of an allele: it sees the window with these bases hidden.

All k-mers that cover a base of the allele are masked, so that nothing shows it, and the score is the mean over them of
the log-probability of the k-mer that is there. For alleles of the same length what the model sees is the same with
either, and the difference of their scores is the logarithm of the ratio of their probabilities, but for the mean: the k
predictions of a base are no independent evidence.
B batch, L tokens, H hidden, V padded vocabulary.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32

from dnabert_jax import stream
from dnabert_jax.config import ModelConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.variants.placement import Window
from dnabert_jax.model.binding import bind
from dnabert_jax.model.heads import MaskedLMHead
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.sequence.buckets import computed_in_order
from dnabert_jax.sequence.vocabulary import MASK


def check_has_head(model: DNAModel) -> None:
    """Raises InputError if a model has no head of masked tokens."""
    if model.masked_lm is None:
        raise InputError(
            "likelihood needs a pre-trained model with its masked-LM head, which fine-tuning leaves out: remove "
            "likelihood from --scores, or give another --model."
        )


def allele_likelihoods(model: DNAModel, windows: Sequence[Window]) -> Float32[np.ndarray, " n"]:
    """Returns the mean log-probability of the k-mers that cover each window's allele, all of them masked."""
    check_has_head(model)
    head, table = model.masked_lm or (None, None)

    @fixed_settings()
    def likelihood(marked: Int32[np.ndarray, "B L"]) -> Array:
        hidden = model.encoder(np.where(marked < 0, MASK, marked), model.config.num_layers)
        return _mean_log_probability(model.config, head, table, hidden, marked)

    marked = (_marked(model, window) for window in windows)
    tokens, longest = stream.tokens_together(), model.config.max_positions
    found = computed_in_order(marked, longest, tokens, likelihood, lambda _: None)
    return np.fromiter((value for _, value in found), np.float32, len(windows))


def _marked(model: DNAModel, window: Window) -> Int32[np.ndarray, " L"]:
    """Ids, those that are to be predicted with a minus."""
    ids = model.ids_within_limit(window.codes, "the window").astype(np.int32)
    content = ids[1:-1]
    content[model.tokenizer.covering(content, window.first, window.first + window.length)] *= -1
    return ids


@functools.partial(jax.jit, static_argnums=0)
def _mean_log_probability(config: ModelConfig, parameters: Any, table: Array, hidden: Array, marked: Array) -> Array:
    logits = bind(MaskedLMHead, parameters, config)(hidden, table)
    is_marked = marked < 0
    own = jnp.take_along_axis(logits, jnp.where(is_marked, -marked, 0)[..., None], axis=-1)[..., 0]
    lost = jnp.where(is_marked, own - jax.nn.logsumexp(logits, axis=-1), 0)
    return lost.sum(axis=1) / jnp.maximum(is_marked.sum(axis=1), 1)
