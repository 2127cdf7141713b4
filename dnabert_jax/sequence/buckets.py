"""Sequences of many lengths to padded batches of a few shapes, so that what is compiled for a shape is used again."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int32

from dnabert_jax.sequence.vocabulary import PAD

_WINDOW = 4096
"""Sequences that are sorted together."""

_SMALLEST_STEP = 8
_STEPS_AN_OCTAVE = 8

_Item = TypeVar("_Item")


class Batch(NamedTuple):
    """Rows of one length.

    Attributes:
        members: which of the sequences the first rows are; the rest is padding.
        ids: padded.
    """

    members: list[int]
    ids: Int32[np.ndarray, "B L"]


def bucket(length: int, longest: int) -> int:
    """The length to which rows of `length` tokens are padded: 8 lengths from one power of two to the next.

    Padding is at most an eighth, or 7 tokens. Up to 512 there are 32 lengths.
    """
    step = max(_SMALLEST_STEP, 2 ** (length - 1).bit_length() // 2 // _STEPS_AN_OCTAVE)
    return min(-(-length // step) * step, longest)


def batches_by_length(
    rows: Sequence[Int32[np.ndarray, " _"]], longest: int, tokens: int, lengths: dict[int, int] | None = None
) -> Iterator[Batch]:
    """Batches of like length, the longest first.

    A batch has as many rows as `tokens` hold of its length; where the sequences end, that is halved as often as it may.
    So there are no more shapes than buckets, and a few for the ends.

    Args:
        tokens: of a batch, padding included; a row is never divided.
        lengths: for rows of few lengths: that to which rows of a bucket are padded instead of the bucket's, if they are
            no longer. A bucket that is not in it is entered with the longest of these rows; so of all calls that are
            given it, there are at most twice as many lengths as buckets.
    """
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    first = 0
    while first < len(order):
        own = len(rows[order[first]])
        length = bucket(own, longest)
        if lengths is not None and own <= (usual := lengths.setdefault(length, own)):
            length = usual
        count = max(1, tokens // length)
        members = order[first : first + count]
        while count // 2 >= len(members):
            count //= 2
        ids = np.full((count, length), PAD, np.int32)
        for padded, member in zip(ids, members, strict=False):
            padded[: len(rows[member])] = rows[member]
        yield Batch(members, ids)
        first += len(members)


def computed_in_order(
    sequences: Iterable[Int32[np.ndarray, " _"]],
    longest: int,
    tokens: int,
    compute: Callable[[Int32[np.ndarray, "B L"]], Any],
    advance: Callable[[int], object],
    most_tokens: int | None = None,
    lengths: dict[int, int] | None = None,
) -> Iterator[tuple[Int32[np.ndarray, " _"], np.ndarray]]:
    """Each sequence and its result, in their order; a few thousand are in memory at a time.

    Args:
        compute: padded ids to an array with a row of results each, which may still be under way.
        most_tokens: of sequences in memory at a time, but for the last one, where results are large.
    """
    for window in _windows(sequences, most_tokens):
        results: dict[int, np.ndarray] = {}
        started = ((batch.members, compute(batch.ids)) for batch in batches_by_length(window, longest, tokens, lengths))
        # Pairs, so that the device has the next batch to do while the results of one are fetched.
        for batch, _ in itertools.pairwise(itertools.chain(started, [([], None)])):
            members, rows = batch
            results.update(zip(members, np.asarray(rows), strict=False))
            advance(len(members))
        yield from ((ids, results[number]) for number, ids in enumerate(window))


def groups(items: Iterable[_Item], size: Callable[[_Item], int], least: int) -> Iterator[list[_Item]]:
    """Yields the items in a row in lists, each closed when its sizes sum to `least`; the last may have less."""
    group: list[_Item] = []
    held = 0
    for item in items:
        group.append(item)
        held += size(item)
        if held >= least:
            yield group
            group, held = [], 0
    if group:
        yield group


def _windows(
    sequences: Iterable[Int32[np.ndarray, " _"]], most_tokens: int | None
) -> Iterator[list[Int32[np.ndarray, " _"]]]:
    """What is sorted together."""
    window: list[Int32[np.ndarray, " _"]] = []
    tokens = 0
    for ids in sequences:
        window.append(ids)
        tokens += len(ids)
        if len(window) == _WINDOW or (most_tokens is not None and tokens >= most_tokens):
            yield window
            window, tokens = [], 0
    if window:
        yield window
