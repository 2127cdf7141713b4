"""A directory that has its final name only when it is complete."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from dnabert_jax.errors import InputError


@contextlib.contextmanager
def output_directory(final: Path) -> Iterator[Path]:
    """Yields `NAME.partial` beside the final directory and renames it when the block ends well, else removes it.

    A `.partial` directory that a killed job left behind is removed first.

    Raises:
        InputError: the final directory exists already.
    """
    if final.exists():
        raise InputError(f"{final} exists already: choose another output, or remove it first.")
    partial = final.with_name(final.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial)
        raise
