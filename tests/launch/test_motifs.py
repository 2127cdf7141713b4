"""`dnabert-jax motifs`: what it writes is read by others and agrees with itself; bad input is one sentence."""

import csv
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from Bio import motifs as biopython
from matplotlib.image import imread

from dnabert_jax.interpret.report.motif_section import motif_section
from launch.cli import run
from tests.interpret.motifs.conftest import PLANTED, Planted, plant, probabilities, random_known, write_meme
from tests.launch.conftest import reverse_complement


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


def write(folder: Path, data: Planted, **changed: Any) -> list[str]:
    """Files of the data, and the flags that name them."""
    for name in ("positives", "negatives"):
        records = (f">{name[0]}{row}\n{text}\n" for row, text in enumerate(getattr(data, name)))
        (folder / f"{name}.fa").write_text("".join(records))
    arrays = {
        "ids": np.array([f"p{row}" for row in range(len(data.scores))]),
        "scores": np.concatenate(data.scores),
        "offsets": np.cumsum([0, *map(len, data.scores)]),
    }
    np.savez(folder / "scores.npz", **{**arrays, **changed})
    names = {"scores": "scores.npz", "positives": "positives.fa", "negatives": "negatives.fa", "out": "out"}
    return ["motifs", *(word for flag, name in names.items() for word in (f"--{flag}", str(folder / name)))]


def test_files_agree_with_one_another(tmp_path: Path, planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    data = planted.half_turned()
    assert run([*write(tmp_path, data), "--reverse-complements"]) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "out"
    with (out / "motifs.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    seed = reverse_complement(PLANTED)
    assert (row["motif"], row["positives"], row["negatives"]) == (seed, "80", "0")
    assert seed in row["consensus"]
    assert f"{seed}  {row['instances']} instances" in printed
    with (out / "motifs.meme").open() as file:
        (motif,) = biopython.parse(file, "MINIMAL")
    windows = []
    for line in (out / "instances.bed").read_text().splitlines():
        name, start, end, _, _, strand, thick, thick_end = line.split("\t")
        text = data.positives[int(name[1:])]
        own, core = text[int(start) : int(end)], text[int(thick) : int(thick_end)]
        turn = strand == "-"
        windows.append(reverse_complement(own) if turn else own)
        assert (reverse_complement(core) if turn else core) == seed
    assert len(windows) == motif.num_occurrences == int(row["instances"]) > 40
    assert {base: list(motif.counts[base]) for base in "ACGT"} == {
        base: [sum(own[place] == base for own in windows) for place in range(24)] for base in "ACGT"
    }
    assert imread(out / "logos" / f"001_{seed}.png").std() > 0.1


@pytest.mark.usefixtures("uncompiled_memelite")
def test_motifs_are_matched_to_known_ones(
    tmp_path: Path,
    planted: Planted,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[..., str],
) -> None:
    database = tmp_path / "known.meme"
    write_meme(database, {**random_known(9), "MA1 SITE": probabilities(PLANTED[1:])})
    arguments = [*write(tmp_path, planted), "--no-logos", "--database", str(database)]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "Known motifs: 10, of known.meme.\nWarning: with fewer than 50," in printed
    assert re.search(rf"  {PLANTED}  \d+ instances, adjusted p \S+, like SITE \(MA1\), q \S+e-\d\d\n", printed)
    assert printed.endswith(": instances.bed, matches.tsv, motifs.meme, motifs.tsv.\n")
    shown = motif_section(tmp_path / "out", [])["matches"]
    assert shown["columns"] == ["target_name", "q_value", "target_id", "p_value", "strand", "offset", "overlap"]
    name, q, own_id, *_ = shown["rows"][PLANTED][0]
    assert (name, own_id) == ("SITE", "MA1")
    assert float(q) < 0.05

    arguments[arguments.index("--out") + 1] = str(tmp_path / "other")
    assert run([*arguments, "--match-q", "1e-300"]) == 0
    assert ", like no known motif at q 1e-300\n" in capsys.readouterr().out
    assert len((tmp_path / "other" / "matches.tsv").read_text().splitlines()) == 1

    arguments[arguments.index("--out") + 1] = str(tmp_path / "third")
    assert "--match-q is 0.0: give a number above 0" in fails(*arguments, "--match-q", "0", within=tmp_path)
    database.write_text("nothing")
    assert "known.meme" in fails(*arguments, within=tmp_path)
    monkeypatch.setitem(sys.modules, "memelite", None)
    assert "memelite" in fails(*arguments, within=tmp_path)


def test_no_enriched_word_is_a_result(tmp_path: Path, planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write(tmp_path, planted)
    arguments[arguments.index("--negatives") + 1] = arguments[arguments.index("--positives") + 1]
    assert run(arguments) == 0
    assert "No enriched motif, at 0.005: the least adjusted p is" in capsys.readouterr().out
    assert len((tmp_path / "out" / "motifs.tsv").read_text().splitlines()) == 1
    with (tmp_path / "out" / "motifs.meme").open() as file:
        assert biopython.parse(file, "MINIMAL") == []


def test_scores_are_found_by_name(tmp_path: Path, planted: Planted) -> None:
    arguments = write(tmp_path, planted)
    assert run([*arguments, "--no-logos"]) == 0
    expected = (tmp_path / "out" / "instances.bed").read_text()
    records = (tmp_path / "positives.fa").read_text().split(">")[1:]
    table = "id,sequence\n" + "".join(",".join(record.split()) + "\n" for record in reversed(records))
    (tmp_path / "positives.csv").write_text(table)
    arguments[arguments.index("--positives") + 1] = str(tmp_path / "positives.csv")
    arguments[arguments.index("--out") + 1] = str(tmp_path / "other")
    assert run([*arguments, "--no-logos"]) == 0
    assert sorted((tmp_path / "other" / "instances.bed").read_text().splitlines()) == sorted(expected.splitlines())
    assert not (tmp_path / "other" / "logos").exists()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"ids": np.array(["q"] * 80)}, "several sequences named 'q'"),
        ({"ids": np.array([f"q{row}" for row in range(80)])}, "no scores of the sequence 'p0'"),
        ({"ids": np.array(["p0"], object)}, "is no npz file of ids, scores and offsets"),
        ({"offsets": np.arange(81)}, "do not divide its 4,800 scores"),
        (
            {"offsets": np.array([0, 59, *range(120, 4801, 60)])},
            "has 59 scores of the sequence 'p0', which has 60 bases",
        ),
        ({"offsets": np.array([0, 120, 60, *range(180, 4801, 60)], np.uint64)}, "do not divide its 4,800 scores"),
        ({"ids": np.array("p0")}, "ids ()"),
        ({"scores": np.full(4800, np.nan)}, "not finite, nan, in the sequence 'p0'"),
        ({"scores": np.full(4800, 1e300)}, "not finite, inf, in the sequence 'p0'"),
        ({"scores": np.ones((4800, 1))}, r"scores (4800, 1)"),
    ],
)
def test_scores_that_do_not_fit(
    changed: dict[str, Any],
    sentence: str,
    tmp_path: Path,
    planted: Planted,
    fails: Callable[..., str],
) -> None:
    assert sentence in fails(*write(tmp_path, planted, **changed), within=tmp_path)


def test_other_bad_input(
    tmp_path: Path,
    planted: Planted,
    fails: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = write(tmp_path, planted)
    (tmp_path / "none.csv").write_text("id,sequence\n")
    (tmp_path / "empty.fa").touch()
    for flag, name, sentence in (
        ("positives", "none.csv", "none.csv"),
        ("negatives", "none.csv", "none.csv"),
        ("positives", "empty.fa", "empty.fa"),
    ):
        changed = list(arguments)
        changed[changed.index(f"--{flag}") + 1] = str(tmp_path / name)
        assert sentence in fails(*changed, within=tmp_path)
    assert "--sequence" in fails(*arguments, "--sequence", "seq", within=tmp_path)
    assert "window_size is 0" in fails(*arguments, "--window-size", "0")
    monkeypatch.setitem(sys.modules, "logomaker", None)
    assert "(the extra motifs)" in fails(*arguments, within=tmp_path)
