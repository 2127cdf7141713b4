"""queued_resource.sh: what it asks of gcloud, by the state of the request, and what it gives the machines to run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BASH = shutil.which("bash") or "bash"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
PLACE = ("--project", "my-project", "--zone", "us-west4-a")
START = (
    *PLACE, "--accelerator-type", "v5litepod-256", "--image", "us-docker.pkg.dev/my-project/dna/dnabert-jax:0.1.0",
    "--run", "gs://my-bucket/runs/hg38-k6", "--data", "gs://my-bucket/data/hg38-k6",
)  # fmt: skip
QUEUED_RESOURCES = ["gcloud", "compute", "tpus", "queued-resources"]


def verbs(calls: list[list[str]]) -> list[str]:
    """The commands on queued resources."""
    return [call[4] for call in calls if call[:4] == QUEUED_RESOURCES]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, ["describe", "create"]),
        ("ACTIVE", ["describe", "scp", "ssh"]),
        ("SUSPENDED", ["describe", "delete", "create"]),
        ("FAILED", ["describe", "delete", "create"]),
        ("WAITING_FOR_RESOURCES", ["describe"]),
        ("PROVISIONING", ["describe"]),
    ],
)
def test_start_does_what_the_state_asks_for(cloud: Any, state: str | None, expected: list[str]) -> None:
    cloud.in_state(state)
    out = cloud.succeeds("queued_resource.sh", "start", "dnabert6", *START)
    assert verbs(cloud.calls) == expected
    assert "gs://my-bucket/runs/hg38-k6" in out or f"dnabert6 is {state}: it begins by itself" in out
    assert all({"--project=my-project", "--zone=us-west4-a"} <= set(call) for call in cloud.calls[1:])


def test_a_request_on_its_way_out_is_left_alone(cloud: Any) -> None:
    cloud.in_state("SUSPENDING")
    assert "dnabert6 is SUSPENDING" in cloud.fails(1, "queued_resource.sh", "start", "dnabert6", *START)
    assert verbs(cloud.calls) == ["describe"]


@pytest.mark.parametrize("flag", ["--spot", "--reserved", None])
def test_a_queued_resource_is_what_the_flags_say(cloud: Any, flag: str | None) -> None:
    cloud.in_state(None)
    cloud.succeeds("queued_resource.sh", "start", "dnabert6", *START, *([flag] if flag else []))
    create = cloud.calls[-1]
    assert create[:6] == [*QUEUED_RESOURCES, "create", "dnabert6"]
    assert {"--accelerator-type=v5litepod-256", "--node-id=dnabert6", "--runtime-version=v2-alpha-tpuv5-lite"} <= set(
        create
    )
    assert {"--spot", "--reserved"} & set(create) == ({flag} if flag else set())


def test_slices_are_nodes_of_one_request(cloud: Any) -> None:
    cloud.in_state(None)
    cloud.succeeds("queued_resource.sh", "start", "dnabert6", *START, "--slices=2")
    assert {"--node-count=2", "--node-prefix=dnabert6"} <= set(cloud.calls[-1])
    assert "--node-id=dnabert6" not in cloud.calls[-1]


def test_active_machines_are_given_the_script_and_run_it(cloud: Any) -> None:
    cloud.in_state("ACTIVE")
    cloud.succeeds("queued_resource.sh", "start", "dnabert6", *START)
    copy, ssh = cloud.calls[-2:]
    assert copy[6] == "dnabert6:dnabert-jax-startup.sh"
    assert "docker run" in cloud.files["startup.sh"]
    assert "--command=sudo bash dnabert-jax-startup.sh" in ssh
    assert all({"--node=all", "--worker=all"} <= set(call) for call in (copy, ssh))


def test_status_and_logs_and_delete_of_a_queued_resource(cloud: Any) -> None:
    cloud.in_state("ACTIVE")
    cloud.answer("ssh", "Up 2 hours\n")
    assert cloud.succeeds("queued_resource.sh", "status", "dnabert6", *PLACE) == "dnabert6: ACTIVE\nUp 2 hours\n"
    cloud.succeeds("queued_resource.sh", "logs", "dnabert6", *PLACE, "--follow")
    logs = cloud.calls[-1]
    assert {"--node=0", "--worker=0"} <= set(logs)
    assert any(word.startswith("--command=sudo docker logs --follow dnabert-jax ") for word in logs)
    cloud.succeeds("queued_resource.sh", "delete", "dnabert6", *PLACE)
    assert cloud.calls[-1][4:7] == ["delete", "dnabert6", "--force"]


def test_status_asks_no_machine_before_there_is_one(cloud: Any) -> None:
    cloud.in_state("WAITING_FOR_RESOURCES")
    out = cloud.succeeds("queued_resource.sh", "status", "dnabert6", *PLACE)
    assert out == "dnabert6: WAITING_FOR_RESOURCES\n"
    assert verbs(cloud.calls) == ["describe"]
    cloud.in_state(None)
    assert "There is no queued resource" in cloud.fails(1, "queued_resource.sh", "status", "dnabert6", *PLACE)


@pytest.fixture
def startup_script(cloud: Any, tmp_path: Path) -> Path:
    """What the machines are given, with the test's directory as their root."""
    cloud.in_state(None)
    cloud.succeeds("queued_resource.sh", "start", "dnabert6", *START, "--", "--preset", "dnabert6")
    path = tmp_path / "startup.sh"
    path.write_text(re.sub("(?<=[ =])/(?=mnt|var)", f"{tmp_path}/root/", cloud.files["startup.sh"]))
    return path


def test_the_startup_script_is_a_sound_script(startup_script: Path) -> None:
    checked = subprocess.run([SHELLCHECK, "--severity=info", startup_script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_a_worker_is_stopped_with_grace_before_it_is_started_again(startup_script: Path, tmp_path: Path) -> None:
    worker, calls = tmp_path / "root/var/lib/dnabert-jax/worker.sh", tmp_path / "machine-calls"
    worker.parent.mkdir(parents=True)
    worker.write_text("old")
    (tmp_path / "machine").mkdir()
    for name in ("docker", "gcsfuse", "umount", "gcloud"):
        stub = tmp_path / "machine" / name
        stub.write_text(f'#!/bin/sh\necho "${{0##*/}} $*: $(head -c 3 {worker})" >> {calls}\n')
        stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}/machine:{os.environ['PATH']}"}
    subprocess.run([BASH, startup_script], env=environment, check=True, capture_output=True)
    lines = calls.read_text().splitlines()
    order = [
        "gcloud auth",
        "docker login",
        "docker pull",
        "docker stop",
        "docker rm",
        "umount",
        "gcsfuse",
        "docker run",
    ]
    # The two of a pipe start at once.
    assert sorted(" ".join(line.split()[:2]) for line in lines[:2]) == ["docker login", "gcloud auth"]
    assert [word for line in lines[2:] for word in order if line.startswith(word)] == order[2:]
    (stop,), (run,), (mount,) = (
        [line for line in lines if line.startswith(word)] for word in ("docker stop", "docker run", "gcsfuse")
    )
    # Its script is left as it is while it runs, as bash reads on in it.
    assert stop.endswith(": old")
    assert int(re.findall(r"-t (\d+)", stop)[0]) >= 30
    assert int(re.findall(r"--stop-timeout=(\d+)", run)[0]) >= 30
    assert "--metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 my-bucket" in mount
    assert "dnabert-jax pretrain --distributed --resume" in worker.read_text()
