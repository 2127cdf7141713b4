"""Windows and pieces hold every token of a long sequence, and overlap as stated."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP
from dnabert_jax.sequence.windows import Windows, cut_into_pieces

WINDOWS = st.integers(1, 40).flatmap(lambda size: st.builds(Windows, st.just(size), st.integers(0, size - 1)))
COUNTS = st.integers(1, 150)


def tokens_of(count: int) -> np.ndarray:
    """Ids that say which token each is."""
    return np.arange(NUM_SPECIAL, NUM_SPECIAL + count, dtype=np.int32)


@given(WINDOWS, COUNTS)
@example(Windows(510, 63), 1307)
def test_windows_cover_all_tokens_and_overlap_as_stated(windows: Windows, count: int) -> None:
    cut = windows.cut(tokens_of(count), (SEP,))
    assert len(cut) == windows.count(np.array([count]))[0]
    held = [row[1:-1].tolist() for row in cut]
    assert (cut[:, 0] == CLS).all()
    assert (cut[:, -1] == SEP).all()
    # Each holds consecutive tokens, as many as a window has if the sequence has them.
    assert all(row == list(range(row[0], row[0] + min(count, windows.size))) for row in held)
    shared = [len(set(row) & set(following)) for row, following in itertools.pairwise(held)]
    assert all(number == windows.overlap for number in shared[:-1])
    assert all(windows.overlap <= number < windows.size for number in shared)
    assert set().union(*held) == set(tokens_of(count).tolist())
    # And there are no more than needed.
    assert len(cut) == 1 or windows.kmers(len(cut) - 1) < count <= windows.kmers(len(cut))


@given(WINDOWS, st.lists(COUNTS, min_size=1, max_size=5), st.integers(0, 3))
def test_rows_of_many_sequences_are_those_of_each_and_padding(windows: Windows, drawn: list[int], more: int) -> None:
    counts, sequences = np.array(drawn), [tokens_of(count) + 200 * place for place, count in enumerate(drawn)]
    ids = np.concatenate([part for tokens in sequences for part in ([CLS], tokens, [SEP])]).astype(np.uint16)
    shape = int(windows.count(counts).max()) + more, min(max(drawn), windows.size) + 2 + more
    rows = windows.rows(ids, np.cumsum([0, *(counts[:-1] + 2)]), counts, *shape, (SEP,))
    for row, tokens in zip(rows, sequences, strict=True):
        cut, expected = windows.cut(tokens, (SEP,)), np.full(shape, PAD)
        expected[: len(cut), : cut.shape[1]] = cut
        assert row.tolist() == expected.tolist()


@given(st.integers(1, 30))
def test_pieces_hold_every_token_once(count: int) -> None:
    """Pieces of 12 tokens hold 10; where 10 or 20 just fill theirs, one of [CLS] [SEP] follows, as in the original."""
    pieces, used = cut_into_pieces(tokens_of(count), 3, 12), min(count // 10 + 1, 3)
    assert pieces[pieces >= NUM_SPECIAL].tolist() == tokens_of(count).tolist()
    assert (pieces[:, 0] == CLS).tolist() == [number < used for number in range(3)]
    assert (pieces == SEP).sum() == used
    for piece in pieces:
        tokens = piece[piece != PAD]
        assert (piece[len(tokens) :] == PAD).all()
        assert len(tokens) == 0 or tokens[-1] == SEP


def test_a_sequence_that_the_pieces_do_not_hold_is_refused() -> None:
    with pytest.raises(InputError, match=r"31 .*30 .*3 rows of 12"):
        cut_into_pieces(np.full(31, NUM_SPECIAL), 3, 12)
