"""Files on object stores: bounded patience, and nothing taken for whole that is not."""

import itertools
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest

from dnabert_jax import storage
from dnabert_jax.errors import InputError, StoreError


@pytest.fixture
def url(store: type) -> str:
    storage.write("store://bucket/data/a.bin", bytes(range(256)) * 40)
    return "store://bucket/data/a.bin"


@pytest.mark.parametrize("block_bytes", [1000, 4096, 10_240, 1 << 20])
def test_a_download_is_the_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(storage, "BLOCK_BYTES", block_bytes)
    told: list[int] = []
    storage.download(url, tmp_path / "a.bin", told.append)
    assert (tmp_path / "a.bin").read_bytes() == storage.read(url)
    assert sum(told) == 10_240
    assert max(told) <= block_bytes


def test_files_come_and_go_though_each_call_fails_twice(store: type, url: str, tmp_path: Path) -> None:
    for method in ("cat_file", "info", "pipe_file", "put_file", "find", "rm_file"):
        store.trouble[method] = iter([OSError("unavailable"), ConnectionError("reset")])
    storage.download(url, tmp_path / "a.bin")
    storage.upload(tmp_path / "a.bin", "store://bucket/data/deep/c.bin")
    storage.write("store://bucket/data/d.bin", b"d")
    assert storage.names("store://bucket/data/") == ["a.bin", "d.bin", "deep/c.bin"]
    assert storage.names("store://bucket/dat") == storage.names("store://nowhere") == []
    storage.remove(url)
    assert storage.names("store://bucket/data") == ["d.bin", "deep/c.bin"]
    assert storage.read("store://bucket/data/deep/c.bin") == (tmp_path / "a.bin").read_bytes()
    assert storage.names(tmp_path) == ["a.bin"]


def test_a_failure_for_good_ends_after_the_bound(store: type, url: str) -> None:
    calls = itertools.count()
    store.trouble["cat_file"] = (OSError(f"unavailable {number}") for number in calls)
    with pytest.raises(InputError, match=rf"{url} .*unavailable 2"):
        storage.read(url)
    assert next(calls) == 3


def test_a_slow_answer_is_waited_for(store: type, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PATIENCE", storage.Patience(attempts=2, seconds=1.0, pause=0.01))
    for seconds in (0.3, 3.0):
        store.trouble["cat_file"] = iter([seconds])
        assert len(storage.read(url)) == 10_240
    store.trouble["cat_file"] = itertools.repeat(3.0)
    start = time.monotonic()
    with pytest.raises(InputError, match="within 1 s"):
        storage.read(url)
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda *_: time.sleep(5))  # opening is bounded too
    with pytest.raises(StoreError, match="within 1 s"):
        storage.read(url)
    assert time.monotonic() - start < 4.9


def test_a_process_ends_though_a_store_never_answers() -> None:
    program = """
import time
from fsspec.implementations.memory import MemoryFileSystem
MemoryFileSystem.cat_file = lambda *_, **__: time.sleep(60)
from dnabert_jax import storage
storage.PATIENCE = storage.Patience(attempts=1, seconds=1.0)
storage.read("memory://bucket/a")
"""
    start = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert "no answer within 1 s" in ended.stderr
    assert time.monotonic() - start < 30


def test_a_file_that_is_not_there_is_not_asked_for_twice(store: type) -> None:
    calls = itertools.count()
    store.trouble["cat_file"] = (None for _ in calls)
    with pytest.raises(InputError, match="store://bucket/none"):
        storage.read("store://bucket/none")
    assert next(calls) == 1


@pytest.mark.parametrize("changed", [b"x" * 10_240, b"longer" * 10_240, b"short"])
def test_a_changing_file_is_refused(
    store: type, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bytes
) -> None:
    monkeypatch.setattr(storage, "BLOCK_BYTES", 4096)
    store.trouble["cat_file"] = iter([None, lambda: storage.write(url, changed)])
    with pytest.raises(InputError, match=url):
        storage.download(url, tmp_path / "a.bin")


def test_a_store_that_ignores_the_range_or_does_not_tell_the_size_is_refused(
    store: type, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "BLOCK_BYTES", 4096)
    whole = storage.read(url)
    monkeypatch.setattr(store, "cat_file", lambda *_, **__: whole)
    with pytest.raises(StoreError, match=r"10240 .* 4096"):
        storage.download(url, tmp_path / "a.bin")
    monkeypatch.setattr(store, "info", lambda *_, **__: {"type": "file", "size": None})
    with pytest.raises(StoreError, match=url):
        storage.download(url, tmp_path / "a.bin")


def test_a_local_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write(tmp_path / "a", b"before")

    def half(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:1])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="disk full"):
        storage.write(tmp_path / "a", b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"before"


def test_unknown_and_uninstalled_stores_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match="nothing://a/b"):
        storage.read("nothing://a/b")
    with pytest.raises(InputError, match=r"gs://a/b .*pip install gcsfs"):
        storage.read("gs://a/b")


def test_what_is_a_url() -> None:
    assert all(storage.is_url(text) for text in ("gs://b/x", "memory://x", "s3+ssl://b"))
    assert not any(storage.is_url(text) for text in ("a/b", "/a//b", "chr1:5", Path("gs:/b"), "://x"))


def test_a_local_copy_of_a_store_is_gone_afterwards(url: str, tmp_path: Path) -> None:
    with storage.local_copy(url, tmp_path) as path:
        assert path.name == "a.bin"
        assert path.read_bytes() == storage.read(url)
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []
    with storage.local_copy(tmp_path / "own") as path:
        assert path == tmp_path / "own"
