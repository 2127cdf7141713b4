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
    with output_files(final) as (file,):
        yield file


@contextlib.contextmanager
def output_files(*finals: Path) -> Iterator[list[BinaryIO]]:
    """Yields files as `output_file` does; they get their final names together, or none of them does.

    Raises:
        InputError: as for `output_file`.
    """
    with contextlib.ExitStack() as opened, contextlib.ExitStack() as on_failure:
        files = []
        for final in finals:
            files.append(opened.enter_context(_locked(final)))
            on_failure.callback(_partial(final).unlink, missing_ok=True)
            files[-1].truncate(0)
        yield files
        for file, final in zip(files, finals, strict=True):
            with named_if_full(final):
                file.flush()
                os.fsync(file.fileno())
        for final in finals:
            _partial(final).rename(final)
            on_failure.callback(final.unlink, missing_ok=True)
        on_failure.pop_all()


def _partial(final: Path) -> Path:
    return final.with_name(final.name + ".partial")


@contextlib.contextmanager
def _locked(final: Path) -> Iterator[BinaryIO]:
    """Yields the partial file, which only this job may write; it has not been emptied yet."""
    refuse_existing(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(final)
    # Where the disk is full, closing the file fails once more.
    with named_if_full(final), os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "w+b") as file:
        # It may have been renamed, by a job that was writing it, after it was opened: then it is that job's output.
        if not (locked(file) and is_same_file(partial, file)):
            raise InputError(f"Another job is writing {partial}: wait for it, or choose another output.")
        yield file
