"""A directory that has its final name only when it is complete."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from dnabert_jax.errors import InputError

_MARK = ".being-written-by-dnabert-jax"


@contextlib.contextmanager
def output_directory(final: Path) -> Iterator[Path]:
    """Yields `NAME.partial` beside the final directory and renames it when the block ends well, else removes it.

    A `.partial` directory that a killed job left is removed first. It is known by a file in it, on which the job that
    writes it holds a lock: what somebody else made, or still writes, is left alone.

    Raises:
        InputError: the final directory exists, or its `.partial` is not ours to remove.
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
