"""Windows cover every k-mer, share as many as stated, and need what lies beside them nowhere."""

import itertools

import numpy as np
import pytest

from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP
from dnabert_jax.sequence.windows import Windows


@pytest.mark.parametrize(("size", "overlap"), [(1, 0), (10, 0), (10, 1), (10, 7), (10, 9), (510, 63)])
def test_windows_cover_all_kmers_and_overlap_as_stated(size: int, overlap: int) -> None:
    windows = Windows(size, overlap)
    for count in (*range(1, 60), size, size + 1, 2 * size - overlap, 2 * size - overlap + 1, 1307):
        kmers = np.arange(NUM_SPECIAL, NUM_SPECIAL + count, dtype=np.int32)
        cut = windows.cut(kmers)
        assert len(cut) == windows.count(np.array([count]))[0]
        held = [row[1:-1].tolist() for row in cut]
        assert (cut[:, 0] == CLS).all()
        assert (cut[:, -1] == SEP).all()
        # Each holds consecutive k-mers, a window's worth if the sequence has them.
        assert all(len(own) == min(count, size) and own == list(range(own[0], own[0] + len(own))) for own in held)
        shared = [len(set(one) & set(other)) for one, other in itertools.pairwise(held)]
        assert all(number == overlap for number in shared[:-1])
        assert all(overlap <= number < size for number in shared)
        assert set().union(*held) == set(kmers.tolist())
        # And there are no more than needed.
        assert len(cut) == 1 or windows.kmers(len(cut) - 1) < count <= windows.kmers(len(cut))


def test_rows_of_many_sequences_are_those_of_each_and_padding() -> None:
    windows, counts = Windows(10, 3), np.array([4, 10, 11, 31])
    own = [
        np.arange(NUM_SPECIAL, NUM_SPECIAL + count, dtype=np.uint16) + 100 * place for place, count in enumerate(counts)
    ]
    ids = np.concatenate([part for kmers in own for part in ([CLS], kmers, [SEP])]).astype(np.uint16)
    begins = np.cumsum([0, *(counts[:-1] + 2)])
    rows = windows.rows(ids, begins, counts, 6, 14)
    assert (rows.shape, rows.dtype) == ((4, 6, 14), np.uint16)
    for row, kmers in zip(rows, own, strict=True):
        cut = windows.cut(kmers)
        expected = np.full((6, 14), PAD)
        expected[: len(cut), : cut.shape[1]] = cut
        assert row.tolist() == expected.tolist()
