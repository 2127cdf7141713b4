"""A directory that looks finished only when it is complete.

On local disk it gets its final name at the end. A store has no renaming, so there the file without which nobody takes
the directory for one is uploaded last.
"""

import contextlib
import fcntl
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from dnabert_jax import storage
from dnabert_jax.errors import InputError
from dnabert_jax.storage import Location, is_url, join

_MARK = ".being-written-by-dnabert-jax"


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
    with _claimed_url(str(final), last) as check_claim, TemporaryDirectory(prefix="dnabert-jax-") as scratch:
        yield Path(scratch)
        paths = [path for path in Path(scratch).rglob("*") if path.is_file()]
        total = sum(path.stat().st_size for path in paths)
        for path in sorted(paths, key=lambda path: (path.name == last, path)):
            if path.name == last:
                check_claim()
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
    try:
        with mark.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield partial
            mark.unlink()
            partial.rename(final)
    finally:
        # Nothing is there any more if the block ended well.
        shutil.rmtree(partial, ignore_errors=True)


def _clear_away(partial: Path, mark: Path) -> None:
    if not mark.is_file():
        raise InputError(f"{partial} exists and is not an unfinished output: move it away, or choose another output.")
    with mark.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"Another job is writing {partial}: wait for it, or choose another output.") from error
        shutil.rmtree(partial)


@contextlib.contextmanager
def shared_output_directory(final: Location, last: str) -> Iterator[tuple[Location, Callable[[], None]]]:
    """As `output_directory`, for a directory that several machines fill.

    Yields:
        Where to write: `NAME.partial`, which all machines must see, or the URL itself; and a function to call before
        the last file is written, which raises InputError if another job took the directory over.
    """
    if is_url(final):
        with _claimed_url(str(final), last) as check_claim:
            yield final, check_claim
        return
    with _local_directory(Path(final).absolute()) as directory:
        yield directory, lambda: None


@contextlib.contextmanager
def _claimed_url(url: str, last: str) -> Iterator[Callable[[], None]]:
    """Marks a directory of a store as being written by this job, and removes what is there if the block fails.

    What a killed job left under its mark is removed first. Stores have no locks: a job that starts while another
    writes takes the directory over, and the other one finds that out before its last file.

    Args:
        url: of the directory.
        last: name of the file that makes it complete.

    Yields:
        A function to call before that file is written: it raises InputError if another job took the directory over.
    """
    present = storage.names(url)
    if present and (last in present or _MARK not in present):
        raise InputError(f"{url} exists already: choose another output, or remove it first.")
    mark, token = str(join(url, _MARK)), uuid.uuid4().bytes
    storage.write(mark, token)

    def check_claim() -> None:
        if storage.read(mark) != token:
            raise InputError(f"Another job began to write {url}: let one finish, or choose another output.")

    try:
        _remove_all(url, [name for name in present if name != _MARK])
        yield check_claim
        storage.remove(mark)
    except BaseException:
        # If the store fails here too, what is left stays under its mark, and without its last file.
        with contextlib.suppress(InputError):
            check_claim()
            _remove_all(url, sorted(storage.names(url), key=lambda name: (name == _MARK, name != last)))
        raise


def _remove_all(url: str, names: list[str]) -> None:
    for name in names:
        storage.remove(str(join(url, name)))
