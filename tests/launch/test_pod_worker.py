"""What a worker of a pod runs, with a program of the test in place of dnabert-jax."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

BASH = shutil.which("bash") or "bash"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
START = (
    "--project", "p", "--location", "us-west4", "--cluster", "c", "--accelerator", "tpu-v5-lite-podslice",
    "--topology", "16x16", "--image", "image:1", "--run", "gs://my-bucket/runs/hg38-k6", "--data", "gs://my-bucket/data",
)  # fmt: skip

Worker = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def worker(cloud: Any, tmp_path: Path) -> Worker:
    """Starts what a worker runs, with a program of the test in place of dnabert-jax and a directory as the bucket."""

    def start(program: str, *pretrain_flags: str) -> subprocess.Popen[str]:
        cloud.succeeds("gke.sh", "start", "dnabert6", *START, "--", *pretrain_flags)
        (job,) = yaml.safe_load(cloud.files["jobset.yaml"])["spec"]["replicatedJobs"]
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        *_, script = container["command"]
        (tmp_path / "dnabert-jax").write_text(f"#!/usr/bin/env bash\n{program}")
        (tmp_path / "dnabert-jax").chmod(0o755)
        checked = subprocess.run([SHELLCHECK, "--shell=bash", "-"], input=script, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout
        script = script.replace("/bucket/", f"{tmp_path}/bucket/")
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.Popen([BASH, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)

    (tmp_path / "bucket/runs/hg38-k6/checkpoints/60").mkdir(parents=True)
    config = {"optimizer": {"warmup_steps": 10, "schedule_steps": 200}, "steps": 120}
    (tmp_path / "bucket/runs/hg38-k6/config.json").write_text(json.dumps(config, indent=2))
    return start


def test_a_worker_trains_with_the_users_flags_as_they_were_given(worker: Worker) -> None:
    awkward = ["--preset", "dnabert6", "--config", 'a b\'s "$HOME"', "--mesh.fsdp", "8"]
    printed, _ = worker('printf "%s\\n" "$@"', *awkward).communicate(timeout=60)
    assert printed.splitlines()[:-1] == [
        *("pretrain", "--distributed", "--resume", "--data", "gs://my-bucket/data"),
        *("--out", printed.splitlines()[6], "--data-cache", "/data-cache", *awkward),
    ]
    assert printed.splitlines()[6].endswith("/bucket/runs/hg38-k6")


def test_a_worker_is_done_when_the_last_step_is_saved(worker: Worker, tmp_path: Path) -> None:
    stopped = worker("exit 0")
    assert stopped.wait(60) == 75
    (tmp_path / "bucket/runs/hg38-k6/checkpoints/120").mkdir()
    assert worker("exit 0").wait(60) == 0
    assert worker("exit 2").wait(60) == 2
    assert worker("kill -TERM $$").wait(60) == 128 + signal.SIGTERM


def test_sigterm_reaches_pretrain_and_its_checkpoint_is_waited_for(worker: Worker, tmp_path: Path) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    program = f"trap 'sleep 0.5; touch {saved}; exit 0' TERM\ntouch {ready}\nwhile true; do sleep 0.05; done"
    process = worker(program)
    deadline = time.monotonic() + 60
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)  # impatience changes nothing
    assert process.wait(60) == 75
    assert saved.exists()
