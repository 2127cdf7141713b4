"""The demo goes the whole way, tells the truth about it, and fails if the model learned nothing."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from dnabert_jax.presets import PRESETS
from launch.cli import run


def shortened(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """The tiny preset for a few steps of a few rows."""
    tiny = PRESETS["tiny"]
    optimizer = dataclasses.replace(tiny.optimizer, warmup_steps=10)
    short = dataclasses.replace(
        tiny, optimizer=optimizer, global_batch=2, steps=steps, evaluate_every=steps, evaluation_rows=16
    )
    monkeypatch.setitem(PRESETS, "tiny", short)


@pytest.mark.slow
def test_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shortened(monkeypatch, 150)
    out = tmp_path / "demo"
    assert run(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("|")][2:]
    losses = {name.strip(): float(loss) for name, loss, *_ in rows}
    assert list(losses) == ["trained model", "untrained model", "k-mer frequency table"]
    assert losses["trained model"] < losses["k-mer frequency table"] < losses["untrained model"]
    assert f"Loss curve: {out}/loss.png" in printed
    assert (out / "loss.png").stat().st_size > 10_000
    assert "transformers: loaded BertForMaskedLM and " in printed
    difference = float(printed.partition("largest difference of a logit ")[2].partition(";")[0])
    assert difference < 1e-4
    assert run(["demo", "--out", str(out)]) == 2


@pytest.mark.slow
def test_without_transformers_it_says_so_and_without_learning_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    shortened(monkeypatch, 1)
    assert run(["demo", "--out", str(tmp_path / "demo")]) == 1
    printed = capsys.readouterr()
    assert "transformers: not installed here" in printed.out
    assert "no better than what it is compared with" in printed.err
