"""Files of scores have what was written, are read whole or refused, and are made in constant memory."""

import errno
import os
import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyBigWig
import pytest

from dnabert_jax.errors import InputError, JobError
from dnabert_jax.interpret import score_files
from dnabert_jax.interpret.score_files import BaseScores, read_score_file
from dnabert_jax.io.bed import Interval
from dnabert_jax.io.tables import open_table
from dnabert_jax.sequence.bases import base_codes

MODISCO = ("ohe.npz", "contributions.npz")


def scored(name: str, text: str) -> BaseScores:
    """Returns the scores 1, 2, 3, ..."""
    return BaseScores(name, base_codes(text.encode()), np.arange(1, len(text) + 1, dtype=np.float32))


def test_tfmodisco_gets_the_bases_that_are_there_and_their_scores(tmp_path: Path) -> None:
    rows = [scored("one", "ACNGT"), scored('t"w\to', "TCA"), scored("three", "AAAA")]
    assert score_files.write_modisco_input(tmp_path / "x", iter(rows)) == (6, 2)
    one_hot, contributions = (np.load(tmp_path / "x" / name)["arr_0"] for name in MODISCO)
    assert (one_hot.dtype, contributions.dtype) == (np.int8, np.float32)
    assert one_hot.shape == contributions.shape == (3, 4, 6)
    letters = [["".join("ACGT"[base] for base in np.flatnonzero(column)) for column in row.T] for row in one_hot]
    assert letters == [["A", "C", "", "G", "T", ""], ["T", "C", "A", "", "", ""], ["A", "A", "A", "A", "", ""]]
    assert contributions.sum(axis=1).tolist() == [[1, 2, 0, 4, 5, 0], [1, 2, 3, 0, 0, 0], [1, 2, 3, 4, 0, 0]]
    assert np.array_equal(contributions != 0, one_hot == 1)
    lines = ["id\tbases", "one\t5", '"t""w\to"\t3', "three\t4"]
    assert (tmp_path / "x" / "sequences.tsv").read_text().splitlines() == lines
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == sorted([*MODISCO, "sequences.tsv"])
    # With effects, of every base in each place.
    effects = np.float32([[0, -3, -1, -4], [2, 0, 1, 1], [4, -2, 1, 1]])
    score_files.write_modisco_input(tmp_path / "y", [scored("one", "ACN")._replace(effects=effects)])
    contributions = np.load(tmp_path / "y" / MODISCO[1])["arr_0"]
    assert contributions[0].T.tolist() == [[2, -1, 1, -2], [1, -1, 0, 0], [3, -3, 0, 0], [0, 0, 0, 0]]
    assert score_files.write_modisco_input(tmp_path / "none", []) == (0, 0)
    assert np.load(tmp_path / "none" / MODISCO[0])["arr_0"].shape == (0, 4, 0)


def test_scores_that_are_not_finite_leave_no_file(tmp_path: Path) -> None:
    rows = [scored("one", "A"), scored("two", "A")._replace(scores=np.float32([np.nan]))]
    with pytest.raises(JobError, match="two"):
        score_files.write_modisco_input(tmp_path / "x", rows)
    with pytest.raises(JobError, match="two"):
        score_files.write_score_npz(tmp_path / "x", rows, with_effects=False)
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_sequences(tmp_path: Path) -> None:
    row = scored("one", "ACGT" * 100)
    score_files.write_modisco_input(tmp_path / "warm", [row])
    tracemalloc.start()
    score_files.write_modisco_input(tmp_path / "x", (row for _ in range(1000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "x" / "contributions.npz").stat().st_size > 6_000_000
    assert peak < 2_500_000


def test_a_track_has_the_means_of_more_records_than_files_may_be_open(tmp_path: Path) -> None:
    lengths = {f"scaffold{number}": 10 + number % 3 for number in range(300)}
    expected, intervals, rows = {}, [], []
    for number, (record, length) in enumerate(lengths.items()):
        # The last and the first base of neighbours, so that nothing of one is counted to the other.
        places = [(0, "+", number, number + 1), (length - 2, "-", -number, 0.5)]
        expected[record] = [number, number + 1, *[np.nan] * (length - 4), 0.5, -number]
        if number == 3:
            places.append((1, ".", 0, 8))
            expected[record][1:3] = [2, 8]
        intervals += [Interval(record, start, start + 2, "", strand, None, 0, []) for start, strand, *_ in places]
        rows += [BaseScores("", np.zeros(2, np.uint8), np.float32(scores)) for _, _, *scores in places]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 32, limits[1]))
    try:
        written = score_files.write_score_track(tmp_path / "x.bw", lengths, iter(rows), intervals)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert written == (4 * len(lengths) + 1, 1)
    with pyBigWig.open(str(tmp_path / "x.bw")) as track:
        assert track.chroms() == lengths
        for record, values in expected.items():
            np.testing.assert_array_equal(track.values(record, 0, lengths[record]), values)


def arrays(**changed: Any) -> dict[str, Any]:
    whole = {"ids": np.array(["a", "b"]), "bases": np.array([*"ACGTN"], "S1"), "offsets": np.array([0, 2, 5])}
    return whole | {"scores": np.arange(5.0), "effects": np.ones((5, 4), np.float32)} | changed


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_refused(tmp_path: Path, save: Callable[..., None]) -> None:
    """Some bytes mean nothing to a reader; whichever is changed, nothing but InputError comes of it."""
    save(tmp_path / "whole.npz", **arrays())
    assert read_score_file(tmp_path / "whole.npz", with_bases=True).bases == "ACGTN"
    whole, damaged, refused = (tmp_path / "whole.npz").read_bytes(), tmp_path / "damaged.npz", 0
    for place in range(len(whole)):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_score_file(damaged, with_bases=True)
        except InputError:
            refused += 1
    assert refused > len(whole) / 2


def test_a_disk_that_fails_is_no_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "scores.npz", **arrays())
    monkeypatch.setattr(np, "load", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        read_score_file(tmp_path / "scores.npz")


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({"ids": np.array(["a"], object)}, "npz"),
        ({"ids": np.array("a")}, r"ids \(\)"),
        ({"offsets": np.arange(3)}, "5"),
        ({"offsets": np.array([0, 7, 5], np.uint64)}, "5"),
        ({"offsets": np.array([0, 5])}, r"\(2,\)"),
        ({"scores": np.array([0, 1, np.nan, 3, 4])}, "nan.*'b'"),
        ({"scores": np.full(5, 1e300)}, "inf.*'a'"),
        ({"scores": np.ones((5, 1))}, r"\(5, 1\)"),
        ({"bases": np.array([*"ACG<N"], "S1")}, "5 "),
        ({"effects": np.full((5, 4), "x")}, "effects"),
        ({"effects": np.ones((5, 3))}, r"\(5, 3\)"),
        ({"effects": np.full((5, 4), 1e300)}, "effects"),
        ({"bases": None}, "bases"),
        (None, "x.npz"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, changed: dict[str, Any] | None, value: str) -> None:
    with (tmp_path / "x.npz").open("wb") as file:
        if changed is None:
            np.save(file, np.ones(5))
        else:
            np.savez(file, **{name: array for name, array in arrays(**changed).items() if array is not None})
    with pytest.raises(InputError, match=value):
        read_score_file(tmp_path / "x.npz", with_bases=True)


def test_sequences_without_scores_are_named(tmp_path: Path) -> None:
    for ids, names, lengths, value in (
        (["a", "a"], ["a", "b"], [2, 3], "'a'"),
        (["a", "b"], ["c"], [2], "'c'"),
        (["a", "b"], ["b", "a"], [2, 2], "3 .*'b'.* 2 "),
    ):
        np.savez(tmp_path / "x.npz", **arrays(ids=np.array(ids)))
        with pytest.raises(InputError, match=value):
            read_score_file(tmp_path / "x.npz").by_name(names, np.array(lengths))


def test_names_that_are_not_utf8_are_written_so_that_they_can_be_read_and_looked_up(tmp_path: Path) -> None:
    """As in a FASTA file in Latin-1: such a byte is a surrogate in the program, and no file may hold one."""
    names = ["Epichloë", "Epichlo\udceb", "plain"]
    rows = [BaseScores(name, np.zeros(2, np.uint8), np.full(2, row, np.float32)) for row, name in enumerate(names)]
    score_files.write_score_npz(tmp_path / "x.npz", rows, with_effects=False)
    scores = read_score_file(tmp_path / "x.npz")
    assert [name.encode() for name in scores.names] == ["Epichloë".encode(), rb"Epichlo\xeb", b"plain"]
    assert [values[0] for values in scores.by_name(names[::-1], np.full(3, 2))] == [2, 1, 0]
    for kind in "tsv", "parquet":
        score_files.write_score_table(tmp_path / f"x.{kind}", rows, with_effects=False)
        table = open_table(tmp_path / f"x.{kind}")
        ids = [value for (column,) in table.batches(["id"]) for value in column.to_pylist()]
        assert ids[::2] == list(scores.names)
