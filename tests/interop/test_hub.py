"""Repositories of the Hugging Face hub by name, without a network."""

from pathlib import Path

import huggingface_hub
import huggingface_hub.utils
import pytest

from dnabert_jax.errors import InputError, JobError
from dnabert_jax.interop.hub import local_directory, push_directory


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at this port."""

    def refused(*_: object, **__: object) -> None:
        huggingface_hub.get_session().get("http://127.0.0.1:9")

    for name in ("list_repo_files", "create_repo"):
        monkeypatch.setattr(huggingface_hub, name, refused)


@pytest.mark.usefixtures("no_network")
def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"nobody/nothing is no local directory, and cannot be had from the hub \(Conn"):
        local_directory("nobody/nothing")
    with pytest.raises(JobError, match=r"nobody/nothing could not be written on the hub \(Conn"):
        push_directory(tmp_path, "nobody/nothing", private=True)


def test_a_name_that_no_repository_can_have_is_refused(tmp_path: Path) -> None:
    for name in ("../nothing", "a--b/c", "nothing", "a/b/c"):
        with pytest.raises(InputError, match=r"does not exist|is neither a local directory nor a repository"):
            local_directory(name)
    with pytest.raises(InputError, match="no name that the Hugging Face hub allows"):
        push_directory(tmp_path, "a b/c", private=True)


@pytest.mark.usefixtures("no_network")
def test_a_directory_goes_before_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert local_directory("owner/name") == Path("owner/name")


@pytest.mark.parametrize("safetensors", [True, False])
def test_a_pickle_is_downloaded_only_where_there_is_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, safetensors: bool
) -> None:
    files = ["config.json", "dnabert_layer.py", "pytorch_model.bin"] + ["model.safetensors"] * safetensors
    wanted: list[str] = []

    def download(name: str, allow_patterns: list[str]) -> str:
        wanted.extend(huggingface_hub.utils.filter_repo_objects(files, allow_patterns=allow_patterns))
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda name: files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert local_directory("owner/name") == tmp_path / "owner" / "name"
    assert wanted == ["config.json", "model.safetensors" if safetensors else "pytorch_model.bin"]
