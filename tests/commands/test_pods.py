"""The scripts that start pods: what they ask of gcloud and kubectl, and what they give the machines to run."""

import itertools
import json
import os
import re
import shlex
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

from dnabert_jax.families import PRESETS
from tests.commands.conftest import wait_for

BASH = shutil.which("bash") or "bash"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
GKE, QUEUED = "gke.sh", "queued_resource.sh"
PLACES = {
    QUEUED: ("--project", "p", "--zone", "us-west4-a"),
    GKE: ("--project", "p", "--location", "us-west4", "--cluster", "c"),
}
IMAGE = "us-docker.pkg.dev/my-project/dna/dnabert-jax:0.1.0"
JOB = ("--image", IMAGE, "--run", "gs://my-bucket/runs/hg38-k6", "--data", "gs://my-bucket/data/hg38-k6")
FLAGS = {
    QUEUED: (*PLACES[QUEUED], "--accelerator-type", "v5litepod-256", *JOB),
    GKE: (*PLACES[GKE], "--accelerator", "tpu-v5-lite-podslice", "--topology", "16x16", *JOB),
}
QUEUED_RESOURCES = ["gcloud", "compute", "tpus", "queued-resources"]
both_scripts = pytest.mark.parametrize("script", FLAGS)


def start(cloud: Any, script: str, *flags: str) -> str:
    return cloud.succeeds(script, "start", "dnabert6", *FLAGS[script], *flags)


def jobset(cloud: Any, *flags: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The specification of a JobSet, of its job and of that one's pods."""
    start(cloud, GKE, *flags)
    manifest = yaml.safe_load(cloud.files["jobset.yaml"])
    assert manifest["metadata"]["name"] == "dnabert6"
    (slices,) = manifest["spec"]["replicatedJobs"]
    return manifest["spec"], slices["template"]["spec"], slices["template"]["spec"]["template"]["spec"]


@both_scripts
@pytest.mark.parametrize("action", ["start", "status", "logs", "delete"])
def test_a_dry_run_runs_nothing_and_prints_what_would_be_run(cloud: Any, script: str, action: str) -> None:
    printed = cloud.succeeds(script, action, "dnabert6", *FLAGS[script], "--dry-run")
    assert cloud.calls == []
    lines = re.sub(r"(?ms)^cat > .*?^END_OF_FILE$", "", printed).splitlines()
    commands = [[word.replace("./", "") for word in shlex.split(line, comments=True)] for line in lines]
    for state in (None, "ACTIVE", "SUSPENDED"):
        cloud.in_state(state)
        cloud.run(script, action, "dnabert6", *FLAGS[script])
    assert cloud.calls
    for call in cloud.calls:
        assert [re.sub(r"/\S*/(?=startup.sh|jobset.yaml)", "", word) for word in call] in commands
    for name, text in cloud.files.items():
        assert f"cat > ./{name} <<'END_OF_FILE'\n{text.rstrip()}\nEND_OF_FILE" in printed


@both_scripts
def test_bad_usage_is_one_sentence(cloud: Any, script: str) -> None:
    for arguments, named in (
        ("go dnabert6", "'go'"),
        ("start", "''"),
        ("start DNABERT6", "'DNABERT6'"),
        ("start dnabert6 --speed 9", "--speed"),
        ("start dnabert6 --image", "--image"),
        ("start dnabert6 v5litepod-256", "'v5litepod-256'"),
        ("status dnabert6", "--project"),
        *((f"start dnabert6 -- {flag}", flag.split()[0]) for flag in ("--out x", "--data=x")),
        *((f"start dnabert6 FLAGS --run {path}", "gs://BUCKET/PATH") for path in ("runs/hg38-k6", "gs://my-bucket")),
        ("start dnabert6 FLAGS --slices 0", "--slices is '0'"),
        *((f"start dnabert6 FLAGS -- --preset{name}", ", ".join(PRESETS)) for name in ("", " dnabert7", "=base")),
    ):
        words = arguments.replace("FLAGS", " ".join(FLAGS[script])).split()
        assert named in cloud.fails(2, script, *words)
        assert cloud.calls == []


def test_machines_that_do_not_exist_are_refused(cloud: Any) -> None:
    for script, flags, values in (
        (QUEUED, "--spot", "--reserved"),
        (QUEUED, "--accelerator-type", "v5e-3 v5litepod-7 v9-8 v4-12 v6e"),
        (GKE, "--spot --reservation", "mine"),
        (GKE, "--topology", "16 2x3 4x4x4"),
        (GKE, "--accelerator tpu-v5p-slice --topology", "16x16 3x3x3"),
        (GKE, "--accelerator tpu-v4-podslice --topology", "16x16x24"),
        (GKE, "--accelerator", "tpu-v9-slice"),
        (GKE, "--topology 2x2 --chips-per-node", "8 3"),
    ):
        for value in values.split():
            sentence = cloud.fails(2, script, "start", "dnabert6", *FLAGS[script], *flags.split(), value)
            assert value.replace("mine", "--reservation") in sentence
    assert cloud.calls == []


def test_machines_and_paths_that_exist_are_taken(cloud: Any) -> None:
    for kind in ("v5litepod-1", "v6e-256", "v5p-8", "v5p-12288", "v4-384"):
        assert f"--accelerator-type={kind} " in start(cloud, QUEUED, "--accelerator-type", kind, "--dry-run")
    for script, url in itertools.product(FLAGS, ("gs://my-bucket/a", "gs://my-bucket/a/", "gs://my-bucket/a/b")):
        printed = start(cloud, script, "--run", url, "--dry-run")
        assert f"--out {url.rstrip('/').replace('gs://my-bucket', '/bucket')} " in printed


@both_scripts
def test_help_has_an_example_that_works(cloud: Any, script: str) -> None:
    help_text = cloud.succeeds(script, "--help")
    example = help_text.partition("example: launch/")[2].replace("\\\n", " ")
    assert cloud.succeeds(*shlex.split(example.partition(" -- ")[0]), "--dry-run", "--", "--preset", "dnabert6")
    done = cloud.run(script)
    assert (done.returncode, done.stderr) == (2, help_text)


@both_scripts
def test_a_bucket_where_checkpoints_cannot_be_renamed_is_refused(cloud: Any, script: str) -> None:
    cloud.answer("buckets describe", "\n")
    assert "--enable-hierarchical-namespace" in cloud.fails(2, script, "start", "dnabert6", *FLAGS[script])
    assert len(cloud.calls) == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        *((QUEUED, words) for words in ("buckets describe", "queued-resources describe", "queued-resources create")),
        *((GKE, words) for words in ("get-credentials", "apply")),
    ],
)
def test_a_failure_of_the_cloud_ends_the_script_with_1(cloud: Any, script: str, words: str) -> None:
    cloud.in_state(None)
    cloud.answer(words, error="PERMISSION_DENIED\n", status=7)
    cloud.fails(1, script, "start", "dnabert6", *FLAGS[script])
    assert set(words.split()) <= set(cloud.calls[-1])


def test_a_jobset_is_replaced_shown_and_deleted(cloud: Any) -> None:
    assert "gs://my-bucket/runs/hg38-k6" in start(cloud, GKE)
    _, credentials, delete, apply = map(" ".join, cloud.calls)
    assert credentials.startswith("gcloud container clusters get-credentials c --location=us-west4 --project=p")
    assert delete.startswith("kubectl delete jobset dnabert6 ")
    assert {"--ignore-not-found", "--cascade=foreground", "--namespace=default"} <= set(delete.split())
    assert apply.startswith("kubectl apply ")
    cloud.succeeds(GKE, "status", "dnabert6", *PLACES[GKE], "--namespace", "dna")
    sets, pods = map(" ".join, cloud.calls[-2:])
    assert sets == "kubectl get jobset dnabert6 --namespace=dna"
    assert "--selector=jobset.sigs.k8s.io/jobset-name=dnabert6" in pods
    cloud.succeeds(GKE, "logs", "dnabert6", *PLACES[GKE], "--follow")
    assert {"logs", "--container=pretrain", "--follow"} <= set(cloud.calls[-1])
    cloud.succeeds(GKE, "delete", "dnabert6", *PLACES[GKE])
    assert cloud.calls[-1][:4] == ["kubectl", "delete", "jobset", "dnabert6"]


def test_the_jobset_runs_one_process_a_node_and_restarts_all_except_for_bad_input(
    cloud: Any,
) -> None:
    spec, job, pod = jobset(cloud, "--slices", "2", "--spot")
    (container,) = pod["containers"]
    # 16 x 16 chips, four a node.
    assert (spec["replicatedJobs"][0]["replicas"], job["parallelism"], job["completions"]) == (2, 64, 64)
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"google.com/tpu": 4}
    nodes = {name.partition("/")[2]: value for name, value in pod["nodeSelector"].items()}
    kind = {"gke-tpu-accelerator": "tpu-v5-lite-podslice", "gke-tpu-topology": "16x16"}
    assert nodes == {**kind, "gke-spot": "true"}
    assert pod["terminationGracePeriodSeconds"] >= 30
    assert (container["image"], container["command"][:2]) == (IMAGE, ["bash", "-c"])
    (bucket,) = [volume["csi"] for volume in pod["volumes"] if volume["name"] == "bucket"]
    assert bucket["volumeAttributes"]["bucketName"] == "my-bucket"
    assert spec["failurePolicy"]["maxRestarts"] > 0
    assert (job["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    (rule,), (pod_rule,) = spec["failurePolicy"]["rules"], job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    assert (pod_rule["action"], pod_rule["onExitCodes"]["values"]) == ("FailJob", [2])
    _, _, pod = jobset(cloud, "--reservation", "mine")
    nodes = {name.partition("/")[2]: value for name, value in pod["nodeSelector"].items()}
    assert nodes == {**kind, "reservation-name": "mine"}


def verbs(calls: list[list[str]]) -> list[str]:
    """The commands on queued resources."""
    return [call[4] for call in calls if call[:4] == QUEUED_RESOURCES]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, "describe create"),
        ("ACTIVE", "describe scp ssh"),
        *((state, "describe delete create") for state in ("SUSPENDED", "FAILED")),
        # The last one is on its way out: left alone, and said.
        *((state, "describe") for state in ("WAITING_FOR_RESOURCES", "PROVISIONING", "SUSPENDING")),
    ],
)
def test_start_does_what_the_state_asks_for(cloud: Any, state: str | None, expected: str) -> None:
    cloud.in_state(state)
    done = cloud.run(QUEUED, "start", "dnabert6", *FLAGS[QUEUED])
    assert done.returncode == (state == "SUSPENDING")
    assert verbs(cloud.calls) == expected.split()
    said = f"dnabert6 is {state}" if expected == "describe" else "gs://my-bucket/runs/hg38-k6"
    assert said in done.stdout + done.stderr
    assert all({"--project=p", "--zone=us-west4-a"} <= set(call) for call in cloud.calls[1:])


def test_a_queued_resource_is_what_the_flags_say(cloud: Any) -> None:
    for flags, given in (
        ("", "--node-id=dnabert6"),
        ("--spot", "--node-id=dnabert6 --spot"),
        ("--reserved", "--node-id=dnabert6 --reserved"),
        ("--slices=2", "--node-count=2 --node-prefix=dnabert6"),
    ):
        cloud.in_state(None)
        start(cloud, QUEUED, *flags.split())
        create = cloud.calls[-1]
        assert create[:6] == [*QUEUED_RESOURCES, "create", "dnabert6"]
        assert {"--accelerator-type=v5litepod-256", "--runtime-version=v2-alpha-tpuv5-lite"} <= {*create}
        assert {word for word in create if word.startswith(("--node", "--spot", "--reserved"))} == {*given.split()}


def test_active_machines_are_given_the_script_and_run_it_and_are_shown_and_deleted(cloud: Any) -> None:
    cloud.in_state("ACTIVE")
    start(cloud, QUEUED)
    copy, ssh = cloud.calls[-2:]
    assert copy[6] == "dnabert6:dnabert-jax-startup.sh"
    assert "docker run" in cloud.files["startup.sh"]
    assert "--command=sudo bash dnabert-jax-startup.sh" in ssh
    assert all({"--node=all", "--worker=all"} <= set(call) for call in (copy, ssh))
    cloud.answer("ssh", "Up 2 hours\n")
    assert cloud.succeeds(QUEUED, "status", "dnabert6", *PLACES[QUEUED]) == "dnabert6: ACTIVE\nUp 2 hours\n"
    cloud.succeeds(QUEUED, "logs", "dnabert6", *PLACES[QUEUED], "--follow")
    assert {"--node=0", "--worker=0"} <= set(cloud.calls[-1])
    assert any(word.startswith("--command=sudo docker logs --follow dnabert-jax ") for word in cloud.calls[-1])
    cloud.succeeds(QUEUED, "delete", "dnabert6", *PLACES[QUEUED])
    assert cloud.calls[-1][4:7] == ["delete", "dnabert6", "--force"]


def test_status_asks_no_machine_before_there_is_one(cloud: Any) -> None:
    cloud.in_state("WAITING_FOR_RESOURCES")
    assert cloud.succeeds(QUEUED, "status", "dnabert6", *PLACES[QUEUED]) == "dnabert6: WAITING_FOR_RESOURCES\n"
    assert verbs(cloud.calls) == ["describe"]
    cloud.in_state(None)
    cloud.fails(1, QUEUED, "status", "dnabert6", *PLACES[QUEUED])


def check_shell(script: str) -> None:
    done = subprocess.run(
        [SHELLCHECK, "--shell=bash", "--severity=info", "-"], input=script, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_a_worker_is_stopped_with_grace_before_it_is_started_again(cloud: Any, tmp_path: Path) -> None:
    cloud.in_state(None)
    start(cloud, QUEUED, "--", "--preset", "dnabert6")
    script = re.sub("(?<=[ =])/(?=mnt|var)", f"{tmp_path}/root/", cloud.files["startup.sh"])
    check_shell(script)
    worker, calls = tmp_path / "root/var/lib/dnabert-jax/worker.sh", tmp_path / "machine-calls"
    worker.parent.mkdir(parents=True)
    worker.write_text("old")
    (tmp_path / "machine").mkdir()
    for name in ("docker", "gcsfuse", "umount", "gcloud"):
        stub = tmp_path / "machine" / name
        stub.write_text(f'#!/bin/sh\necho "${{0##*/}} $*: $(head -c 3 {worker})" >> {calls}\n')
        stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}/machine:{os.environ['PATH']}"}
    subprocess.run([BASH, "-c", script], env=environment, check=True, capture_output=True)
    lines = calls.read_text().splitlines()
    # The two of a pipe start at once.
    assert sorted(" ".join(line.split()[:2]) for line in lines[:2]) == ["docker login", "gcloud auth"]
    order = ["docker pull", "docker stop", "docker rm", "umount", "gcsfuse", "docker run"]
    assert [word for line in lines[2:] for word in order if line.startswith(word)] == order
    # Its script is left as it is while it runs, as bash reads on in it.
    assert next(line for line in lines if line.startswith("docker stop")).endswith(": old")
    (stop,), (run,) = (re.findall(rf"{flag}(\d+)", "\n".join(lines)) for flag in ("-t ", "--stop-timeout="))
    assert min(int(stop), int(run)) >= 30
    assert "--metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 my-bucket" in "".join(lines)
    assert "dnabert-jax pretrain --distributed --resume" in worker.read_text()


Worker = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def worker(cloud: Any, tmp_path: Path) -> Worker:
    """Starts what a worker runs, with a program of the test in place of dnabert-jax and a directory as the bucket."""

    def start_worker(program: str, *pretrain_flags: str) -> subprocess.Popen[str]:
        _, _, pod = jobset(cloud, "--", *pretrain_flags)
        *_, script = pod["containers"][0]["command"]
        check_shell(script)
        (tmp_path / "dnabert-jax").write_text(f"#!/usr/bin/env bash\n{program}")
        (tmp_path / "dnabert-jax").chmod(0o755)
        script = script.replace("/bucket/", f"{tmp_path}/bucket/")
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.Popen([BASH, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)

    (tmp_path / "bucket/runs/hg38-k6/checkpoints/60").mkdir(parents=True)
    config = {"optimizer": {"warmup_steps": 10, "schedule_steps": 200}, "steps": 120}
    (tmp_path / "bucket/runs/hg38-k6/config.json").write_text(json.dumps(config, indent=2))
    return start_worker


def test_a_worker_trains_with_the_users_flags_as_they_were_given(worker: Worker, tmp_path: Path) -> None:
    awkward = ["--preset", "dnabert6", "--config", 'a b\'s "$HOME"', "--mesh.fsdp", "8"]
    printed, _ = worker('printf "%s\\n" "$@"', *awkward).communicate(timeout=60)
    given = f"pretrain --distributed --resume --data gs://my-bucket/data/hg38-k6 --out {tmp_path}/bucket/runs/hg38-k6"
    assert printed.splitlines()[:-1] == [*given.split(), "--data-cache", "/data-cache", *awkward]


def test_a_worker_is_done_when_the_last_step_is_saved(worker: Worker, tmp_path: Path) -> None:
    assert worker("exit 0").wait(60) == 75
    (tmp_path / "bucket/runs/hg38-k6/checkpoints/120").mkdir()
    assert worker("exit 0").wait(60) == 0
    assert worker("exit 2").wait(60) == 2
    assert worker("kill -TERM $$").wait(60) == 128 + signal.SIGTERM


def test_sigterm_reaches_pretrain_and_its_checkpoint_is_waited_for(worker: Worker, tmp_path: Path) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    process = worker(f"trap 'sleep 0.5; touch {saved}; exit 0' TERM\ntouch {ready}\nwhile true; do sleep 0.05; done")
    wait_for(ready.exists, 60)
    for _ in range(2):  # impatience changes nothing
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    assert process.wait(60) == 75
    assert saved.exists()
