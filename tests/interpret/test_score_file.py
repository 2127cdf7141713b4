"""A file of scores is read whole or refused in a sentence."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.base_scores import BaseScores, write_score_npz, write_score_table
from dnabert_jax.interpret.score_file import read_score_file
from dnabert_jax.io.tables import open_table


def arrays(**changed: np.ndarray) -> dict[str, np.ndarray]:
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
    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    np.savez(tmp_path / "scores.npz", **arrays())
    monkeypatch.setattr(np, "load", failing)
    with pytest.raises(OSError, match="Input/output error"):
        read_score_file(tmp_path / "scores.npz")


def test_one_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(5))
    with pytest.raises(InputError, match="is one array"):
        read_score_file(tmp_path / "x.npy")


@pytest.mark.parametrize("effects", [np.full((5, 4), "x"), np.ones((5, 3)), np.full((5, 4), 1e300)])
def test_effects_are_four_finite_numbers_for_each_base(tmp_path: Path, effects: np.ndarray) -> None:
    np.savez(tmp_path / "scores.npz", **arrays(effects=effects))
    with pytest.raises(InputError, match="not four finite numbers for each base"):
        read_score_file(tmp_path / "scores.npz", with_bases=True)


def test_names_that_are_not_utf8_are_written_so_that_they_can_be_read_and_looked_up(tmp_path: Path) -> None:
    """As in a FASTA file in Latin-1: such a byte is a surrogate in the program, and no file may hold one."""
    names = ["Epichloë", "Epichlo\udceb", "plain"]
    rows = [
        BaseScores(name, np.zeros(2, np.uint8), np.full(2, number, np.float32)) for number, name in enumerate(names)
    ]
    write_score_npz(tmp_path / "x.npz", rows, with_effects=False)
    found = read_score_file(tmp_path / "x.npz")
    assert [name.encode() for name in found.names] == ["Epichloë".encode(), rb"Epichlo\xeb", b"plain"]
    assert [scores[0] for scores in found.of(names[::-1], np.full(3, 2))] == [2, 1, 0]
    for kind in "tsv", "parquet":
        write_score_table(tmp_path / f"x.{kind}", rows, with_effects=False)
        table = open_table(tmp_path / f"x.{kind}")
        ids = [value for (column,) in table.batches(["id"]) for value in column.to_pylist()]
        assert ids[::2] == list(found.names)
