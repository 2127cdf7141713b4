"""The structure of packed rows, against a token-by-token reading."""

import jax.numpy as jnp
import numpy as np

from dnabert_jax.model.segments import attention_mask, read_segments
from dnabert_jax.sequence.vocabulary import CLS, MASK, PAD, SEP


def test_segments_of_a_row() -> None:
    row = [CLS, 9, SEP, CLS, MASK, 1, 11, SEP, PAD, PAD]
    segments = read_segments(jnp.array([row]))
    assert segments.ids.tolist() == [[1, 1, 1, 2, 2, 2, 2, 2, 0, 0]]
    assert segments.positions[0, :8].tolist() == [0, 1, 2, 0, 1, 2, 3, 4]


def test_a_token_sees_its_own_sequence_only() -> None:
    mask = attention_mask(jnp.array([[1, 1, 2, 2, 0]]))
    expected = np.zeros((5, 5), bool)
    expected[:2, :2] = expected[2:4, 2:4] = expected[4, 4] = True
    assert np.array_equal(mask[0, 0], expected)
