"""The errors that the command line prints as a sentence, without a traceback."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path


class InputError(Exception):
    """Bad input, exit status 2: one sentence that names the file, the record or the value, and what to do."""


class StoreError(InputError):
    """An object store does not answer, or fails, as often as it is asked."""


class JobError(RuntimeError):
    """A job cannot go on though its input was sound; exit status 1."""


def first_line(error: object) -> str:
    """Returns the first line of what an error says, of which the rest may be pages.

    The type comes before it where the words alone may say little: if there are none, or it is an error of a library.
    """
    words, name = str(error).partition("\n")[0][:300].rstrip("."), type(error).__name__
    if isinstance(error, InputError | OSError | RuntimeError | ValueError) and words:
        return words
    return f"{name}: {words}" if words else name


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the operating system that say that a disk is full, or as full as the user may fill it."""


@contextlib.contextmanager
def named_if_full(path: Path) -> Iterator[None]:
    """Has the error of a full disk, which names no file, name what was being written."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def device_memory_errors(advice: str) -> Iterator[None]:
    """Turns what JAX raises where a device's memory is full into a JobError that ends with this advice."""
    try:
        yield
    # What JAX raises is one, and JAX is not loaded here.
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        wanted = re.search(r"allocat\w* (\d[\d.]* ?\w+)", str(error))
        amount = f" for {wanted[1]} more" if wanted else ""
        raise JobError(f"The memory of a device has no room{amount}: {advice}.") from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Returns whether an error of JAX says that a device's memory is full."""
    return "RESOURCE_EXHAUSTED" in str(error) and not is_out_of_room(error)


def is_out_of_room(error: Exception) -> bool:
    """Returns whether an error says that a disk is full; those of TensorStore carry no number, only the text of it."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return any(os.strerror(number) in str(error) for number in NO_ROOM)
