"""Writes files and directories that look finished only when they are complete.

On local disk they get their final names at the end. A store cannot rename, so there the file without which nobody takes
a directory for a finished one is uploaded last.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from dnabert_jax import storage
from dnabert_jax.errors import InputError, StoreError, named_if_full
from dnabert_jax.storage import Location, is_hidden, is_url, join, partial_path, scratch_directory

MARK = ".being-written-by-dnabert-jax"
"""Name of the file that a directory has while a job writes it."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""Errors of file systems on which nothing can be locked, such as some over a network."""


def refuse_existing(final: Path) -> None:
    """Raises InputError if there is something where an output is to be written."""
    if final.exists():
        raise InputError(f"{final} exists already: choose another output, or remove it first.")


@contextlib.contextmanager
def output_file(final: Path) -> Iterator[BinaryIO]:
    """Yields a file beside the final one, open to write, that is renamed when the block ends well, and else removed."""
    with output_files(final) as (file,):
        yield file


@contextlib.contextmanager
def output_files(*finals: Path) -> Iterator[list[BinaryIO]]:
    """Yields files as `output_file` does; they get their final names together, or none of them does."""
    with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as opened:
        files: list[BinaryIO] = []
        for final in finals:
            refuse_existing(final)
            final.parent.mkdir(parents=True, exist_ok=True)
            partial = partial_path(final)
            on_failure.callback(partial.unlink, missing_ok=True)
            # Where the disk is full, closing the file fails once more.
            opened.enter_context(named_if_full(final))
            files.append(opened.enter_context(partial.open("x+b")))
        yield files
        for file, final in zip(files, finals, strict=True):
            with named_if_full(final):
                file.flush()
                os.fsync(file.fileno())
            refuse_existing(final)
        for file, final in zip(files, finals, strict=True):
            os.rename(file.name, final)
            on_failure.callback(final.unlink, missing_ok=True)
        on_failure.pop_all()


@contextlib.contextmanager
def output_directory(
    final: Location, last: str, progress: Callable[[int, int], object] = lambda _done, _total: None
) -> Iterator[Path]:
    """Yields a local directory to fill, which becomes the final one when the block ends well, and else is removed.

    Args:
        final: the directory to make, local or the URL of a store.
        last: name of the file to upload last.
        progress: told of an upload: bytes done since the last call, and bytes in all.
    """
    with contextlib.ExitStack() as stack:
        if is_url(final):
            scratch = stack.enter_context(scratch_directory())
        directory, check_claim = stack.enter_context(shared_output_directory(final, last))
        if isinstance(directory, Path):
            yield directory
            return
        yield scratch
        check_claim()
        sizes = {path: path.stat().st_size for path in scratch.rglob("*") if path.is_file()}
        for path in sorted(sizes, key=lambda path: (path.name == last, path)):
            storage.upload(path, str(join(final, path.relative_to(scratch).as_posix())))
            progress(sizes[path], sum(sizes.values()))


@contextlib.contextmanager
def shared_output_directory(final: Location, last: str) -> Iterator[tuple[Location, Callable[[], None]]]:
    """Works as `output_directory` does, for a directory that several machines fill.

    Yields:
        The path of a new directory beside the final one, or the URL itself; and a function to call before the work and
        before the last file, which raises InputError if another job writes there after all.
    """
    if is_url(final):
        with _claimed(str(final), last) as check_claim:
            yield final, check_claim
        return
    final = Path(final).absolute()
    refuse_existing(final)
    partial = partial_path(final)
    with contextlib.ExitStack() as undone:
        undone.callback(shutil.rmtree, partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with named_if_full(final):
            yield partial, lambda: None
        refuse_existing(final)
        partial.rename(final)
        undone.pop_all()


@contextlib.contextmanager
def _claimed(url: str, last: str) -> Iterator[Callable[[], None]]:
    """Marks a directory of a store as being written by this job, and removes what is there if the block fails.

    Yields:
        A function that raises InputError if a job that began at the same moment has the mark.
    """
    if storage.names(url):
        raise InputError(
            f"{url} exists already, or another job is writing it or was killed (then it has the file {MARK}): "
            "choose another output, or remove it first."
        )
    mark, claim = str(join(url, MARK)), uuid.uuid4().hex.encode()

    def check_claim() -> None:
        if storage.read(mark) != claim:
            raise InputError(f"Another job is writing {url}: wait for it, or choose another output.")

    def remove() -> None:
        # If the store fails here too, what is left stays under the mark, and without its last file.
        with contextlib.suppress(InputError):
            check_claim()
            for name in sorted(storage.names(url), key=lambda name: (name == MARK, name != last)):
                storage.remove(join(url, name))

    with contextlib.ExitStack() as undone:
        undone.callback(remove)
        storage.write(mark, claim)
        yield check_claim
        undone.pop_all()
    # The directory is complete, with the mark or without.
    with contextlib.suppress(StoreError):
        storage.remove(mark)


def locked(file: IO[Any], operation: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> bool:
    """Locks an open file for this process until it is closed; returns False if another process holds the lock.

    Where a file system cannot lock, nothing is locked and the answer is True.
    """
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


@contextlib.contextmanager
def kept_directory(directory: Path) -> Iterator[None]:
    """Makes a directory that stays unless it is empty; raises InputError if another job writes it."""
    directory.mkdir(parents=True, exist_ok=True)
    mark = directory / MARK
    with mark.open("w", encoding="utf-8") as lock:
        # The job that was here before may have removed the file after it was opened.
        if not (locked(lock) and mark.exists() and os.path.samestat(mark.stat(), os.fstat(lock.fileno()))):
            raise InputError(f"Another job is writing {directory}: wait for it, or choose another output.")
        try:
            with named_if_full(directory):
                yield
        finally:
            mark.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                directory.rmdir()


def is_unused(directory: Path, ignored: Container[str] = ()) -> bool:
    """Returns whether a `kept_directory` has nothing yet, apart from files of the names that are ignored."""
    files = directory.iterdir() if directory.exists() else ()
    return all(is_hidden(path.name) or path.suffix == ".partial" or path.name in ignored for path in files)
