"""Several sequences in one row of fixed length, so that next to no position is padding.

A row is [CLS] tokens [SEP] [CLS] tokens [SEP] ... [PAD], or without [SEP] where a tokenizer has none; nothing else
marks where a sequence begins, as a [CLS] does.
`dnabert_jax.model.segments` reads that structure back on the device.
"""

import numpy as np
from jaxtyping import Int, UInt16

from dnabert_jax.sequence.tokenizer import window_positions
from dnabert_jax.sequence.vocabulary import CLS


def best_fit(sizes: Int[np.ndarray, " n"], capacity: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], int]:
    """Places items by best-fit decreasing: each, largest first, goes where it leaves the least room.

    The open rows of each remaining size are a stack, and one big integer has a bit for every size that has an open
    row, so that an item is placed in constant time.

    Returns:
        The row of each item, its offset in the row, and the number of rows.
    """
    rows = np.zeros(len(sizes), np.int64)
    offsets = np.zeros(len(sizes), np.int64)
    open_rows: list[list[int]] = [[] for _ in range(capacity + 1)]
    occupied = 0
    num_rows = 0
    for item in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[item])
        fitting = occupied >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            row = open_rows[room].pop()
            if not open_rows[room]:
                occupied ^= 1 << room
        else:
            room, row, num_rows = capacity, num_rows, num_rows + 1
        rows[item], offsets[item] = row, capacity - room
        left = room - size
        if left:
            open_rows[left].append(row)
            occupied |= 1 << left
    return rows, offsets, num_rows


def fill_rows(
    ids: UInt16[np.ndarray, " m"],
    counts: Int[np.ndarray, " n"],
    row_length: int,
    suffix: tuple[int, ...],
    packed: bool = True,
) -> UInt16[np.ndarray, "R L"]:
    """Returns rows that hold sequences, each between [CLS] and the suffix.

    Args:
        ids: of all sequences, end to end.
        counts: tokens of each sequence, at least 1; with the special ones at most row_length.
        suffix: special tokens behind each sequence.
    """
    sizes = counts + 1 + len(suffix)
    one_a_row = np.arange(len(sizes)), np.zeros(len(sizes), np.int64), len(sizes)  # the layout of the original
    place, offsets, num_rows = best_fit(sizes, row_length) if packed else one_a_row
    rows = np.zeros((num_rows, row_length), np.uint16)
    flat = rows.reshape(-1)
    first = place * row_length + offsets
    flat[first] = CLS
    for number, token in enumerate(suffix, 1):
        flat[first + counts + number] = token
    flat[window_positions(first + 1, counts)] = ids
    return rows
