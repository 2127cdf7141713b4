"""Data on a store: copied once, shard by shard, and checked."""

import fcntl
import threading
import time
from pathlib import Path

import pytest

from dnabert_jax import storage
from dnabert_jax.data.manifest import read_manifest
from dnabert_jax.data.rows import stage
from dnabert_jax.errors import InputError

DATA = "store://bucket/data"


@pytest.fixture
def data(store: type, sample_rows: Path) -> str:
    for path in sample_rows.iterdir():
        storage.upload(path, f"{DATA}/{path.name}")
    return DATA


def test_the_copy_is_the_data_and_is_made_once(store: type, data: str, sample_rows: Path, tmp_path: Path) -> None:
    done: list[int] = []
    assert stage(sample_rows, tmp_path / "cache") == sample_rows
    copy = stage(data, tmp_path / "cache", done.append)
    manifest = read_manifest(copy)
    assert manifest == read_manifest(sample_rows)
    for shard in manifest.shards:
        assert (copy / shard.name).read_bytes() == (sample_rows / shard.name).read_bytes()
    assert sum(done) == sum((sample_rows / shard.name).stat().st_size for shard in manifest.shards)
    written = (copy / "manifest.json").stat()
    assert stage(data, tmp_path / "cache", lambda _: pytest.fail("it was copied again")) == copy
    assert (copy / "manifest.json").stat() == written, "another process may be reading it"


def test_a_copy_that_was_broken_off_is_gone_on_with(store: type, data: str, tmp_path: Path) -> None:
    names = [shard.name for shard in read_manifest(data).shards]
    storage.write(f"{DATA}/{names[-1]}", b"not this")
    with pytest.raises(InputError, match=rf"{DATA}/{names[-1]} is not the file that its manifest lists"):
        stage(data, tmp_path / "cache")
    (directory,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    assert {path.name for path in directory.iterdir()} == {*names[:-1], f"{names[-1]}.partial"}
    with pytest.raises(InputError, match="no data directory"):
        read_manifest(directory)


def test_what_is_no_data_directory_is_refused(store: type, data: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="store://bucket/none is no data directory"):
        stage("store://bucket/none", tmp_path)
    storage.remove(f"{DATA}/{read_manifest(data).shards[0].name}")
    with pytest.raises(InputError, match="does not exist"):
        stage(data, tmp_path)


def test_two_processes_share_a_copy(store: type, data: str, tmp_path: Path) -> None:
    directory = tmp_path / read_manifest(data).digest()
    directory.mkdir()
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=stage, args=(data, tmp_path))
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive()
        assert list(directory.iterdir()) == []
    waiting.join(20)
    assert (directory / "manifest.json").is_file()
