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
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import IO, Any

from dnabert_jax import storage
from dnabert_jax.errors import InputError, StoreError, named_if_full
from dnabert_jax.storage import Location, is_hidden, is_url, join

_REMOVALS, _SECONDS_TO_COME_BACK = 20, 0.1
"""How often a directory that failed is removed at most, and how long it is watched after each time."""

MARK = ".being-written-by-dnabert-jax"
"""Name of the file that a directory has while it is written."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""Errors of file systems on which nothing can be locked, such as some over a network."""


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
    mark = partial / MARK
    if partial.exists():
        _clear_away(partial, mark)
    partial.mkdir(parents=True)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(_remove, partial)
        with mark.open("w", encoding="utf-8") as lock:
            _lock(lock, partial)
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


def _clear_away(partial: Path, mark: Path) -> None:
    if not mark.is_file():
        raise InputError(f"{partial} exists and is not an unfinished output: move it away, or choose another output.")
    with mark.open("r+", encoding="utf-8") as lock:
        _lock(lock, partial)
        shutil.rmtree(partial)


def _lock(mark: IO[str], directory: Path, kind: int = fcntl.LOCK_EX) -> None:
    if not locked(mark, kind | fcntl.LOCK_NB):
        raise InputError(f"Another job is writing {directory}: wait for it, or choose another output.")


def locked(file: IO[Any], operation: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> bool:
    """Locks an open file for this process until it is closed; returns False if another process holds the lock.

    Where a file system cannot lock, nothing is locked and the answer is True: the user sees to it there.

    Args:
        file: open for writing.
        operation: of `fcntl.flock`.
    """
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def is_same_file(path: Path, file: IO[Any]) -> bool:
    """Returns whether an open file is still the one at its path, which another process may have removed or replaced."""
    return path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))


@contextlib.contextmanager
def kept_directory(directory: Path) -> Iterator[None]:
    """Makes a directory, if need be, that stays however the block ends; inside, no other job writes it.

    Raises:
        InputError: another job does.
    """
    directory.mkdir(parents=True, exist_ok=True)
    mark = directory / MARK
    with mark.open("w", encoding="utf-8") as lock:
        _lock(lock, directory)
        # The job that was here before may have removed the file after it was opened.
        if not is_same_file(mark, lock):
            raise InputError(f"Another job is writing {directory}: wait for it, or choose another output.")
        try:
            with named_if_full(directory):
                yield
        finally:
            mark.unlink(missing_ok=True)


def refuse_if_written(directory: Path) -> None:
    """Raises InputError if another job is inside `kept_directory` here."""
    mark = directory / MARK
    if mark.is_file():
        # Several processes of one job may look at the same time.
        with mark.open("r+", encoding="utf-8") as lock:
            _lock(lock, directory, fcntl.LOCK_SH)


def is_unused(directory: Path, but: Container[str] = ()) -> bool:
    """Returns whether a `kept_directory` has nothing yet: there is none, or its job was killed at once.

    Args:
        directory: to look into.
        but: names of files that it may have all the same.
    """
    if not directory.exists():
        return True
    return all(is_hidden(path.name) or path.suffix == ".partial" or path.name in but for path in directory.iterdir())


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
    mark, own = str(join(url, MARK)), f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
    present = storage.names(url)
    if present and (last in present or MARK not in present):
        raise InputError(f"{url} exists already: choose another output, or remove it first.")
    if present and _is_gone(left := storage.read(mark).decode()):
        shutil.rmtree(_scratch(left), ignore_errors=True)
        _remove_all(url, sorted(present, key=lambda name: name == MARK))

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
            _remove_all(url, sorted(storage.names(url), key=lambda name: (name == MARK, name != last)))

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
