"""queued_resource.sh: what it asks of gcloud, by the state of the request, and what it gives the machines to run."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def test_the_startup_script_is_a_sound_script(cloud: Any, tmp_path: Path) -> None:
    cloud.in_state(None)
    cloud.succeeds("queued_resource.sh", "start", "dnabert6", *START, "--", "--preset", "dnabert6")
    path = tmp_path / "startup.sh"
    path.write_text(cloud.files["startup.sh"])
    checked = subprocess.run([SHELLCHECK, "--severity=info", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert 'gcsfuse --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 "my-bucket"' in path.read_text()
    (grace,) = re.findall(r"--stop-timeout=(\d+)", path.read_text())
    assert int(grace) >= 30
