"""The structure of a packed row, read off from its ids on the device.

B batch, L tokens.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP


class Segments(NamedTuple):
    """Which sequence each token belongs to, and its place in it.

    Attributes:
        ids: 1, 2, ... for the sequences of a row in order; 0 for padding.
        positions: 0 at each [CLS], counting on to its [SEP]; what they are on padding does not matter.
    """

    ids: Int[Array, "B L"]
    positions: Int[Array, "B L"]


def read_segments(input_ids: Int[Array, "B L"]) -> Segments:
    """Segments of packed rows: a sequence begins at each [CLS]."""
    place = jnp.arange(input_ids.shape[1], dtype=jnp.int32)
    begins = input_ids == CLS
    ids = jnp.where(input_ids == PAD, 0, jnp.cumsum(begins, axis=1, dtype=jnp.int32))
    start = jax.lax.cummax(jnp.where(begins, place, 0), axis=1)
    return Segments(ids, place - start)


def segment_sums(flags: Bool[Array, "B L"], segments: Segments) -> Int[Array, "B L"]:
    """Returns for each token the number of flags in its sequence."""
    count = flags.shape[1] + 1
    totals = jax.vmap(lambda row, ids: jax.ops.segment_sum(row.astype(jnp.int32), ids, count))(flags, segments.ids)
    return jnp.take_along_axis(totals, segments.ids, axis=1)


def attention_mask(segment_ids: Int[Array, "B L"]) -> Bool[Array, "B 1 L L"]:
    """True where a query (third axis) may attend to a key: inside its own sequence. Padding sees padding only."""
    return (segment_ids[:, :, None] == segment_ids[:, None, :])[:, None]


def spells_bases(input_ids: Int[Array, "*rows L"]) -> Bool[Array, "*rows L"]:
    """Returns whether each token spells bases, known or not: neither [CLS] nor [SEP] nor padding."""
    return (input_ids != PAD) & (input_ids != CLS) & (input_ids != SEP)
