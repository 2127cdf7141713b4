"""Files on object stores (gs://, s3://, and whatever else fsspec opens): whole files and block-wise downloads.

A store may answer slowly or fail now and then. Each call is therefore bounded in time and tried again, a bounded number
of times with growing pauses; what fails for good is one sentence.
"""

import contextlib
import functools
import logging
import multiprocessing
import posixpath
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import fsspec
import tenacity

from dnabert_jax.errors import InputError, StoreError, named_if_full

Location = str | Path
"""A local path, or a URL such as gs://bucket/hg38.fa.gz."""

BLOCK_BYTES = 16 << 20
"""Bytes of one request of a download."""

_SLOWEST_BYTES_PER_SECOND = 1e6
_PACKAGES = {"gs": "gcsfs (the extra gcs)", "s3": "s3fs", "az": "adlfs", "abfs": "adlfs"}
_LEFT_BY_SYSTEMS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "lost+found"}
_LOG = logging.getLogger(__name__)
_WILL_NOT_MEND = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)

_Result = TypeVar("_Result")


class Patience(NamedTuple):
    """How long a store is waited for.

    Attributes:
        seconds: for an attempt, besides those that its bytes need at 1 MB/s.
        pause: seconds before the second attempt; doubled before each further one.
    """

    attempts: int = 5
    seconds: float = 60.0
    pause: float = 1.0


PATIENCE = Patience()


def is_url(location: Location) -> bool:
    """Returns whether a location is on a store, not a local path."""
    return re.match("[A-Za-z][A-Za-z0-9+.-]*://", str(location)) is not None


def join(location: Location, name: str) -> Location:
    """Returns the file `name` under a location."""
    return f"{str(location).rstrip('/')}/{name}" if is_url(location) else Path(location) / name


def file_name(location: Location) -> str:
    """Returns the last part of a location."""
    return posixpath.basename(str(location).rstrip("/"))


def read(location: Location) -> bytes:
    """Returns the bytes of a (small) file, local or on a store.

    Raises:
        InputError: a store has no such file, or cannot be reached; so say all functions here.
    """
    if not is_url(location):
        return Path(location).read_bytes()
    return _call(str(location), lambda store, path: bytes(store.cat_file(path)))


def write(location: Location, data: bytes) -> None:
    """Makes or replaces a file, local or on a store, whole or not at all."""
    if is_url(location):
        _call(str(location), lambda store, path: store.pipe_file(path, data), len(data))
        return
    path = Path(location)
    partial = partial_path(path)
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def partial_path(final: Path) -> Path:
    """Returns a new name to write a file or a directory under; another job on the same output chooses another one."""
    return final.with_name(f"{final.name}.{uuid.uuid4().hex[:8]}.partial")


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8; bytes of an input that were not UTF-8 are written as they were read."""
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def upload(source: Path, url: str) -> None:
    """Copies a local file to a store."""
    _call(url, lambda store, path: store.put_file(str(source), path), source.stat().st_size)


def remove(location: Location) -> None:
    """Removes a file, local or on a store; on a store it may be gone already, by an attempt whose answer was lost."""
    if not is_url(location):
        Path(location).unlink()
        return

    def delete(store: Any, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            store.rm_file(path)

    _call(str(location), delete)


def is_hidden(name: str) -> bool:
    """Returns whether a file under a directory, of which this is the relative path, is not part of what was put there.

    Such are the files that file browsers, file systems and editors leave: .DS_Store, ._x, Thumbs.db, .nfs01.
    """
    parts = name.split("/")
    return any(part.startswith((".", "~$")) or part.endswith("~") or part.lower() in _LEFT_BY_SYSTEMS for part in parts)


def visible(directory: Path) -> list[Path]:
    """Returns the files and folders in a folder, sorted, without those that `is_hidden` knows."""
    return sorted(path for path in directory.iterdir() if not is_hidden(path.name))


def visible_files(directory: Path) -> list[Path]:
    """Returns the files under a folder at any depth, sorted, without those that `is_hidden` knows."""
    return sorted(directory / name for name in names(directory) if not is_hidden(name))


def names(directory: Location) -> list[str]:
    """Returns the files under a directory, as paths relative to it, sorted; none if nothing is there."""
    if not is_url(directory):
        return sorted(path.relative_to(directory).as_posix() for path in Path(directory).rglob("*") if path.is_file())

    def find(store: Any, path: str) -> list[str]:
        store.invalidate_cache()
        base = path.rstrip("/") + "/"
        return sorted(found[len(base) :] for found in store.find(path) if found.startswith(base))

    return _call(str(directory), find)


def download(url: str, target: Path, progress: Callable[[int], object] = lambda _: None) -> None:
    """Copies a file of a store to a local path, a block a request.

    Args:
        target: to write; what is half-written is left for the caller to remove.
    """
    version = _version(url)
    with target.open("wb") as file:
        for start in range(0, version["size"], BLOCK_BYTES):
            stop = min(start + BLOCK_BYTES, version["size"])
            file.write(block := _call(url, functools.partial(_read_range, start=start, stop=stop), stop - start))
            progress(len(block))
    if _version(url) != version or target.stat().st_size != version["size"]:
        raise InputError(f"{url} changed while it was read: run again when nothing writes to it.")


def _read_range(store: Any, path: str, start: int, stop: int) -> bytes:
    block = bytes(store.cat_file(path, start=start, end=stop))
    if len(block) > stop - start:
        raise OSError(f"{len(block)} bytes came where {stop - start} were asked for")
    return block


@contextlib.contextmanager
def scratch_directory(parent: Path | None = None) -> Iterator[Path]:
    """Yields a new directory for temporary files, which is removed at the end."""
    with TemporaryDirectory(prefix="dnabert-jax-", dir=parent) as directory, named_if_full(Path(directory).parent):
        yield Path(directory)


@contextlib.contextmanager
def local_copy(
    location: Location, scratch: Path | None = None, progress: Callable[[int], object] = lambda _: None
) -> Iterator[Path]:
    """Yields the path of a file on disk: its own, or that of a copy which is removed at the end.

    What comes through a pipe is copied, so that it can be read as often as need be.

    Args:
        location: of the file; - is standard input.
    """
    standard = str(location) == "-"
    if not (standard or is_url(location) or Path(location).is_fifo()):
        yield Path(location)
        return
    with scratch_directory(scratch) as directory:
        # /dev/fd/63 is what a shell makes of <(zcat x.gz).
        by_shell = Path(location).parent.name == "fd"
        path = directory / ("standard-input" if standard else "pipe" if by_shell else file_name(location))
        if is_url(location):
            download(str(location), path, progress)
        else:
            stream = contextlib.nullcontext(sys.stdin.buffer) if standard else None
            with stream or Path(location).open("rb") as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy, BLOCK_BYTES)
        yield path


def _version(url: str) -> dict[str, Any]:
    """Returns the size of a file, and what else the store says that changes with its content."""

    def info(store: Any, path: str) -> dict[str, Any]:
        store.invalidate_cache()
        found = store.info(path)
        if found["type"] != "file":
            raise IsADirectoryError(path)
        if found["size"] is None:
            raise OSError("the store does not tell the size of the file")
        changing = ("size", "etag", "ETag", "md5Hash", "generation", "mtime", "created", "LastModified")
        return {name: found[name] for name in changing if name in found}

    return _call(url, info)


def _call(url: str, function: Callable[..., _Result], num_bytes: int = 0) -> _Result:
    """Returns function(store, path), tried as often and as long as PATIENCE says; raises StoreError after that."""
    seconds = PATIENCE.seconds + num_bytes / _SLOWEST_BYTES_PER_SECOND
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(PATIENCE.attempts),
        wait=tenacity.wait_exponential(PATIENCE.pause),
        before_sleep=lambda state: _LOG.warning("%s: attempt %d failed, trying again", url, state.attempt_number),
        retry=tenacity.retry_if_exception_type() & tenacity.retry_if_not_exception_type(_WILL_NOT_MEND),
    )
    try:
        fsspec.get_filesystem_class(url.partition("://")[0])
        return attempts(_in_time, lambda: function(*fsspec.core.url_to_fs(url)), seconds)
    except tenacity.RetryError as error:
        last = error.last_attempt.exception()
        in_time = not isinstance(last, multiprocessing.TimeoutError)
        why = f"{type(last).__name__}: {last}" if in_time else f"no answer within {seconds:.0f} s"
        raise StoreError(f"{url} cannot be used: {PATIENCE.attempts} attempts failed, the last with {why}.") from last
    except ImportError as error:
        package = _PACKAGES.get(url.partition(":")[0])
        remedy = f"pip install {package}" if package else "install the package of that store for fsspec"
        raise InputError(f"{url} cannot be opened ({error}): {remedy}.") from error
    except ValueError as error:
        raise InputError(f"{url} cannot be opened: {error}.") from error
    except FileNotFoundError as error:
        raise InputError(f"{url} does not exist.") from error
    except OSError as error:
        raise InputError(f"{url} cannot be used: {error!r}.") from error


def _in_time(function: Callable[[], _Result], seconds: float) -> _Result:
    """Returns function(), or raises multiprocessing.TimeoutError.

    The thread of a call that never ends is a daemon: it does not keep the process.
    """
    pool = ThreadPool(1)
    try:
        return pool.apply_async(function).get(seconds)
    finally:
        pool.close()
