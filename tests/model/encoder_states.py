"""All that an encoder computes on its way: what the network and inference give of it is compared with this."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dnabert_jax.model.attention import xla_attention
from dnabert_jax.model.backbone import Backbone, Layer
from dnabert_jax.model.segments import read_segments


class EncoderStates(NamedTuple):
    """Hidden states, [layers + 1, B, L, H], and attention, [layers, B, N, L, L], queries before keys."""

    hidden: jax.Array
    attention: jax.Array


def encoder_states(encoder: Backbone, ids: jax.Array) -> EncoderStates:
    segments = read_segments(ids)

    def one_layer(x: jax.Array, layer: Layer) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        attention = layer.attention.probabilities(layer.attended(x), segments)
        return layer(x, segments, xla_attention, None), (x, attention)

    last, (inputs, attention) = jax.lax.scan(one_layer, encoder.embeddings(ids, segments, None), encoder.layers)
    last = last if encoder.norm is None else encoder.norm(last)
    return EncoderStates(jnp.concatenate([inputs, last[None]]), attention)
