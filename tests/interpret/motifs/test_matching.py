"""Matches: a planted known motif is the best, at its place and on its strand; q-values are Benjamini and Hochberg's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.interpret.motifs.database import KnownMotifs
from dnabert_jax.interpret.motifs.matching import Match, match_motifs, write_matches
from dnabert_jax.interpret.motifs.search import Motif
from dnabert_jax.interpret.motifs.windows import Windows
from dnabert_jax.sequence.bases import base_codes
from tests.interpret.motifs.conftest import probabilities, random_known

pytestmark = pytest.mark.usefixtures("uncompiled_memelite")

SITE = "GATTACAGG"
TURNED = "CCTGTAATC"


def motif_of(windows: list[str]) -> Motif:
    codes = np.stack([base_codes(text.encode()) for text in windows])
    places = np.zeros(len(windows), np.int64)
    none = np.zeros((0, 3), np.int64)
    whole = Windows(places, places, places, places > 0, codes, none, none)
    return Motif(windows[0], (windows[0],), 1, 0, 0.5, 0.5, whole)


def known_motifs() -> KnownMotifs:
    matrices = {**random_known(30), "SITE": probabilities(SITE)}
    return KnownMotifs("of a test", tuple(matrices), tuple(name.lower() for name in matrices), tuple(matrices.values()))


def around(site: str, before: int, after: int) -> Motif:
    """A hundred windows with a site amid random bases."""
    flanks = np.random.default_rng(3).choice(list("ACGT"), size=(100, before + after))
    return motif_of(["".join([*row[:before], site, *row[before:]]) for row in flanks])


@pytest.fixture(scope="module")
def motifs() -> list[Motif]:
    return [around(SITE, 5, 2), around(TURNED, 4, 1), around(SITE[2:8], 0, 0), around("", 4, 4)]


@pytest.fixture(scope="module")
def matches(motifs: list[Motif]) -> list[Match]:
    return match_motifs(motifs, known_motifs(), 1.0)


def of(motif: Motif, matches: list[Match]) -> list[Match]:
    return [match for match in matches if match.motif == motif.seed]


def test_a_known_motif_is_found_where_it_is(motifs: list[Motif], matches: list[Match]) -> None:
    best = [of(motif, matches)[0] for motif in motifs[:3]]
    assert [(match.target_id, match.target_name) for match in best] == [("SITE", "site")] * 3
    assert [(match.strand, match.offset, match.overlap) for match in best] == [("+", -5, 9), ("-", -4, 9), ("+", 2, 6)]
    assert max(match.q_value for match in best[:2]) < 1e-3
    assert min(match.q_value for match in of(motifs[3], matches)) > 0.05


def test_q_values_are_of_all_targets_of_one_motif(motifs: list[Motif], matches: list[Match]) -> None:
    targets = len(known_motifs().ids)
    for motif in motifs:
        own = of(motif, matches)
        assert len({match.target_id for match in own}) == targets
        assert [(match.p_value, match.target_id) for match in own] == sorted(
            (match.p_value, match.target_id) for match in own
        )
        for rank, match in enumerate(own):
            least = min(later.p_value * targets / (rank + 1 + place) for place, later in enumerate(own[rank:]))
            assert match.q_value == pytest.approx(min(least, 1.0))


def test_less_are_kept_and_they_do_not_depend_on_the_others(motifs: list[Motif], matches: list[Match]) -> None:
    assert match_motifs([], known_motifs(), 1.0) == []
    alone = match_motifs(motifs[1:2], known_motifs(), 0.9)
    assert alone == [match for match in of(motifs[1], matches) if match.q_value <= 0.9]
    assert 0 < len(alone) < len(of(motifs[1], matches))


def test_table_has_the_numbers_to_the_bit(matches: list[Match], tmp_path: Path) -> None:
    write_matches(tmp_path / "matches.tsv", matches)
    header, *rows = [line.split("\t") for line in (tmp_path / "matches.tsv").read_text().splitlines()]
    assert header == ["motif", "target_id", "target_name", "p_value", "q_value", "strand", "offset", "overlap"]
    assert [Match(*row[:3], float(row[3]), float(row[4]), row[5], int(row[6]), int(row[7])) for row in rows] == matches


_JASPAR = """
import numpy as np
from memelite import tomtom
from dnabert_jax.interpret.motifs.database import read_database
from dnabert_jax.interpret.motifs.matching import match_motifs
from tests.interpret.motifs.test_matching import motif_of

known, generator = read_database("jaspar"), np.random.default_rng(0)

def sampled(own):
    matrix = np.concatenate([np.full((4, 4), 0.25), known.matrices[known.ids.index(own)], np.full((3, 4), 0.25)])
    letters = [generator.choice(list("ACGT"), size=300, p=row) for row in matrix]
    return ["".join(text) for text in zip(*letters)]

turned = [text.translate(str.maketrans("ACGT", "TGCA"))[::-1] for text in sampled("MA0139.2")]
for windows in (sampled("MA0139.2"), turned, sampled("MA0080.7")):
    first, second = match_motifs([motif_of(windows)], known, 0.05)[:2]
    print(first.target_name.upper(), first.strand, first.q_value < 1e-6, second.target_name.upper())
columns = np.concatenate(known.matrices)
columns = np.concatenate([columns, columns[:, ::-1]])
queries = [columns[generator.integers(len(columns), size=10)].T for _ in range(500)]
p = tomtom(queries, [matrix.T for matrix in known.matrices], n_jobs=1)[0]
print(*[0.8 < (p <= level).mean() / level < 1.2 for level in (0.1, 0.01, 0.001)])
"""


@pytest.mark.by_hand
def test_jaspar_finds_itself_and_p_values_are_of_chance() -> None:
    """Compiled: the p-values of motifs of random columns are as often small as they say."""
    pytest.importorskip("pyjaspar", reason="pyjaspar, which is 136 MB, is not installed: pip install pyjaspar")
    program = "import os; del os.environ['NUMBA_DISABLE_JIT']\n" + _JASPAR
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.splitlines() == [
        "CTCF + True CTCF", "CTCF - True CTCF", "SPI1 + True SPIB", "True True True",
    ]  # fmt: skip
