"""Known motifs are read as their file has them; a planted one is the best match, at its place and on its strand."""

import sys
from pathlib import Path

import numpy as np
import pytest
from Bio.Seq import reverse_complement as other_strand

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.motifs import known_motifs
from dnabert_jax.interpret.motifs.known_motifs import KnownMotifs, Match, match_motifs, read_database
from dnabert_jax.interpret.motifs.search import Motif, Windows
from dnabert_jax.sequence.bases import base_codes
from tests.interpret.motifs.conftest import probabilities, random_known, write_meme

SITE = "GATTACAGG"


def test_a_meme_file_is_read_in_the_order_of_ids(tmp_path: Path) -> None:
    written = {"MA2 SPI1 (var.2)": probabilities("AAAGAGGAAGTG"), **random_known(2), "MA1": probabilities("ACG")}
    write_meme(tmp_path / "known.meme", {**written, "MA3": probabilities("A")[:0]}, url="URL https://example.org/MA2\n")
    known = read_database(str(tmp_path / "known.meme"))
    assert (known.source, known.ids) == ("known.meme", ("MA1", "MA2", "R00", "R01"))
    assert known.names == ("MA1", "SPI1 (var.2)", "R00", "R01")
    for matrix, (_, expected) in zip(known.matrices, sorted(written.items()), strict=True):
        np.testing.assert_allclose(matrix, expected, atol=2e-6)
        np.testing.assert_allclose(matrix.sum(axis=1), 1)
    (note,) = known.notes
    assert "MA3" in note
    with pytest.raises(InputError, match="jaspar"):
        read_database(str(tmp_path / "nothing"))


def test_numba_finds_no_place_for_what_it_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memelite.py").write_text("raise RuntimeError('no locator available for tomtom.py')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "memelite"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"no locator available .* NUMBA_CACHE_DIR"):
        known_motifs.check_memelite()


def test_jaspar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyjaspar", reason="pyjaspar, which is 136 MB, is not installed: pip install pyjaspar")
    # One motif, where vertebrates are 1,019: they take ten seconds.
    monkeypatch.setattr(known_motifs, "_TAX_GROUP", "diatoms")
    known = read_database("jaspar")
    assert (known.source, known.ids) == ("JASPAR2026 CORE, diatoms", ("MA1407.2",))


def known() -> KnownMotifs:
    matrices = {**random_known(30), "SITE": probabilities(SITE)}
    return KnownMotifs("of a test", tuple(matrices), tuple(name.lower() for name in matrices), tuple(matrices.values()))


def around(site: str, before: int, after: int) -> Motif:
    """A hundred windows with a site amid random bases."""
    flanks = np.random.default_rng(3).choice(list("ACGT"), size=(100, before + after))
    windows = ["".join([*row[:before], site, *row[before:]]) for row in flanks]
    codes, places = np.stack([base_codes(text.encode()) for text in windows]), np.zeros(100, np.int64)
    none = np.zeros((0, 3), np.int64)
    whole = Windows(places, places, places, places > 0, codes, none, none)
    return Motif(windows[0], (windows[0],), 1, 0, 0.5, 0.5, whole)


@pytest.fixture(scope="module")
def motifs() -> list[Motif]:
    return [around(SITE, 5, 2), around(other_strand(SITE), 4, 1), around(SITE[2:8], 0, 0), around("", 4, 4)]


@pytest.fixture(scope="module")
def matches(motifs: list[Motif], uncompiled_memelite: None) -> list[Match]:
    return match_motifs(motifs, known(), 1.0)


def of(motif: Motif, matches: list[Match]) -> list[Match]:
    return [match for match in matches if match.motif == motif.seed]


def test_a_known_motif_is_found_where_it_is(motifs: list[Motif], matches: list[Match]) -> None:
    best = [of(motif, matches)[0] for motif in motifs[:3]]
    assert [(match.target_id, match.target_name) for match in best] == [("SITE", "site")] * 3
    assert [(match.strand, match.offset, match.overlap) for match in best] == [("+", -5, 9), ("-", -4, 9), ("+", 2, 6)]
    assert max(match.q_value for match in best[:2]) < 1e-3
    assert min(match.q_value for match in of(motifs[3], matches)) > 0.05


def test_q_values_are_of_all_targets_of_one_motif(motifs: list[Motif], matches: list[Match]) -> None:
    targets = len(known().ids)
    for motif in motifs:
        ranked = of(motif, matches)
        assert len({match.target_id for match in ranked}) == targets
        assert ranked == sorted(ranked, key=lambda match: (match.p_value, match.target_id))
        for rank, match in enumerate(ranked):
            least = min(later.p_value * targets / (rank + 1 + place) for place, later in enumerate(ranked[rank:]))
            assert match.q_value == pytest.approx(min(least, 1.0))
    # Fewer are kept at a lower q-value, and they do not depend on the other motifs.
    alone = match_motifs(motifs[1:2], known(), 0.9)
    assert alone == [match for match in of(motifs[1], matches) if match.q_value <= 0.9]
    assert 0 < len(alone) < targets
    assert match_motifs([], known(), 1.0) == []


def test_the_table_has_the_numbers_to_the_last_bit(matches: list[Match], tmp_path: Path) -> None:
    known_motifs.write_matches(tmp_path / "matches.tsv", matches)
    header, *rows = [line.split("\t") for line in (tmp_path / "matches.tsv").read_text().splitlines()]
    assert header == ["motif", "target_id", "target_name", "p_value", "q_value", "strand", "offset", "overlap"]
    assert [Match(*row[:3], float(row[3]), float(row[4]), row[5], int(row[6]), int(row[7])) for row in rows] == matches
