"""Known motifs: what a MEME file or JASPAR says is what is read, in one order; another file is one sentence."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.motifs import database
from dnabert_jax.interpret.motifs.database import read_database
from tests.interpret.motifs.conftest import probabilities, random_known, write_meme

pytestmark = pytest.mark.usefixtures("uncompiled_memelite")


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


@pytest.mark.parametrize(
    ("find", "put", "sentence"),
    [
        ("MOTIF", "motif", "has no motif in MEME's format"),
        ("MOTIF R01", "MOTIF R00", "lists 3 motifs, but has 2 that are whole and named apart"),
        ("MOTIF R01", "MOTIF", "is not motifs of DNA in MEME's minimal format"),
        ("w= ", "width ", "is not motifs of DNA in MEME's minimal format"),
        ("0.970000 0.010000", "0.970000", "is not motifs of DNA in MEME's minimal format"),
        ("0.970000", "97", "has a motif, MA1, without probabilities of four bases"),
        ("0.970000", "nan", "has a motif, MA1, without probabilities of four bases"),
        ("0.010000 0.010000 0.970000 0.010000\n\n", "", "is not motifs|lists 3 motifs, but has 2"),
    ],
)
def test_a_file_that_is_none(find: str, put: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "known.meme"
    write_meme(path, {**random_known(2), "MA1 name": probabilities("ACG")})
    text = path.read_text()
    assert find in text
    path.write_text(text.replace(find, put))
    with pytest.raises(InputError, match=sentence):
        read_database(str(path))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nor 'jaspar': give one of the two"):
        read_database(str(tmp_path / "jaspar"))
    (tmp_path / "binary").write_bytes(b"MOTIF \xff\xfe")
    with pytest.raises(InputError, match="is not motifs of DNA"):
        read_database(str(tmp_path / "binary"))


def test_numba_finds_no_place_for_what_it_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memelite.py").write_text("raise RuntimeError('no locator available for tomtom.py')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "memelite"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"no locator available .* set NUMBA_CACHE_DIR to a writable directory"):
        read_database("jaspar")


def test_jaspar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyjaspar", reason="pyjaspar, which is 136 MB, is not installed: pip install pyjaspar")
    monkeypatch.setattr(database, "_TAX_GROUP", "diatoms")  # one, where vertebrates are 1,019: they take ten seconds
    known = read_database("jaspar")
    assert known.source == "JASPAR2026 CORE, diatoms"
    assert known.ids == ("MA1407.2",)
