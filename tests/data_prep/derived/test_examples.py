"""Which of several examples is kept, and where windows may lie."""

import numpy as np

from data_prep.derived.contigs import Contig, Regions
from data_prep.derived.examples import Examples, canonical_sequences, first_of_each, smallest_keys
from data_prep.derived.negatives import usable
from dnabert_jax.sequence.bases import base_codes, reverse_complement


def examples_of(sequences: list[str], labels: list[int], keys: list[float]) -> Examples:
    count = len(sequences)
    return Examples(
        contig=np.zeros(count, np.int32),
        start=np.arange(count),
        reverse=np.zeros(count, bool),
        label=np.array(labels, np.int8),
        group=np.zeros(count, np.int8),
        origin=np.zeros(count, np.int8),
        key=np.array(keys),
        codes=np.array([base_codes(sequence.encode()) for sequence in sequences]),
    )


def test_both_strands_have_one_canonical_sequence() -> None:
    rng = np.random.default_rng(0)
    # Of few bases, so that many begin as their reverse complement does, and some are their own.
    codes = rng.integers(0, 2, (500, 6), np.uint8)
    other = np.array([reverse_complement(row) for row in codes])
    canonical = canonical_sequences(codes)
    assert np.array_equal(canonical, canonical_sequences(other))
    assert all(row.tolist() in pair.tolist() for row, pair in zip(canonical, np.stack([codes, other], 1), strict=True))


def test_of_equal_sequences_the_first_positive_is_kept() -> None:
    sequences = ["AAC", "GTT", "AAC", "GGG", "CCC", "ACG"]
    found = first_of_each(examples_of(sequences, [0, 1, 2, 0, 0, 0], [0.0] * 6))
    assert found.tolist() == [False, True, False, True, False, True]


def test_smallest_keys_of_each_label() -> None:
    found = smallest_keys(examples_of(["A", "C", "G", "T", "A"], [0, 1, 0, 0, 1], [0.9, 0.8, 0.1, 0.5, 0.7]), 2)
    assert found.start.tolist() == [1, 2, 3, 4]
    assert smallest_keys(found, 1).start.tolist() == [2, 4]


def test_usable_windows_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    text = "".join(rng.choice(list("ACGTN"), 400, p=[0.24, 0.24, 0.24, 0.24, 0.04]))
    starts = np.arange(-10, 410)
    avoided = [Regions([(50, 60)]), Regions([(200, 230)])]
    found = usable(Contig("a", base_codes(text.encode())), starts, 12, avoided)
    expected = [
        0 <= start <= len(text) - 12
        and "N" not in text[start : start + 12]
        and (start + 12 <= 50 or start >= 60)
        and (start + 12 <= 200 or start >= 230)
        for start in starts.tolist()
    ]
    assert found.tolist() == expected
    assert 50 < sum(expected) < 300
    assert Contig("a", np.zeros(12, np.uint8)).inside(np.arange(-1, 2), 12).tolist() == [False, True, False]
