"""What the scripts that start pods share: usage, dry runs, errors."""

import re
import shlex
from typing import Any

import pytest

from dnabert_jax.families import PRESETS

RUN = ("--image", "image:1", "--run", "gs://my-bucket/runs/hg38-k6", "--data", "gs://my-bucket/data/hg38-k6")
FLAGS = {
    "queued_resource.sh": ("--project", "p", "--zone", "us-west4-a", "--accelerator-type", "v5litepod-256", *RUN),
    "gke.sh": (
        *("--project", "p", "--location", "us-west4", "--cluster", "c"),
        *("--accelerator", "tpu-v5-lite-podslice", "--topology", "16x16", *RUN),
    ),
}


@pytest.mark.parametrize("script", FLAGS)
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


@pytest.mark.parametrize("script", FLAGS)
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("go", "dnabert6"), "There is no action 'go'"),
        (("start",), "The name after start is ''"),
        (("start", "DNABERT6"), "The name after start is 'DNABERT6'"),
        (("start", "dnabert6", "--speed", "9"), "There is no flag --speed"),
        (("start", "dnabert6", "--image"), "--image needs a value"),
        (("start", "dnabert6", "--image", "a b"), "--image is 'a b'"),
        (("start", "dnabert6", "v5litepod-256"), "'v5litepod-256' is no flag"),
        (("status", "dnabert6"), "status needs --project"),
        (("start", "dnabert6", "--", "--out", "x"), "--out of pretrain is set by"),
        (("start", "dnabert6", "--", "--data=x"), "--data=x of pretrain is set by"),
    ],
)
def test_bad_usage_is_one_sentence(cloud: Any, script: str, arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in cloud.fails(2, script, *arguments)
    assert cloud.calls == []


@pytest.mark.parametrize("script", FLAGS)
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--run", "runs/hg38-k6"), "give gs://BUCKET/PATH"),
        (("--run", "gs://my-bucket"), "give gs://BUCKET/PATH"),
        (("--slices", "0"), "--slices is '0'"),
        (("--", "--preset", "dnabert7", "--seed", "1"), "There is no preset 'dnabert7'"),
        (("--", "--seed", "1", "--preset=base"), f"choose one of {', '.join(PRESETS)}."),
        (("--", "--preset"), "There is no preset ''"),
    ],
)
def test_a_bad_job_is_one_sentence(cloud: Any, script: str, flags: tuple[str, ...], sentence: str) -> None:
    assert sentence in cloud.fails(2, script, "start", "dnabert6", *FLAGS[script], *flags)
    assert cloud.calls == []


@pytest.mark.parametrize(
    ("script", "flags", "sentence"),
    [
        ("queued_resource.sh", ("--spot", "--reserved"), "--spot or --reserved"),
        ("gke.sh", ("--spot", "--reservation", "mine"), "--spot or --reservation"),
        ("gke.sh", ("--topology", "16"), "--topology is '16'"),
        ("gke.sh", ("--topology", "2x3"), "tpu-v5-lite-podslice has no --topology 2x3"),
        ("gke.sh", ("--topology", "4x4x4"), "tpu-v5-lite-podslice has no --topology 4x4x4"),
        ("gke.sh", ("--accelerator", "tpu-v5p-slice"), "tpu-v5p-slice has no --topology 16x16"),
        ("gke.sh", ("--accelerator", "tpu-v5p-slice", "--topology", "3x3x3"), "3x3x3"),
        ("gke.sh", ("--accelerator", "tpu-v4-podslice", "--topology", "16x16x24"), "16x16x24"),
        ("gke.sh", ("--accelerator", "v5litepod-256"), "v5litepod-256"),
        ("gke.sh", ("--accelerator", "tpu-v9-slice"), "tpu-v9-slice"),
        ("gke.sh", ("--topology", "2x2", "--chips-per-node", "8"), "do not divide"),
        ("gke.sh", ("--chips-per-node", "3"), "--chips-per-node is '3'"),
    ],
)
def test_contradictions_are_one_sentence(cloud: Any, script: str, flags: tuple[str, ...], sentence: str) -> None:
    assert sentence in cloud.fails(2, script, "start", "dnabert6", *FLAGS[script], *flags)
    assert cloud.calls == []


@pytest.mark.parametrize(
    "accelerator_type", ["v5e-3", "v5litepod-7", "v5litepod-512", "v9-8", "v4-12", "v5p-200", "v6e"]
)
def test_accelerator_types_that_do_not_exist_are_refused(cloud: Any, accelerator_type: str) -> None:
    job = (*FLAGS["queued_resource.sh"], "--accelerator-type", accelerator_type, "--dry-run")
    assert accelerator_type in cloud.fails(2, "queued_resource.sh", "start", "dnabert6", *job)


@pytest.mark.parametrize("accelerator_type", ["v5litepod-1", "v6e-256", "v5p-8", "v5p-12288", "v4-384"])
def test_accelerator_types_that_exist_are_taken(cloud: Any, accelerator_type: str) -> None:
    job = (*FLAGS["queued_resource.sh"], "--accelerator-type", accelerator_type, "--dry-run")
    assert f"--accelerator-type={accelerator_type} " in cloud.succeeds("queued_resource.sh", "start", "dnabert6", *job)


@pytest.mark.parametrize("script", FLAGS)
def test_a_run_may_have_a_path_of_one_letter(cloud: Any, script: str) -> None:
    for url in ("gs://my-bucket/a", "gs://my-bucket/a/", "gs://my-bucket/a/b"):
        printed = cloud.succeeds(script, "start", "dnabert6", *FLAGS[script], "--run", url, "--dry-run")
        assert f"--out {url.rstrip('/').replace('gs://my-bucket', '/bucket')} " in printed


@pytest.mark.parametrize("script", FLAGS)
def test_help_has_an_example_that_works(cloud: Any, script: str) -> None:
    help_text = cloud.succeeds(script, "--help")
    example = help_text.partition("example: launch/")[2].replace("\\\n", " ")
    assert cloud.succeeds(*shlex.split(example.partition(" -- ")[0]), "--dry-run", "--", "--preset", "dnabert6")
    done = cloud.run(script)
    assert (done.returncode, done.stderr) == (2, help_text)


@pytest.mark.parametrize("script", FLAGS)
def test_a_bucket_where_checkpoints_cannot_be_renamed_is_refused(cloud: Any, script: str) -> None:
    cloud.answer("buckets describe", "\n")
    assert "--enable-hierarchical-namespace" in cloud.fails(2, script, "start", "dnabert6", *FLAGS[script])
    assert len(cloud.calls) == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("queued_resource.sh", "buckets describe"),
        ("queued_resource.sh", "queued-resources describe"),
        ("queued_resource.sh", "queued-resources create"),
        ("gke.sh", "get-credentials"),
        ("gke.sh", "apply"),
    ],
)
def test_a_failure_of_the_cloud_ends_the_script_with_1(cloud: Any, script: str, words: str) -> None:
    cloud.in_state(None)
    cloud.answer(words, error="PERMISSION_DENIED\n", status=7)
    cloud.fails(1, script, "start", "dnabert6", *FLAGS[script])
    assert set(words.split()) <= set(cloud.calls[-1])
    assert "PERMISSION_DENIED" in cloud.run(script, "start", "dnabert6", *FLAGS[script]).stderr
