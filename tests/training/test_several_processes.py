"""Real processes on one machine train one model: the figures of one process, and one log."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from dnabert_jax.config import MeshConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.sample import HELDOUT_FASTA, TRAIN_FASTA
from dnabert_jax.telemetry.run_log import read_log
from dnabert_jax.typed_json import to_json

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path
import jax

coordinator, processes, process, config, data, out = sys.argv[1:]
if int(processes) > 1:
    jax.distributed.initialize(coordinator, int(processes), int(process))
from dnabert_jax.config import PretrainConfig
from dnabert_jax.training.loop import pretrain
from dnabert_jax.typed_json import read_json

assert len(jax.devices()) == 8
result = pretrain(read_json(PretrainConfig, Path(config)), Path(data), Path(out))
print(result.step, result.evaluation)
"""


def run(processes: int, config: Path, data: Path | list[Path], out: Path) -> list[subprocess.CompletedProcess[str]]:
    """Starts the processes at the same time and waits for them; each may have data of its own."""
    data = data if isinstance(data, list) else [data] * processes
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    devices = f"--xla_force_host_platform_device_count={8 // processes}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": devices}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, f"127.0.0.1:{port}", str(processes), str(process), config, own, out],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
        )
        for process, own in enumerate(data)
    ]  # fmt: skip
    ended = [(process, *process.communicate(timeout=300)) for process in started]
    return [subprocess.CompletedProcess(p.args, p.returncode, out, err) for p, out, err in ended]


@pytest.fixture(scope="module")
def settings(small_model: ModelConfig) -> PretrainConfig:
    return PretrainConfig(
        model=small_model,
        optimizer=OptimizerConfig(peak_learning_rate=1e-3, warmup_steps=1, schedule_steps=20),
        global_batch=8,
        steps=4,
        log_every=1,
        evaluation_rows=12,
        checkpoint_every=2,
    )


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(data=1, tensor=4, fsdp=2)], ids=["data", "tensor across"])
def test_two_processes_train_as_one(
    settings: PretrainConfig, sample_rows: Path, tmp_path: Path, mesh: MeshConfig
) -> None:
    config = tmp_path / "config.json"
    config.write_text(to_json(replace(settings, mesh=mesh)))
    logs = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        for ended in run(processes, config, sample_rows, out):
            assert ended.returncode == 0, ended.stderr[-3000:]
        logs.append(read_log(out))
    one, two = logs
    assert [(line["step"], line["kind"]) for line in one] == [(line["step"], line["kind"]) for line in two]
    for ours, theirs in zip(two, one, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        for exact in ("tokens", "masked_share", "masked_kmers", "hidden_bases"):
            assert ours.get(exact) == theirs.get(exact)


@pytest.mark.slow
def test_every_process_says_what_is_wrong_and_none_waits(
    settings: PretrainConfig, sample_rows: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(to_json(settings))
    out = tmp_path / "taken"
    out.mkdir()
    (out / "mine").write_text("keep")
    for ended in run(2, config, sample_rows, out):
        assert ended.returncode == 1
        assert "exists already" in ended.stderr
    assert [path.name for path in out.iterdir()] == ["mine"]


@pytest.mark.slow
def test_processes_do_not_train_on_different_data(settings: PretrainConfig, sample_rows: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(to_json(settings))
    others = tmp_path / "others"
    prepare_genome(
        GenomeJob(fasta=(TRAIN_FASTA,), heldout_fasta=(HELDOUT_FASTA,), out=others, k=3, row_length=64, seed=1)
    )
    for ended in run(2, config, [sample_rows, others], tmp_path / "run"):
        assert ended.returncode == 1
        assert "The processes read different data" in ended.stderr
    next(others.glob("heldout-*")).unlink()
    well, ill = run(2, config, [sample_rows, others], tmp_path / "run")
    assert "Another process cannot use its data" in well.stderr
    assert "is missing" in ill.stderr
    assert not (tmp_path / "run").exists()
