"""Pieces hold every k-mer once, in order, and end as the original's do."""

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP
from dnabert_jax.sequence.windows import cut_into_pieces


@pytest.mark.parametrize(("count", "used"), [(1, 1), (9, 1), (10, 2), (11, 2), (19, 2), (20, 3), (29, 3), (30, 3)])
def test_pieces_hold_every_kmer_once(count: int, used: int) -> None:
    """Pieces of 12 tokens hold 10 k-mers; 10 and 20 fill theirs and are followed by a [CLS] [SEP]."""
    kmers = np.arange(NUM_SPECIAL, NUM_SPECIAL + count, dtype=np.uint16)
    pieces = cut_into_pieces(kmers, 3, 12)
    assert pieces.shape == (3, 12)
    assert pieces[pieces >= NUM_SPECIAL].tolist() == kmers.tolist()
    assert (pieces[:, 0] == CLS).tolist() == [number < used for number in range(3)]
    assert (pieces == SEP).sum() == used
    for piece in pieces:
        tokens = piece[piece != PAD]
        assert (piece[len(tokens) :] == PAD).all()
        assert len(tokens) == 0 or tokens[-1] == SEP


def test_a_sequence_that_the_pieces_do_not_hold_is_refused() -> None:
    with pytest.raises(InputError, match="31 k-mers, more than the 30 of 3 x 12 tokens"):
        cut_into_pieces(np.full(31, NUM_SPECIAL), 3, 12)
