"""Repositories of the Hugging Face hub by name, without a network: a hub on this machine, a silent one, and none."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest

from dnabert_jax.commands.cli import run
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.interop import hub
from dnabert_jax.interop.hub import check_model, local_directory, push_directory

COMMIT = "0" * 40
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at this port, nothing was downloaded before, and nothing that was looked up is remembered."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", NOWHERE)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    hub._look_up.cache_clear()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files of owner/name, the only repository of a hub that answers what it is asked before a download."""
    files: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content: object = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
            self.send_response(200 if "/owner/name" in self.path else 404)
            if "/owner/name" not in self.path:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield files
    server.shutdown()
    server.server_close()


def downloaded_before(directory: Path, *files: str) -> Path:
    """A repository in the cache, as huggingface_hub lays it out."""
    repository = directory / "cache/models--owner--name"
    snapshot = repository / "snapshots" / COMMIT
    for path in (snapshot, repository / "refs"):
        path.mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    for file in files:
        (snapshot / file).touch()
    return snapshot


@pytest.mark.parametrize("name", ["dnabert6x", "./nothing", "../nothing", "runs/x/y", "a--b/c", "~/models", "a b/c"])
def test_what_cannot_be_a_model_is_refused_before_anything_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError):
        check_model(name)
    monkeypatch.chdir(tmp_path)
    for file in ("x.fa", "x.csv", "x.vcf"):
        Path(file).touch()
    for command in (["predict", "--fasta", "x.fa"], ["finetune", "--data", "x.csv"], ["variants", "--vcf", "x.vcf"]):
        more = ["--fasta", "x.fa"] if command[0] == "variants" else []
        assert run([*command, *more, "--model", name, "--out", "out.tsv"]) == 2
        assert f" {name}" in capsys.readouterr().err


def test_without_a_network_the_error_is_one_sentence_at_once(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(JobError, match="nobody/nothing"):
        local_directory("nobody/nothing")
    assert time.monotonic() - begin < 5
    with pytest.raises(JobError, match="nobody/nothing"):
        push_directory(tmp_path, "nobody/nothing", private=True)
    with pytest.raises(InputError, match="a b/c"):
        push_directory(tmp_path, "a b/c", private=True)


@pytest.mark.parametrize("seconds", ["_REQUEST_SECONDS", "_ANSWER_SECONDS"])
def test_a_hub_that_accepts_and_says_nothing_is_left_in_time(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, seconds, 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        with pytest.raises(JobError, match="owner/name"):
            local_directory("owner/name")
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin", "nothing"])
@pytest.mark.parametrize("offline", [True, False])
def test_an_earlier_download_is_used_where_the_hub_is_not(
    weights: str, offline: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = downloaded_before(tmp_path, "config.json", weights)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    if weights == "nothing":
        with pytest.raises(JobError, match="owner/name"):
            local_directory("owner/name")
    else:
        assert local_directory("owner/name") == snapshot
    # A directory goes before a repository.
    (tmp_path / "owner/name").mkdir(parents=True)
    assert local_directory("owner/name") == Path("owner/name")


@pytest.mark.parametrize("safetensors", [True, False])
def test_a_pickle_is_downloaded_only_where_there_is_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: list[str], safetensors: bool
) -> None:
    served += ["config.json", "dnabert_layer.py", "pytorch_model.bin"] + ["model.safetensors"] * safetensors
    wanted: list[str] = []
    check_model("owner/name")

    def download(name: str, allow_patterns: list[str]) -> str:
        wanted.extend(huggingface_hub.utils.filter_repo_objects(served, allow_patterns=allow_patterns))
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert local_directory("owner/name") == tmp_path / "owner" / "name"
    assert wanted == ["config.json", "model.safetensors" if safetensors else "pytorch_model.bin"]
    with pytest.raises(InputError, match="runs/typo"):
        local_directory("runs/typo")
