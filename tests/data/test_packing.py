"""Packing places every sequence once, whole, and wastes little."""

import numpy as np
import pytest

from dnabert_jax.data.packing import best_fit, fill_rows
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP


def sequences_of(rows: np.ndarray) -> list[tuple[int, ...]]:
    """The k-mers between each [CLS] and [SEP], read token by token."""
    found = []
    for row in rows.tolist():
        current: list[int] | None = None
        for token in row:
            if token == CLS:
                assert current is None
                current = []
            elif token == SEP:
                found.append(tuple(current or ()))
                current = None
            elif token == PAD:
                assert current is None
            else:
                assert current is not None
                current.append(token)
        assert current is None
    return found


@pytest.mark.parametrize("seed", range(5))
def test_items_lie_in_rows_without_overlap(seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(1, 33, 400)
    rows, offsets, num_rows = best_fit(sizes, 32)
    used = np.zeros((num_rows, 32), int)
    for row, offset, size in zip(rows, offsets, sizes, strict=True):
        assert offset + size <= 32
        used[row, offset : offset + size] += 1
    assert used.max() == 1
    assert used.any(axis=1).all()
    # Best-fit decreasing needs at most 11/9 of the least possible number of rows, and one more.
    assert num_rows <= 11 / 9 * np.ceil(sizes.sum() / 32) + 1


@pytest.mark.parametrize("packed", [True, False])
def test_rows_hold_each_sequence_once(packed: bool) -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(NUM_SPECIAL, 69, 1000).astype(np.uint16)
    counts = rng.integers(1, 63, 60)
    starts = rng.integers(0, 1000 - counts)
    rows = fill_rows(ids, starts, counts, 64, packed)
    expected = sorted(tuple(ids[s : s + c].tolist()) for s, c in zip(starts, counts, strict=True))
    assert sorted(sequences_of(rows)) == expected
    if not packed:
        assert len(rows) == 60
        assert (rows[:, 0] == CLS).all()


def test_a_sequence_may_fill_a_row() -> None:
    rows = fill_rows(np.full(62, NUM_SPECIAL, np.uint16), np.array([0]), np.array([62]), 64)
    assert rows.tolist() == [[CLS, *[NUM_SPECIAL] * 62, SEP]]
