"""What tfmodisco-lite reads: arr_0 of shape [N, 4, L], bases A, C, G, T; contributions of each base in each place."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.errors import JobError
from dnabert_jax.interpret.base_scores import BaseScores
from dnabert_jax.interpret.modisco_input import ModiscoInput, write_modisco_input
from dnabert_jax.sequence.bases import base_codes

FILES = ("ohe.npz", "contributions.npz")


def scored(name: str, text: str, effects: list[list[float]] | None = None) -> BaseScores:
    """With the scores 1, 2, 3, ..."""
    scores = np.arange(1, len(text) + 1, dtype=np.float32)
    return BaseScores(name, base_codes(text.encode()), scores, None if effects is None else np.float32(effects))


def read(directory: Path) -> list[np.ndarray]:
    return [np.load(directory / name)["arr_0"] for name in FILES]


def test_scores_are_contributions_of_the_bases_that_are_there(tmp_path: Path) -> None:
    rows = [scored("one", "ACNGT"), scored('t"w\to', "TCA"), scored("three", "AAAA")]
    assert write_modisco_input(tmp_path / "x", iter(rows)) == ModiscoInput(3, 6, 2)
    one_hot, contributions = read(tmp_path / "x")
    assert (one_hot.dtype, contributions.dtype) == (np.int8, np.float32)
    assert one_hot.shape == contributions.shape == (3, 4, 6)
    letters = [["".join("ACGT"[base] for base in np.flatnonzero(column)) for column in own.T] for own in one_hot]
    assert letters == [["A", "C", "", "G", "T", ""], ["T", "C", "A", "", "", ""], ["A", "A", "A", "A", "", ""]]
    assert contributions.sum(axis=1).tolist() == [[1, 2, 0, 4, 5, 0], [1, 2, 3, 0, 0, 0], [1, 2, 3, 4, 0, 0]]
    assert np.array_equal(contributions != 0, one_hot == 1)
    lines = ["id\tbases", "one\t5", '"t""w\to"\t3', "three\t4"]
    assert (tmp_path / "x" / "sequences.tsv").read_text().splitlines() == lines
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == sorted([*FILES, "sequences.tsv"])


def test_effects_are_contributions_of_every_base(tmp_path: Path) -> None:
    effects = [[0, -3, -1, -4], [2, 0, 1, 1], [4, -2, 1, 1]]
    write_modisco_input(tmp_path / "x", [scored("one", "ACN", effects)])
    one_hot, contributions = read(tmp_path / "x")
    assert contributions[0].T.tolist() == [[2, -1, 1, -2], [1, -1, 0, 0], [3, -3, 0, 0], [0, 0, 0, 0]]
    # What tfmodisco makes of it: three quarters of what the base adds to the mean of the three others.
    assert (one_hot * contributions).sum(axis=1).tolist() == [[2, -1, 0, 0]]


def test_no_sequence_and_no_number(tmp_path: Path) -> None:
    assert write_modisco_input(tmp_path / "x", []) == ModiscoInput(0, 0, 0)
    assert [array.shape for array in read(tmp_path / "x")] == [(0, 4, 0)] * 2
    with pytest.raises(JobError, match="scores of two are not finite"):
        write_modisco_input(
            tmp_path / "y", [scored("one", "A"), scored("two", "A")._replace(scores=np.float32([np.nan]))]
        )
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_memory_does_not_grow_with_the_sequences(tmp_path: Path) -> None:
    row = scored("one", "ACGT" * 100)
    write_modisco_input(tmp_path / "warm", [row])
    tracemalloc.start()
    write_modisco_input(tmp_path / "x", (row for _ in range(1000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "x" / "contributions.npz").stat().st_size > 6_000_000
    assert peak < 2_500_000
