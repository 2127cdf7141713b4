"""Packing places every sequence once, whole, and wastes little."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dnabert_jax.data.packing import best_fit, fill_rows
from dnabert_jax.sequence.tokenizer import window_positions
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP


def sequences_of(rows: np.ndarray) -> list[tuple[int, ...]]:
    """The k-mers between each [CLS] and [SEP] of rows that hold nothing else before their padding."""
    sequences = []
    for row in rows.tolist():
        text = "".join({CLS: "[", SEP: "]", PAD: "."}.get(token, "k") for token in row)
        assert re.fullmatch(r"(\[k+\])*\.*", text)
        sequences += [tuple(row[slice(*match.span(1))]) for match in re.finditer(r"\[(k+)\]", text)]
    return sequences


@given(st.lists(st.integers(1, 32), min_size=1, max_size=200))
def test_items_lie_in_rows_without_overlap(drawn: list[int]) -> None:
    sizes = np.array(drawn)
    rows, offsets, num_rows = best_fit(sizes, 32)
    used = np.zeros((num_rows, 32), int)
    for row, offset, size in zip(rows, offsets, sizes, strict=True):
        assert offset + size <= 32
        used[row, offset : offset + size] += 1
    assert used.max() == 1
    assert used.any(axis=1).all()
    # Best-fit decreasing needs at most 11/9 of the least possible number of rows, and one more.
    assert num_rows <= 11 / 9 * np.ceil(sizes.sum() / 32) + 1


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), min_size=1, max_size=60), st.booleans())
def test_rows_hold_each_sequence_once(drawn: list[tuple[int, int]], packed: bool) -> None:
    ids = np.random.default_rng(1).integers(NUM_SPECIAL, 69, 230).astype(np.uint16)
    starts, counts = np.array(drawn).T
    rows = fill_rows(ids[window_positions(starts, counts)], counts, 32, (SEP,), packed)
    expected = sorted(tuple(ids[start : start + count].tolist()) for start, count in drawn)
    assert sorted(sequences_of(rows)) == expected
    assert packed or len(rows) == len(drawn)
    assert (rows[:, 0] == CLS).all()
