"""Writes files that get their final names only when they are complete."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dnabert_jax.errors import InputError, named_if_full
from dnabert_jax.storage import partial_path


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
