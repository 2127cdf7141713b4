"""Batches of like length: little padding, few shapes, every sequence once, results in order."""

from collections.abc import Iterator

import numpy as np
import pytest

from dnabert_jax.sequence.buckets import batches_by_length, bucket, computed_in_order
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP


def rows(lengths: list[int]) -> list[np.ndarray]:
    """Ids that tell which sequence they are of."""
    return [np.array([CLS, *[NUM_SPECIAL + n] * (length - 2), SEP], np.int32) for n, length in enumerate(lengths)]


@pytest.mark.parametrize(("longest", "most"), [(512, 32), (4096, 56), (100, 13)])
def test_a_bucket_has_little_padding_and_there_are_few(longest: int, most: int) -> None:
    found = {length: bucket(length, longest) for length in range(3, longest + 1)}
    for length, padded in found.items():
        assert length <= padded <= longest
        assert padded - length <= max(7, padded / 8)
    assert len(set(found.values())) == most


def test_each_sequence_is_in_one_batch_that_holds_no_more_tokens_than_it_may() -> None:
    lengths = np.random.default_rng(0).integers(3, 513, 300).tolist()
    sequences = rows(lengths)
    seen: list[int] = []
    computed = 0
    for members, ids in batches_by_length(sequences, 512, 1024):
        assert ids.size <= 1024
        computed += ids.size
        for row, member in zip(ids, members, strict=False):
            assert row[: lengths[member]].tolist() == sequences[member].tolist()
            assert (row[lengths[member] :] == PAD).all()
        assert (ids[len(members) :] == PAD).all()
        seen += members
    assert sorted(seen) == list(range(300))
    assert computed < 1.1 * sum(lengths)


def test_a_single_sequence_is_not_padded_with_rows() -> None:
    ((members, ids),) = batches_by_length(rows([20]), 512, 10_000)
    assert (members, ids.shape) == ([0], (1, 24))
    ((members, ids),) = batches_by_length(rows([20, 20, 20]), 512, 640)
    assert ids.shape == (3, 24)
    ((_, ids),) = batches_by_length(rows([512]), 512, 100)
    assert ids.shape == (1, 512)


def test_rows_of_few_lengths_are_not_padded_and_those_of_many_have_few_shapes() -> None:
    lengths: dict[int, int] = {}
    sequences = rows([57] * 20 + [56] * 9 + [297] * 3 + [296] * 3)
    batches = list(batches_by_length(sequences, 512, 512, lengths=lengths))
    assert [ids.shape for _, ids in batches] == [(1, 297)] * 6 + [(8, 57)] * 3 + [(9, 56)]
    for members, ids in batches:
        for row, member in zip(ids, members, strict=False):
            assert row[row != PAD].tolist() == sequences[member].tolist()
    # Later ones are padded as these were, or, if longer, to the bucket's length.
    later = [ids.shape for _, ids in batches_by_length(rows([298, 290, 64, 50]), 512, 512, lengths=lengths)]
    assert later == [(1, 320), (1, 297), (2, 64)]
    draw = np.random.default_rng(0)
    for _ in range(100):
        several = rows(draw.integers(3, 512, 20).tolist())
        padded = {ids.shape[1] for _, ids in batches_by_length(several, 512, 512, lengths=lengths)}
        assert padded <= {*lengths, *lengths.values()}
    assert len(lengths) <= 32


@pytest.mark.parametrize("most_tokens", [None, 200])
def test_results_come_in_order_and_little_is_read_ahead_or_where_they_are_large_in_memory(
    most_tokens: int | None,
) -> None:
    count = 500 if most_tokens else 10_000
    lengths = np.random.default_rng(1).integers(3, 40, count).tolist()
    read, done = 0, []

    def source() -> Iterator[np.ndarray]:
        nonlocal read
        for row in rows(lengths):
            read += 1
            yield row

    results = computed_in_order(source(), 64, 512, lambda ids: ids.max(axis=1), done.append, most_tokens)
    for number, (ids, largest) in enumerate(results):
        assert len(ids) == lengths[number]
        assert largest == max(NUM_SPECIAL + number if lengths[number] > 2 else 0, SEP)
        assert read - number <= 4096
        assert not most_tokens or sum(lengths[number:read]) < most_tokens + 40
    assert number == count - 1
    assert sum(done) == count
    assert list(computed_in_order([], 64, 512, lambda ids: ids, done.append)) == []
