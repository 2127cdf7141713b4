"""`dnabert-jax report`: any part alone makes a page; what cannot be shown is one sentence, and no file."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnabert_jax.commands.cli import run

MEME = "MOTIF ACG\nletter-probability matrix: alength= 4 w= 1 nsites= 3 E= 1\n 0.1 0.2 0.3 0.4\n"


def scores(path: Path, **changed: np.ndarray) -> None:
    arrays = {"ids": np.array(["a", "b"]), "bases": np.frombuffer(b"ACGTACN", "S1"), "offsets": np.array([0, 4, 7])}
    np.savez(path, **{**arrays, "scores": np.arange(7, dtype=np.float32), **changed})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scores(tmp_path / "x.npz")
    (tmp_path / "motifs").mkdir()
    (tmp_path / "motifs/motifs.tsv").write_text("motif\tbits\nACG\t1.5\n")
    (tmp_path / "motifs/motifs.meme").write_text(f"MEME version 4\n\n{MEME}")
    (tmp_path / "motifs/instances.bed").write_text("a\t0\t4\tACG\t0\t+\t1\t4\nelsewhere\t0\t4\tACG\t0\t-\t1\t4\n")
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite/finetuned.tsv").write_text("name\tmcc\nset\t0.5\n")
    (tmp_path / "v.tsv").write_text("contig\tdifference\n1\t0.5\n")
    return tmp_path


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    own: dict[str, Any] = json.loads(found[1])
    return own


@pytest.mark.parametrize(
    ("flag", "name", "section"),
    [
        ("scores", "x.npz", "tracks"),
        ("motifs",) * 3,
        ("results", "suite", "results"),
        ("variants", "v.tsv", "variants"),
    ],
)
def test_each_part_alone_makes_a_page(
    folder: Path, capsys: pytest.CaptureFixture[str], flag: str, name: str, section: str
) -> None:
    out = folder / "out.html"
    assert run(["report", f"--{flag}", str(folder / name), "--out", str(out)]) == 0
    data = data_of(out)
    assert set(data) == {"title", "sources", section}
    assert data["sources"][0][0] == str(folder / name)
    assert f"Written to {out}" in capsys.readouterr().out


def test_sequences_are_limited_and_instances_are_those_on_them(folder: Path) -> None:
    flags = ["--scores", str(folder / "x.npz"), "--sequences", "1", "--motifs", str(folder / "motifs")]
    assert run(["report", *flags, "--out", str(folder / "out.html")]) == 0
    data = data_of(folder / "out.html")
    assert data["tracks"]["sequences"] == [{"id": "a", "bases": "ACGT"}]
    assert data["tracks"]["total"] == 2
    assert data["motifs"]["instances"] == [{"sequence": 0, "motif": 0, "strand": "+", "places": [0, 4, 1, 4]}]
    assert data["motifs"]["total"] == 2
    assert data["motifs"]["motifs"] == [{"name": "ACG", "facts": ["1.5"], "matrix": [[0.1, 0.2, 0.3, 0.4]]}]


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("", "--scores, --motifs, --results, --variants"),
        ("--scores none.npz", "none.npz"),
        ("--scores x.npz others.npz", "others.npz"),
        ("--scores x.npz letters.npz", "letters.npz"),
        ("--scores x.npz x.npz", "'x'"),
        ("--scores x.npz --sequences 0", "sequences is 0"),
        ("--motifs suite", "motifs.tsv"),
        ("--motifs motifs --out old.html", "old.html"),
        ("--motifs motifs --out page.pdf", "page.pdf"),
        ("--results motifs", "motifs"),
        ("--variants none.tsv", "none.tsv"),
        ("--motifs motifs --variant-score x", "--variants"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_no_file(
    folder: Path, fails: Callable[..., str], flags: str, word: str
) -> None:
    scores(folder / "others.npz", ids=np.array(["a", "c"]))
    scores(folder / "letters.npz", bases=np.frombuffer(b"ACGTACC", "S1"))
    (folder / "old.html").write_text("old")
    out = [] if "--out" in flags else ["--out", "out.html"]
    assert word in fails("report", *flags.split(), *out, within=folder)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("motifs.tsv", "motif\tbits\nTTT\t1\n", "has no motif 'TTT'"),
        ("motifs.tsv", "name\nx\n", "motifs.tsv"),
        ("motifs.tsv", "motif\tbits\nACG\n", "line 2, has 1 values"),
        ("motifs.meme", MEME.replace("0.4", ""), "line 1 of motifs.meme"),
        ("motifs.meme", MEME.replace("0.4", "x"), "line 1 of motifs.meme"),
        ("instances.bed", "a\t0\t4\n", "instances.bed, line 1"),
        ("instances.bed", "a\t0\t4\tTTT\t0\t+\t1\t4\n", "instances.bed, line 1"),
    ],
)
def test_damaged_motifs_are_a_sentence(
    folder: Path, fails: Callable[..., str], name: str, content: str, sentence: str
) -> None:
    (folder / "motifs" / name).write_text(content)
    assert sentence in fails("report", "--motifs", folder / "motifs", "--out", folder / "out.html")
