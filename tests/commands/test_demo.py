"""The demo goes the whole way, tells the truth and fails if the model learned nothing; the notebook goes on from it."""

import contextlib
import dataclasses
import gzip
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest

from dnabert_jax.commands.cli import run
from dnabert_jax.families import PRESETS
from dnabert_jax.sample import TRAIN_FASTA
from tests.commands.conftest import Capture, Patch

FEWER = {'"train": 6000': '"train": 400', '"--epochs", 6': '"--epochs", 1'}
"""What is trained less of, in the tests."""
NOTEBOOK = Path(__file__).parents[2] / "docs" / "from-sequence-to-motifs.ipynb"


def shortened(monkeypatch: Patch, steps: int) -> None:
    """The tiny preset for a few steps of a few rows."""
    optimizer = dataclasses.replace(PRESETS["tiny"].optimizer, warmup_steps=10)
    fewer = {"global_batch": 2, "steps": steps, "evaluate_every": steps, "evaluation_rows": 16, "optimizer": optimizer}
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(PRESETS["tiny"], **fewer))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo of fewer steps, and what it printed."""
    out = tmp_path_factory.mktemp("short") / "demo"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        shortened(patch, 60)
        assert run(["demo", "--out", str(out)]) == 0
    return out, printed.getvalue()


@pytest.mark.slow
def test_the_whole_way(demo: tuple[Path, str]) -> None:
    out, printed = demo
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("|")][2:]
    losses = {name.strip(): float(loss) for name, loss, *_ in rows}
    assert list(losses) == ["trained model", "untrained model", "k-mer frequency table"]
    assert losses["trained model"] < losses["k-mer frequency table"] < losses["untrained model"]
    assert f"Loss curve: {out}/loss.png" in printed
    assert float(re.search("BertForMaskedLM .* largest difference of a logit ([^;]*);", printed)[1]) < 1e-4
    assert run(["demo", "--out", str(out)]) == 2


def notebook_cells() -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def run_notebook(directory: Path, demo: Path) -> subprocess.CompletedProcess[str]:
    """Its cells one after the other in a process of their own: a kernel would need 30 packages more."""
    text = "\n\n".join("".join(cell["source"]) for cell in notebook_cells())
    for large, small in FEWER.items():
        assert text.count(large) == 1
        text = text.replace(large, small)
    program = directory / "notebook.py"
    program.write_text(text)
    as_users_have = {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    environment = os.environ | as_users_have | {"DNABERT_DEMO": str(demo), "MPLBACKEND": "agg"}
    command = [sys.executable, "-W", "ignore:FigureCanvasAgg", str(program)]
    return subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True)


@pytest.mark.slow
def test_the_notebook_goes_from_sequence_to_motifs_and_variants(demo: tuple[Path, str], tmp_path: Path) -> None:
    done = run_notebook(tmp_path, demo[0])
    assert done.returncode == 0, done.stderr
    work = demo[0] / "notebook"
    motifs = (work / "motifs" / "motifs.tsv").read_text().splitlines()
    assert len(list((work / "motifs" / "logos").glob("*.png"))) == len(motifs) - 1
    options = pyarrow.csv.ParseOptions(delimiter="\t")
    for name, scores in ("effect", ["log_odds_ratio"]), ("zero_shot", ["log_likelihood_ratio", "cosine_distance"]):
        table = pyarrow.csv.read_csv(work / f"{name}.tsv", parse_options=options)
        assert table.num_rows == 60
        assert all(table[score].null_count == 0 for score in scores)
    assert (work / "report.html").stat().st_size > 100_000


def test_the_notebook_says_how_to_make_the_demo(tmp_path: Path) -> None:
    done = run_notebook(tmp_path, tmp_path / "none")
    assert done.returncode == 1
    assert "make demo" in done.stderr.splitlines()[-1]


def test_the_notebook_is_committed_as_it_ran_on_no_particular_machine() -> None:
    cells = notebook_cells()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = json.dumps([cell["outputs"] for cell in cells])
    texts = re.sub(r'"image/png": "[^"]*"', "", outputs)
    assert not re.search(r"(?<![\w.])/\w+/|site-packages|Traceback", texts)  # no absolute path
    assert NOTEBOOK.stat().st_size < 500_000


@pytest.mark.slow
def test_without_transformers_and_without_learning(tmp_path: Path, monkeypatch: Patch, capsys: Capture) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    with gzip.open(TRAIN_FASTA, "rt") as file:
        (tmp_path / "short.fa").write_text(file.read(100_000))
    monkeypatch.setattr("dnabert_jax.commands.demo.TRAIN_FASTA", tmp_path / "short.fa")
    shortened(monkeypatch, 1)
    assert run(["demo", "--out", str(tmp_path / "demo")]) == 1
    printed = capsys.readouterr()
    assert ("(the extra huggingface)" in printed.out, "no better" in printed.err) == (True, True)
