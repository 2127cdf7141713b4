"""Known motifs: what a MEME file or JASPAR says is what is read, in one order; another file is one sentence."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.motifs import database
from dnabert_jax.interpret.motifs.database import read_database
from dnabert_jax.interpret.motifs.matching import check_memelite
from tests.interpret.motifs.conftest import probabilities, random_known, write_meme


def test_a_meme_file_is_read_in_the_order_of_ids(tmp_path: Path) -> None:
    written = {"MA2 SPI1 (var.2)": probabilities("AAAGAGGAAGTG"), **random_known(2), "MA1": probabilities("ACG")}
    write_meme(tmp_path / "known.meme", written, url="URL https://example.org/MA2\n")
    known = read_database(str(tmp_path / "known.meme"))
    assert (known.source, known.ids) == ("known.meme", ("MA1", "MA2", "R00", "R01"))
    assert known.names == ("MA1", "SPI1 (var.2)", "R00", "R01")
    ordered = sorted(written.items())
    for matrix, (_, expected) in zip(known.matrices, ordered, strict=True):
        np.testing.assert_allclose(matrix, expected, atol=2e-6)
        np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_what_a_file_lacks_is_noted(tmp_path: Path) -> None:
    write_meme(tmp_path / "known.meme", {"MA1": probabilities("ACG"), "MA2": probabilities("ACG")[:0]})
    known = read_database(str(tmp_path / "known.meme"))
    assert known.ids == ("MA1",)
    (note,) = known.notes
    assert "MA2" in note


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="jaspar"):
        read_database(str(tmp_path / "nothing"))


def test_numba_finds_no_place_for_what_it_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memelite.py").write_text("raise RuntimeError('no locator available for tomtom.py')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "memelite"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"no locator available .* NUMBA_CACHE_DIR"):
        check_memelite()


def test_jaspar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyjaspar", reason="pyjaspar, which is 136 MB, is not installed: pip install pyjaspar")
    monkeypatch.setattr(database, "_TAX_GROUP", "diatoms")  # one, where vertebrates are 1,019: they take ten seconds
    known = read_database("jaspar")
    assert known.source == "JASPAR2026 CORE, diatoms"
    assert known.ids == ("MA1407.2",)
