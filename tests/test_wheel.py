"""The wheel: what it installs, and that it runs with its core dependencies alone on each Python that is here."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from tests.commands.conftest import write_classifier
from tests.random_models import random_dna

ROOT = Path(__file__).parents[1]
NEED_BEAM = ("dnabert_jax.data_prep.genome_beam",)

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_positions=40)
TASK = TaskConfig("single_label_classification", ("unbound", "bound"))
SEQUENCES = [random_dna(20 + number, number) for number in range(5)]

IMPORTS = f"""
import importlib, importlib.util, pkgutil
for name in ("sklearn", "matplotlib", "ahocorasick", "torch"):
    assert importlib.util.find_spec(name) is None, name
for module in pkgutil.walk_packages(importlib.import_module("dnabert_jax").__path__, "dnabert_jax."):
    if module.name not in {NEED_BEAM}:
        importlib.import_module(module.name)
"""


# Processes outside must not see the sources, and keep the bytecode of the libraries: compiling them takes seconds.
OUTSIDE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONDONTWRITEBYTECODE": ""}


def pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, arguments)], check=True)


def python_of(version: str) -> str | None:
    """Returns an interpreter of that version: from the path, or of pyenv, which may keep it off the path."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python")
    for candidate in (shutil.which(f"python{version}"), *pyenv):
        if candidate and subprocess.run([candidate, "--version"], capture_output=True).returncode == 0:
            return str(candidate)
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources, as setuptools leaves files among them that end up in the next wheel."""
    source, built = tmp_path_factory.mktemp("source") / "tree", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "env", "*.egg-info", "__pycache__"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, source)
    (wheel,) = built.glob("*.whl")
    return wheel


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    installed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "dnabert_jax").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert installed == {str(path.relative_to(ROOT)) for path in files}


@pytest.fixture(params=["3.11", "3.12", "3.13"])
def binaries(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Iterator[Path]:
    """The programs of an environment of that Python with the wheel and its core dependencies; it takes a gigabyte."""
    python = python_of(request.param)
    if python is None:
        pytest.skip(f"Python {request.param} is not on this machine")
    environment = tmp_path / "env"
    subprocess.run([python, "-m", "venv", "--without-pip", environment], check=True)
    constraints = ROOT / "constraints.txt"
    # Without bytecode: what the commands below load is compiled when it is.
    options = ("--no-compile", "--constraint", constraints)
    pip("--python", environment / "bin" / "python", "install", *options, wheel)
    yield environment / "bin"
    shutil.rmtree(environment)


@pytest.mark.slow
def test_it_runs_with_its_core_dependencies_alone(binaries: Path, tmp_path: Path) -> None:
    def run(*arguments: str | Path, status: int = 0) -> str:
        done = subprocess.run(arguments, cwd=tmp_path, env=OUTSIDE, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stderr if status else done.stdout

    command = binaries / "dnabert-jax"
    run(binaries / "python", "-c", IMPORTS)
    assert "predict" in run(command, "--help")

    write_classifier(tmp_path / "model", CONFIG, TASK)
    (tmp_path / "x.fa").write_text("".join(f">s{number}\n{each}\n" for number, each in enumerate(SEQUENCES)))
    run(command, "predict", "--model", "model", "--fasta", "x.fa", "--out", "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        probabilities = [[float(row["p_unbound"]), float(row["p_bound"])] for row in csv.DictReader(file)]
    expected = DNAModel.from_pretrained(tmp_path / "model").predict(SEQUENCES)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)

    run(command, "export", "model", "--out", "exported")
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "exported").iterdir()}

    refused = run(command, "finetune", "--model", "model", "--data", "x.csv", "--out", "finetuned", status=2)
    (sentence,) = refused.splitlines()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (libraries,) = re.findall(r"pip install (.*) \(the extra finetune\)", sentence)
    assert shlex.split(libraries) == extras["finetune"]
