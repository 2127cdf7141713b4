"""A file that has its final name only when it is complete."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dnabert_jax.errors import InputError, named_if_full
from dnabert_jax.output_directory import is_same_file, locked


def refuse_existing(final: Path) -> None:
    """Raises InputError if there is something where a file is to be written."""
    if final.exists():
        raise InputError(f"{final} exists already: choose another output, or remove it first.")


@contextlib.contextmanager
def output_file(final: Path) -> Iterator[BinaryIO]:
    """Yields `NAME.partial`, open to write, which is renamed when the block ends well, and else removed.

    What a killed job left under that name is written over; while another job writes it, it is locked.

    Raises:
        InputError: the final file exists, or another job writes it.
    """
    refuse_existing(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(final.name + ".partial")
    # Not emptied before it is ours. Where the disk is full, closing it fails once more.
    with named_if_full(final), os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "w+b") as file:
        # It may have been renamed, by a job that was writing it, after it was opened: then it is that job's output.
        if not (locked(file) and is_same_file(partial, file)):
            raise InputError(f"Another job is writing {partial}: wait for it, or choose another output.")
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(partial.unlink, missing_ok=True)
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            partial.rename(final)
            on_failure.pop_all()
