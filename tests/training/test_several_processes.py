"""Real processes on one machine train one model: the figures of one process, stopped and gone on with or not."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dnabert_jax.config import MeshConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.sample import HELDOUT_FASTA, TRAIN_FASTA
from dnabert_jax.telemetry.run_log import read_log
from dnabert_jax.training.loop import pretrain
from dnabert_jax.typed_json import to_json

STEPS = 20
EVERYTHING_EVERYWHERE, IN_PARTS = MeshConfig(data=8), MeshConfig(fsdp=8)


def settings_of(config: PretrainConfig, path: Path) -> list[str]:
    path.write_text(to_json(config))
    return ["pretrain", "--config", str(path)]


def train(commands: Any, settings: list[str], data: Path, out: Path, processes: int) -> list[tuple[int, str]]:
    """Exit status and output of processes that share eight devices."""
    started = commands.start_several([*settings, "--data", str(data), "--out", str(out)], processes)
    return [process.wait() for process in started]


def assert_same_figures(run: Path, other: Path) -> None:
    """Of every step and evaluation; what is counted is the same exactly."""
    ours, theirs = read_log(run), read_log(other)
    assert [(line["step"], line["kind"]) for line in ours] == [(line["step"], line["kind"]) for line in theirs]
    for line, expected in zip(ours, theirs, strict=True):
        assert line["loss"] == pytest.approx(expected["loss"], abs=1e-5)
        for exact in ("tokens", "masked_share", "masked_kmers", "hidden_bases"):
            assert line.get(exact) == expected.get(exact)


@pytest.fixture(scope="module")
def settings(small_model: ModelConfig) -> PretrainConfig:
    return PretrainConfig(
        model=small_model,
        mesh=EVERYTHING_EVERYWHERE,
        optimizer=OptimizerConfig(peak_learning_rate=1e-3, warmup_steps=1, schedule_steps=STEPS),
        global_batch=8,
        steps=STEPS,
        log_every=1,
        evaluate_every=STEPS,
        evaluation_rows=8,
        checkpoint_every=STEPS,
    )


@pytest.fixture(scope="module")
def undisturbed(settings: PretrainConfig, sample_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process, in this one, on eight devices that each keep everything."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    pretrain(settings, sample_rows, run)
    return run


@pytest.fixture(scope="module")
def stopped(
    settings: PretrainConfig, sample_rows: Path, tmp_path_factory: pytest.TempPathFactory, commands: Any
) -> Path:
    """A run of two processes with four devices each, of which one was told to stop."""
    directory = tmp_path_factory.mktemp("stopped")
    run = directory / "run"
    config = settings_of(replace(settings, mesh=IN_PARTS), directory / "config.json")
    started = commands.start_several([*config, "--data", str(sample_rows), "--out", str(run)], 2)
    deadline = time.monotonic() + 300
    while not read_log(run):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(started[1].process.pid, signal.SIGTERM)
    for process in started:
        status, printed = process.wait()
        assert status == 0, printed
    return run


@pytest.mark.slow
@pytest.mark.by_hand
def test_four_processes_train_as_one(
    commands: Any, settings: PretrainConfig, sample_rows: Path, undisturbed: Path, tmp_path: Path
) -> None:
    config = settings_of(replace(settings, mesh=MeshConfig(data=2, fsdp=4)), tmp_path / "config.json")
    for status, printed in train(commands, config, sample_rows, tmp_path / "run", 4):
        assert status == 0, printed
    assert_same_figures(tmp_path / "run", undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "mesh"),
    [
        (2, MeshConfig(data=1, tensor=4, fsdp=2)),
        pytest.param(4, MeshConfig(fsdp=2, tensor=2), marks=pytest.mark.by_hand),
    ],
    ids=["2 x 4, tensor across", "4 x 2, other mesh"],
)
def test_a_run_stopped_on_two_processes_goes_on_on_another_mesh(
    commands: Any,
    settings: PretrainConfig,
    sample_rows: Path,
    undisturbed: Path,
    stopped: Path,
    tmp_path: Path,
    processes: int,
    mesh: MeshConfig,
) -> None:
    """The steps before the stop are those of one process too, and so are those that follow it."""
    run = shutil.copytree(stopped, tmp_path / "run")
    step = read_log(run)[-1]["step"]
    assert 0 < step < STEPS
    config = settings_of(replace(settings, mesh=mesh), tmp_path / "config.json")
    ended = train(commands, [*config, "--resume"], sample_rows, run, processes)
    for status, printed in ended:
        assert status == 0, printed
    assert f"resumed at step {step}" in ended[0][1]
    assert_same_figures(run, undisturbed)


def test_a_run_stopped_on_two_processes_goes_on_in_one(
    settings: PretrainConfig, sample_rows: Path, undisturbed: Path, stopped: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    pretrain(settings, sample_rows, run, resume=True)
    assert_same_figures(run, undisturbed)


@pytest.mark.slow
def test_every_process_stops_at_a_loss_that_is_not_finite(
    commands: Any, settings: PretrainConfig, sample_rows: Path, tmp_path: Path
) -> None:
    wild = replace(
        settings, optimizer=OptimizerConfig(peak_learning_rate=1e30, warmup_steps=0, schedule_steps=20), log_every=6
    )
    config = settings_of(wild, tmp_path / "config.json")
    for status, printed in train(commands, config, sample_rows, tmp_path / "run", 2):
        assert status == 1
        assert "The loss is nan at step 2" in printed
        assert "Traceback" not in printed
    assert json.loads((tmp_path / "run" / "nonfinite.json").read_text())["step"] == 2


@pytest.mark.slow
def test_every_process_says_what_is_wrong_and_none_waits(
    commands: Any, settings: PretrainConfig, sample_rows: Path, tmp_path: Path
) -> None:
    config = settings_of(settings, tmp_path / "config.json")
    out = tmp_path / "taken"
    out.mkdir()
    (out / "mine").write_text("keep")
    for status, printed in train(commands, config, sample_rows, out, 2):
        assert status == 2
        assert "exists already" in printed
    assert [path.name for path in out.iterdir()] == ["mine"]


@pytest.mark.slow
def test_processes_do_not_train_on_different_data(
    commands: Any, settings: PretrainConfig, sample_rows: Path, tmp_path: Path
) -> None:
    config = settings_of(settings, tmp_path / "config.json")
    others = tmp_path / "others"
    prepare_genome(
        GenomeJob(fasta=(TRAIN_FASTA,), heldout_fasta=(HELDOUT_FASTA,), out=others, k=3, row_length=64, seed=1)
    )

    def train_apart() -> list[tuple[int, str]]:
        command = [*config, "--out", str(tmp_path / "run"), "--data"]
        started = commands.start_several(command, 2, own=[[str(sample_rows)], [str(others)]])
        return [process.wait() for process in started]

    for status, printed in train_apart():
        assert status == 2
        assert "The processes read different data" in printed
    next(others.glob("heldout-*")).unlink()
    (_, well), (_, ill) = train_apart()
    assert "Another process" in well
    assert "is missing" in ill
    assert not (tmp_path / "run").exists()
