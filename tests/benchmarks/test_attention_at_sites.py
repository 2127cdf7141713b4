"""Scores within known sites over those beside: sites are found on either strand, sequences without are left out."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.attention_at_sites import main
from tests.interpret.motifs.conftest import probabilities, random_known, write_meme

pytestmark = pytest.mark.usefixtures("uncompiled_memelite")

SITE, TURNED = "GGAAGTGC", "GCACTTCC"
SEQUENCES = [f"TTNTT{SITE}TTT", f"TT{TURNED}TTTTTTTT".lower(), "T" * 20]
STARTS = [5, 2]


def test_the_ratio_is_of_the_means_within_and_beside_sites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_meme(tmp_path / "known.meme", {**random_known(2), "MA1": probabilities(SITE)})
    (tmp_path / "x.fa").write_text("".join(f">s{row}\n{text}\n" for row, text in enumerate(SEQUENCES)))
    scores = [np.ones(len(text), np.float32) for text in SEQUENCES]
    for own, start, inside in zip(scores, STARTS, (4, 0.5), strict=False):
        own[start : start + len(SITE)] = inside
    np.savez(
        tmp_path / "x.npz",
        ids=np.array([f"s{row}" for row in range(len(SEQUENCES))]),
        bases=np.frombuffer("".join(SEQUENCES).upper().encode(), "S1"),
        scores=np.concatenate(scores),
        offsets=np.cumsum([0, *map(len, SEQUENCES)]),
    )
    words = ["--fasta", "x.fa", "--database", "known.meme", "--motif", "MA1", "x.npz"]
    monkeypatch.chdir(tmp_path)
    # Of 4 and 0.5: quartiles lie a quarter of the way between.
    for more, found in (([], "| x.npz | 2.25 (1.38 - 3.12) | 50% |"), (["--share", "2"], "0 of 3 sequences")):
        monkeypatch.setattr("sys.argv", ["attention_at_sites", *words, *more])
        main()
        assert found in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["attention_at_sites", *words, "--motif", "MA2"])
    with pytest.raises(SystemExit, match="MA2"):
        main()
