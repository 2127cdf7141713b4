"""What ends a fine-tuning before its time, in real processes: SIGTERM and SIGKILL. It goes on after each."""

import json
import os
import random
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig
from dnabert_jax.telemetry.run_log import read_log
from dnabert_jax.training.saved_model import read_saved_model
from tests.commands.conftest import wait_for, write_encoder
from tests.tasks.conftest import write_table

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16, max_positions=32)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Returns a command without --out that trains two seeds for 8 epochs of 20 steps."""
    directory = tmp_path_factory.mktemp("inputs")
    write_encoder(directory / "model", CONFIG)
    draw = random.Random(0)  # noqa: S311
    write_table(directory / "table.csv", (160, 32, 32), lambda n: ("".join(draw.choices("ACGT", k=20)), n % 2))
    paths = ["--model", str(directory / "model"), "--data", str(directory / "table.csv")]
    return ["finetune", *paths, "--seeds", "2", "--epochs", "8", "--batch-size", "8", "--restarts", "0"]


@pytest.fixture(scope="module")
def whole(commands: Any, command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes of it undisturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert ended(commands, [*command, "--out", str(out)])[0] == 0
    return out


def ended(commands: Any, arguments: list[str]) -> tuple[int, str]:
    """Exit status and output of a process that is left to end."""
    return commands.start(arguments, devices=1).wait(600)


def saved_steps(out: Path) -> list[int]:
    unfinished = out.with_name(out.name + ".unfinished")
    return [int(path.name) for path in unfinished.glob("attempt-1/checkpoints/*") if path.name.isdigit()]


def assert_same_end(out: Path, other: Path) -> None:
    ours, theirs = read_saved_model(out), read_saved_model(other)
    assert jax.tree.all(jax.tree.map(np.array_equal, ours.parameters, theirs.parameters))
    results = [json.loads((directory / "result.json").read_text()) for directory in (out, other)]
    for result in results:
        assert result.pop("date")
        for seed in result["seeds"]:
            assert seed.pop("seconds") > 0
    assert results[0] == results[1]
    assert read_log(out) == read_log(other)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in other.iterdir())
    assert not list(out.parent.glob("*.unfinished"))


def test_sigterm_saves_the_step_and_says_how_to_go_on(
    commands: Any, command: list[str], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    started = commands.start([*command, "--out", str(out)], devices=1)
    wait_for(lambda: saved_steps(out))
    os.kill(started.process.pid, signal.SIGTERM)
    status, printed = started.wait()
    assert status == 0
    (step,) = saved_steps(out)
    assert 20 <= step < 160
    assert f"after step {step}," in printed
    assert not out.exists()
    assert run([*command, "--out", str(out)]) == 2
    status, printed = ended(commands, shlex.split(re.search("Go on with: dnabert-jax (.*)", printed)[1]))
    assert status == 0
    assert f"step {step}" in printed
    loss = read_log(whole)[-1]["loss"]
    assert f"epoch 8: table, seed 1, loss {loss:.4f}, validation roc_auc " in printed
    assert_same_end(out, whole)


def test_killed_or_interrupted_it_goes_on_from_the_last_epoch(
    commands: Any, command: list[str], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        before = saved_steps(out)
        started = commands.start([*command, "--out", str(out), "--resume"], devices=1)
        wait_for(lambda: saved_steps(out) not in ([], before))  # noqa: B023
        os.kill(started.process.pid, number)
        assert started.wait()[0] == status
        assert max(saved_steps(out)) % 20 == 0
    assert "--resume" in started.wait()[1]
    assert not out.exists()
    assert run([*command, "--out", str(out), "--resume", "--epochs", "9"]) == 2
    assert "epochs 8" in capsys.readouterr().err
    assert ended(commands, [*command, "--out", str(out), "--resume"])[0] == 0
    assert_same_end(out, whole)
