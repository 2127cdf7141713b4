"""A directory that looks finished only when it is complete.

On local disk it gets its final name at the end. A store has no renaming, so there the file without which nobody takes
the directory for one is uploaded last.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from dnabert_jax import storage
from dnabert_jax.errors import InputError, StoreError
from dnabert_jax.storage import Location, is_url, join

_REMOVALS, _SECONDS_TO_COME_BACK = 20, 0.1
"""How often a directory that failed is removed at most, and how long it is watched after each time."""

_MARK = ".being-written-by-dnabert-jax"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def output_directory(
    final: Location, last: str, progress: Callable[[int, int], object] | None = None
) -> Iterator[Path]:
    """Yields a local directory to fill, which becomes the final one when the block ends well, and else is removed.

    Args:
        final: the directory to make, local or the URL of a store.
        last: name of the file to upload last.
        progress: if given, told of an upload: bytes done since the last call, and bytes in all.

    Raises:
        InputError: the final directory exists, or what an unfinished job left is not ours to remove.
    """
    if not is_url(final):
        with _local_directory(Path(final)) as directory:
            yield directory
        return
    with _claimed_url(str(final), last) as (scratch, check_claim):
        scratch.mkdir()
        with named_if_full(scratch):
            yield scratch
        check_claim()
        paths = [path for path in Path(scratch).rglob("*") if path.is_file()]
        total = sum(path.stat().st_size for path in paths)
        for path in sorted(paths, key=lambda path: (path.name == last, path)):
            storage.upload(path, str(join(final, path.relative_to(scratch).as_posix())))
            if progress:
                progress(path.stat().st_size, total)


@contextlib.contextmanager
def _local_directory(final: Path) -> Iterator[Path]:
    """Yields `NAME.partial` beside the final directory and renames it when the block ends well, else removes it.

    A `.partial` directory that a killed job left is removed first. It is known by a file in it, on which the job that
    writes it holds a lock: what somebody else made, or still writes, is left alone.
    """
    if final.exists():
        raise InputError(f"{final} exists already: choose another output, or remove it first.")
    partial = final.with_name(final.name + ".partial")
    mark = partial / _MARK
    if partial.exists():
        _clear_away(partial, mark)
    partial.mkdir(parents=True)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(_remove, partial)
        with mark.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with named_if_full(final):
                yield partial
            mark.unlink()
            partial.rename(final)
        on_failure.pop_all()


def _remove(directory: Path) -> None:
    """Removes it, and once more as long as it comes back: threads of a library may still write what was interrupted."""
    for _ in range(_REMOVALS):
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(_SECONDS_TO_COME_BACK)
        if not directory.exists():
            return


@contextlib.contextmanager
def named_if_full(directory: Path) -> Iterator[None]:
    """Has the error of a full disk, which names no file, name what was being written."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = str(directory)
        raise


def _clear_away(partial: Path, mark: Path) -> None:
    if not mark.is_file():
        raise InputError(f"{partial} exists and is not an unfinished output: move it away, or choose another output.")
    with mark.open() as lock:
        _lock(lock, partial)
        shutil.rmtree(partial)


def _lock(mark: IO[str], directory: Path) -> None:
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"Another job is writing {directory}: wait for it, or choose another output.") from error


@contextlib.contextmanager
def kept_directory(directory: Path) -> Iterator[None]:
    """Makes a directory, if need be, that stays however the block ends; inside, no other job writes it.

    Raises:
        InputError: another job does.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _MARK).open("w") as lock:
        _lock(lock, directory)
        with named_if_full(directory):
            yield


def is_unused(directory: Path) -> bool:
    """Whether a job that makes a `kept_directory` here finds nothing: none, or one that was killed at once."""
    if not directory.exists():
        return True
    return all(path.name == _MARK or path.suffix == ".partial" for path in directory.iterdir())


@contextlib.contextmanager
def shared_output_directory(final: Location, last: str) -> Iterator[tuple[Location, Callable[[], None]]]:
    """As `output_directory`, for a directory that several machines fill.

    Yields:
        `NAME.partial`, or the URL itself; and a function to call before the work and before the last file, which
        raises InputError if another process writes there after all.
    """
    if is_url(final):
        with _claimed_url(str(final), last) as (_, check_claim):
            yield final, check_claim
        return
    with _local_directory(Path(final).absolute()) as directory:
        yield directory, lambda: None


@contextlib.contextmanager
def _claimed_url(url: str, last: str) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Marks a directory of a store as being written by this process, and removes what is there if the block fails.

    What a process of this machine that is gone left under its mark is removed first.

    Yields:
        The path of a local directory, to make if it is needed, which is removed at the end; and a function that raises
        InputError if another process has the mark after all: not every store honours exclusive creation.

    Raises:
        InputError: something is there already, or another process, as far as can be known, still writes it.
    """
    mark, own = str(join(url, _MARK)), f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
    present = storage.names(url)
    if present and (last in present or _MARK not in present):
        raise InputError(f"{url} exists already: choose another output, or remove it first.")
    if present and _is_gone(left := storage.read(mark).decode()):
        shutil.rmtree(_scratch(left), ignore_errors=True)
        _remove_all(url, sorted(present, key=lambda name: name == _MARK))

    def check_claim() -> None:
        if (owner := storage.read(mark)) != own.encode():
            raise InputError(
                f"{url} is being written, or was left by a killed job ({owner.decode()}: machine, process): wait for "
                "it, remove it, or choose another output."
            )

    if not storage.create(mark, own.encode()):
        check_claim()

    def remove_all() -> None:
        # If the store fails here too, what is left stays under its mark, and without its last file.
        with contextlib.suppress(InputError):
            check_claim()
            _remove_all(url, sorted(storage.names(url), key=lambda name: (name == _MARK, name != last)))

    with contextlib.ExitStack() as always, contextlib.ExitStack() as on_failure:
        always.callback(shutil.rmtree, _scratch(own), ignore_errors=True)
        on_failure.callback(remove_all)
        yield _scratch(own), check_claim
        on_failure.pop_all()
    # The directory is complete, with the mark or without.
    with contextlib.suppress(StoreError):
        storage.remove(mark)


def _scratch(owner: str) -> Path:
    """Named after the job, so that the next one finds what a killed one left."""
    return Path(tempfile.gettempdir(), f"dnabert-jax-{owner.split()[-1]}")


def _is_gone(owner: str) -> bool:
    """Whether the process that wrote a mark ran on this machine and runs no more."""
    machine, process = [*owner.split(), "", ""][:2]
    if machine != socket.gethostname() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _remove_all(url: str, names: list[str]) -> None:
    for name in names:
        storage.remove(str(join(url, name)))
