"""Commands that must fail, models to run them on, and stubs of gcloud and kubectl for the scripts that start pods."""

import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.training.saved_model import Description, SavedModel, write_saved_model
from dnabert_jax.training.state import init_parameters
from tests.random_models import random_model

Capture = pytest.CaptureFixture[str]
Fails = Callable[..., str]
"""The fixture `fails`."""
Patch = pytest.MonkeyPatch
SMALL_RUN = [
    "--preset", "tiny", "--global-batch", "8", "--evaluation-rows", "8", "--model.num-layers", "1",
    "--model.hidden-size", "16", "--model.num-heads", "8", "--model.intermediate-size", "16",
]  # fmt: skip
LAUNCH = Path(__file__).parents[2] / "launch"
STUB = """#!{python}
import json, os, pathlib, sys
calls = pathlib.Path(os.environ["CALLS"])
files = [word.rpartition("=")[2] for word in sys.argv if word.endswith((".yaml", ".sh"))]
files = {{pathlib.Path(file).name: pathlib.Path(file).read_text() for file in files if pathlib.Path(file).is_file()}}
with calls.open("a") as log:
    log.write(json.dumps([[pathlib.Path(sys.argv[0]).name, *sys.argv[1:]], files]) + "\\n")
for words, out, error, status in json.loads(os.environ["ANSWERS"]):
    if set(words.split()) <= set(sys.argv):
        print(out, end="")
        print(error, end="", file=sys.stderr)
        sys.exit(status)
"""


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def error_of(printed: str) -> str:
    """The one sentence with which a command failed."""
    assert "Traceback" not in printed
    (line,) = [line for line in re.split(r"[\r\n]", printed) if line.startswith("dnabert-jax: error: ")]
    assert line.endswith((".", "?"))
    return line


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a tab-separated table."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_encoder(directory: Path, config: ModelConfig) -> Path:
    """Writes and returns a model with random weights and no classifier."""
    parameters = {"backbone": jax.device_get(init_parameters(config, seed=0)["backbone"])}
    write_saved_model(directory, SavedModel(Description(config, None, {}), 0, parameters))
    return directory


def write_classifier(directory: Path, config: ModelConfig, task: TaskConfig, **provenance: Any) -> None:
    """Writes a classifier whose random weights are large enough for its outputs to differ."""
    write_saved_model(directory, random_model(config, task, spread=0.5, **provenance))


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained model to fine-tune, of sequences of up to 42 bases."""
    config = ModelConfig(k=3, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64, max_positions=40)
    return write_encoder(tmp_path_factory.mktemp("models") / "model", config)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that must fail and, within a directory, leave no file; returns the one sentence that it prints."""

    def sentence(*arguments: object, within: Path | None = None) -> str:
        capsys.readouterr()
        before = []
        if within:
            monkeypatch.chdir(within)
            before = sorted(within.iterdir())
        assert run(list(map(str, arguments))) == 2
        line = error_of(capsys.readouterr().err)
        assert within is None or sorted(within.iterdir()) == before
        return line

    return sentence


class Cloud:
    """Runs a script with the stubs in place of gcloud and kubectl."""

    def __init__(self, directory: Path):
        self._directory, self._calls = directory, directory / "calls"
        self._answers: list[tuple[str, str, str, int]] = []
        for name in ("gcloud", "kubectl"):
            (directory / name).write_text(STUB.format(python=sys.executable))
            (directory / name).chmod(0o755)
        self.answer("buckets describe", "True\n")

    def answer(self, words: str, out: str = "", error: str = "", status: int = 0) -> None:
        """To a call that has all of these words; the latest answer given is the first tried."""
        self._answers.insert(0, (words, out, error, status))

    def in_state(self, state: str | None) -> None:
        # gcloud says such things as the first, of itself say, where they must not be taken for the state.
        said = "Updates are available." if state else "ERROR: (gcloud.compute) NOT_FOUND: no such resource"
        self.answer("queued-resources describe", f"{state}\n" * bool(state), f"{said}\n", status=not state)

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        settings = {"PATH": f"{self._directory}:{os.environ['PATH']}", "CALLS": str(self._calls)}
        environment = os.environ | settings | {"ANSWERS": json.dumps(self._answers)}
        return subprocess.run([LAUNCH / script, *arguments], env=environment, capture_output=True, text=True)

    def succeeds(self, script: str, *arguments: str) -> str:
        done = self.run(script, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, status: int, script: str, *arguments: str) -> str:
        """The one sentence with which it fails."""
        done = self.run(script, *arguments)
        assert done.returncode == status, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(f"{script}: error: ")]
        assert line.endswith(".")
        return line

    @property
    def calls(self) -> list[list[str]]:
        return [call for call, _ in self._records()]

    @property
    def files(self) -> dict[str, str]:
        """What the files were, by name, when calls named them."""
        return {name: text for _, files in self._records() for name, text in files.items()}

    def _records(self) -> list[Any]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()] if self._calls.exists() else []


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)
