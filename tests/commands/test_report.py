"""`dnabert-jax report`: any part alone makes a page; what cannot be shown is one sentence, and no file."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnabert_jax.commands.cli import run
from tests.commands.conftest import Fails

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
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    return json.loads(found)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("flag", "name"), [("scores", "x.npz"), ("motifs", "motifs"), ("results", "suite"), ("variants", "v.tsv")]
)
def test_each_part_alone_makes_a_page(folder: Path, flag: str, name: str) -> None:
    out = folder / "out.html"
    assert run(["report", f"--{flag}", str(folder / name), "--out", str(out)]) == 0
    data = data_of(out)
    assert set(data) == {"title", "sources", "tracks" if flag == "scores" else flag}
    assert data["sources"][0][0] == str(folder / name)


def test_sequences_are_limited_and_instances_are_those_on_them(folder: Path) -> None:
    flags = ["--scores", str(folder / "x.npz"), "--sequences", "1", "--motifs", str(folder / "motifs")]
    assert run(["report", *flags, "--out", str(folder / "out.html")]) == 0
    data = data_of(folder / "out.html")
    assert data["tracks"]["sequences"] == [{"id": "a", "bases": "ACGT"}]
    assert data["tracks"]["total"] == 2
    assert data["motifs"]["instances"] == [{"sequence": 0, "motif": 0, "strand": "+", "places": [0, 4, 1, 4]}]
    assert data["motifs"]["total"] == 2
    assert data["motifs"]["motifs"] == [{"name": "ACG", "facts": ["1.5"], "matrix": [[0.1, 0.2, 0.3, 0.4]]}]


def test_bad_input_is_a_sentence_and_leaves_no_file(folder: Path, fails: Fails) -> None:
    scores(folder / "others.npz", ids=np.array(["a", "c"]))
    scores(folder / "letters.npz", bases=np.frombuffer(b"ACGTACC", "S1"))
    (folder / "old.html").write_text("old")
    for flags, word in (
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
    ):
        out = [] if "--out" in flags else ["--out", "out.html"]
        assert word in fails("report", *flags.split(), *out, within=folder)


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("motifs.tsv", "motif\tbits\nTTT\t1\n", "'TTT'"),
        ("motifs.tsv", "name\nx\n", "motifs.tsv"),
        ("motifs.tsv", "motif\tbits\nACG\n", "line 2, has 1 values"),
        *(("motifs.meme", MEME.replace("0.4", number), "line 1 of motifs.meme") for number in ("", "x")),
        *(("instances.bed", f"a\t0\t4{more}\n", "instances.bed, line 1") for more in ("", "\tTTT\t0\t+\t1\t4")),
    ],
)
def test_damaged_motifs_are_a_sentence(folder: Path, fails: Fails, name: str, content: str, value: str) -> None:
    (folder / "motifs" / name).write_text(content)
    assert value in fails("report", "--motifs", folder / "motifs", "--out", folder / "out.html")
