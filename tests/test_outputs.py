"""Outputs have their names when they are complete: files, and directories on disk and on a store."""

import contextlib
import errno
import itertools
import tempfile
from pathlib import Path

import pytest

from dnabert_jax import storage
from dnabert_jax.errors import InputError
from dnabert_jax.outputs import output_directory, output_file, output_files, shared_output_directory
from dnabert_jax.storage import join

OUT = "store://bucket/out"
MARK = ".being-written-by-dnabert-jax"
WHOLE = {"a", "z", "deep/b", "manifest.json"}


def fill(directory: Path) -> None:
    for name in ("a", "manifest.json", "z"):
        (directory / name).write_text(name)
    (directory / "deep").mkdir()
    (directory / "deep" / "b").write_text("b")


@pytest.mark.parametrize("out", [OUT, "rows"])
def test_a_full_disk_names_the_output(store: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="No space left") as failed, output_directory(out, "manifest.json") as directory:
        Path("/dev/full").write_bytes(b"0")
    assert failed.value.filename == (str(tmp_path / "rows") if out == "rows" else tempfile.gettempdir())
    assert not directory.exists()
    assert not Path("rows").exists()


def test_the_last_file_is_uploaded_last_and_nothing_else_is_left(store: type) -> None:
    order, told = list[list[str]](), list[tuple[int, int]]()
    with output_directory(OUT, "manifest.json", lambda done, total: told.append((done, total))) as directory:
        fill(directory)
        store.trouble["put_file"] = iter(lambda: lambda: order.append(storage.names(OUT)), None)
    assert storage.names(OUT) == ["a", "deep/b", "manifest.json", "z"]
    assert len(order) == 4
    assert {"a", "deep/b", "z"} < set(order[-1])
    assert not any("manifest.json" in before for before in order)
    assert not directory.exists()
    assert sum(done for done, _ in told) == told[0][1] == len("a" + "manifest.json" + "z" + "b")


def test_nothing_is_left_of_work_that_fails_and_what_is_there_is_left_alone(store: type) -> None:
    with pytest.raises(ZeroDivisionError), output_directory(OUT, "manifest.json"):
        raise ZeroDivisionError
    assert storage.names(OUT) == []
    storage.write(f"{OUT}/other", b"")
    with pytest.raises(InputError, match=OUT), output_directory(OUT, "manifest.json"):
        raise AssertionError("not reached")
    assert storage.names(OUT) == ["other"]


@pytest.mark.parametrize("calls", range(9))
def test_a_store_that_fails_for_good_at_any_call_leaves_nothing_that_looks_finished(store: type, calls: int) -> None:
    failing = itertools.chain([None] * calls, itertools.repeat(OSError("gone")))
    store.trouble |= dict.fromkeys(("find", "pipe_file", "put_file", "cat_file", "rm_file"), failing)
    failed = False
    try:
        with output_directory(OUT, "manifest.json") as directory:
            fill(directory)
    except InputError:
        failed = True
    store.trouble.clear()
    left = set(storage.names(OUT)) - {MARK}
    assert failed == (left != WHOLE) == ("manifest.json" not in left)
    if MARK in storage.names(OUT):
        with pytest.raises(InputError, match=MARK), output_directory(OUT, "manifest.json"):
            raise AssertionError("not reached")
    elif failed:
        with output_directory(OUT, "manifest.json") as directory:
            fill(directory)
        assert set(storage.names(OUT)) == WHOLE


@pytest.mark.parametrize("method", ["pipe_file", "put_file", "rm_file"])
def test_an_answer_that_is_lost_does_no_harm(store: type, method: str) -> None:
    store.trouble[method] = iter([(ConnectionError("reset"),)])
    with output_directory(OUT, "manifest.json") as directory:
        fill(directory)
    assert set(storage.names(OUT)) == WHOLE


@pytest.mark.parametrize("out", [OUT, "rows"])
def test_two_jobs_do_not_write_one_directory(
    store: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """On a store the second is refused at once; on local disk the first to end gets the name."""
    monkeypatch.chdir(tmp_path)

    def write_twice() -> None:
        with output_directory(out, "manifest.json") as first:
            with output_directory(out, "manifest.json") as second:
                fill(second)
            fill(first)

    with pytest.raises(InputError, match=out):
        write_twice()
    assert set(storage.names(out)) == (WHOLE if out == "rows" else set())
    assert not list(tmp_path.glob("*.partial"))


def test_of_two_jobs_that_begin_at_once_on_a_store_one_gives_way_and_leaves_the_other_alone(store: type) -> None:
    first = output_directory(OUT, "manifest.json")
    fill(first.__enter__())
    storage.write(f"{OUT}/{MARK}", b"another job")
    with pytest.raises(InputError, match=OUT):
        first.__exit__(None, None, None)
    assert storage.names(OUT) == [MARK]


def test_what_a_failed_job_cannot_wholly_remove_has_lost_its_last_file_first(store: type) -> None:
    job = shared_output_directory(OUT, "manifest.json")
    url, _ = job.__enter__()
    for name in ("a", "manifest.json", "z"):
        storage.write(join(url, name), b"")
    store.trouble["rm_file"] = itertools.chain([None], itertools.repeat(OSError("gone")))
    assert not job.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    store.trouble.clear()
    assert storage.names(OUT) == [MARK, "a", "z"]


@pytest.mark.parametrize("blocked", [None, "a.vcf", "a.tsv"])
def test_files_get_their_names_together_at_the_end_or_not_at_all(tmp_path: Path, blocked: str | None) -> None:
    finals = [tmp_path / "new" / "a.vcf", tmp_path / "new" / "a.tsv"]

    def write(refused: str | None = None) -> None:
        refusal = pytest.raises(InputError, match=refused) if refused else contextlib.nullcontext()
        with refusal, output_files(*finals) as files:
            for file in files:
                file.write(b"row")
            assert not any(final.exists() for final in finals)
            if blocked:
                (tmp_path / "new" / blocked).mkdir()

    write(blocked)
    if blocked:
        assert [path.name for path in finals[0].parent.iterdir()] == [blocked]
        return
    assert sorted(finals[0].parent.iterdir()) == sorted(finals)
    write(str(finals[0]))
    assert [final.read_bytes() for final in finals] == [b"row", b"row"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "no space")])
def test_of_a_file_that_fails_nothing_is_left(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), output_file(tmp_path / "x.tsv"):
        raise error
    assert list(tmp_path.iterdir()) == []
    assert not isinstance(error, OSError) or error.filename == str(tmp_path / "x.tsv")


def test_of_two_jobs_the_second_to_end_is_refused_and_both_write_whole_files(tmp_path: Path) -> None:
    final = tmp_path / "x.tsv"
    jobs = [output_file(final), output_file(final)]
    for job, content in zip(jobs, (b"longer row", b"row"), strict=True):
        job.__enter__().write(content)
    jobs[1].__exit__(None, None, None)
    with pytest.raises(InputError, match=str(final)):
        jobs[0].__exit__(None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tsv"]
    assert final.read_bytes() == b"row"
