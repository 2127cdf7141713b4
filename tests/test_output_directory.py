"""On a store, a directory has the file that makes it one only when all else is there."""

import itertools
from pathlib import Path

import pytest

from dnabert_jax import storage
from dnabert_jax.errors import InputError
from dnabert_jax.output_directory import output_directory

OUT = "store://bucket/out"


def fill(directory: Path) -> None:
    for name in ("a", "manifest.json", "z"):
        (directory / name).write_text(name)
    (directory / "deep").mkdir()
    (directory / "deep" / "b").write_text("b")


def test_the_last_file_is_uploaded_last_and_nothing_else_is_left(store: type) -> None:
    order: list[list[str]] = []
    told: list[tuple[int, int]] = []
    with output_directory(OUT, "manifest.json", lambda done, total: told.append((done, total))) as directory:
        fill(directory)
        store.trouble["put_file"] = iter(lambda: lambda: order.append(storage.names(OUT)), None)
    assert storage.names(OUT) == ["a", "deep/b", "manifest.json", "z"]
    assert len(order) == 4
    assert {"a", "deep/b", "z"} < set(order[-1])
    assert not any("manifest.json" in before for before in order)
    assert not directory.exists()
    assert sum(done for done, _ in told) == told[0][1] == len("a" + "manifest.json" + "z" + "b")


def test_what_is_there_already_is_left_alone(store: type) -> None:
    storage.write(f"{OUT}/other", b"")
    with pytest.raises(InputError, match="exists already"), output_directory(OUT, "manifest.json"):
        raise AssertionError("not reached")
    assert storage.names(OUT) == ["other"]


def test_nothing_is_left_when_the_work_fails_or_the_store_does(store: type) -> None:
    with pytest.raises(ZeroDivisionError), output_directory(OUT, "manifest.json"):
        raise ZeroDivisionError
    assert storage.names(OUT) == []
    store.trouble["put_file"] = itertools.chain([None, None], itertools.repeat(OSError("unavailable")))
    with pytest.raises(InputError, match="attempts failed"), output_directory(OUT, "manifest.json") as directory:
        fill(directory)
    store.trouble.clear()
    assert storage.names(OUT) == []


@pytest.mark.parametrize("calls", range(8))
def test_a_store_that_fails_for_good_at_any_call_leaves_nothing_that_looks_finished(store: type, calls: int) -> None:
    """A job that is killed leaves the same; the next one clears it away."""
    failing = itertools.chain([None] * calls, itertools.repeat(OSError("gone")))
    store.trouble |= dict.fromkeys(("find", "pipe_file", "put_file", "cat_file", "rm_file"), failing)
    with pytest.raises(InputError, match="gone"), output_directory(OUT, "manifest.json") as directory:
        fill(directory)
    store.trouble.clear()
    left = storage.names(OUT)
    whole = {"a", "z", "deep/b", "manifest.json"}
    assert "manifest.json" not in left or whole < set(left)
    if "manifest.json" in left:
        return
    with output_directory(OUT, "manifest.json") as directory:
        assert storage.names(OUT) == [".being-written-by-dnabert-jax"]
        fill(directory)
    assert set(storage.names(OUT)) == whole


def test_of_two_jobs_the_one_that_came_first_gives_way(store: type) -> None:
    first, second = (output_directory(OUT, "manifest.json") for _ in range(2))
    for job in (first, second):
        fill(job.__enter__())
    with pytest.raises(InputError, match="Another job began to write"):
        first.__exit__(None, None, None)
    assert "manifest.json" not in storage.names(OUT)
    second.__exit__(None, None, None)
    assert storage.names(OUT) == ["a", "deep/b", "manifest.json", "z"]
