"""Ends a process: prints errors and notes, and leaves the other processes of a job."""

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from launch.signals import EXIT_INTERRUPTED, EXIT_TERMINATED

EXIT_FAILED = 1
"""Exit status of a job that failed, though what was asked for made sense."""

_SECONDS_TO_LEAVE = 10.0


def print_error(sentence: str) -> None:
    """Prints what went wrong on standard error."""
    print(f"dnabert-jax: error: {sentence}", file=sys.stderr, flush=True)


def print_note(sentence: str) -> None:
    """Prints on standard error what the user should know and need not mend."""
    print(f"dnabert-jax: note: {sentence}", file=sys.stderr, flush=True)


@contextmanager
def leaving_others() -> Iterator[None]:
    """Around all that a process does: one that joined others in it also leaves them, and ends.

    The end of process 0, where they meet, aborts the others, so they end together. After an error each waits for a
    while only, as the others may be dead, or wait for this one in a computation.
    """
    try:
        yield
    finally:
        jax = sys.modules.get("jax")
        if jax is not None and jax.distributed.is_initialized():
            error = sys.exc_info()[1]
            if not isinstance(error, SystemExit):
                traceback.print_exception(error)
            _leave(int(error.code or 0) if isinstance(error, SystemExit) else EXIT_FAILED)


def _leave(status: int) -> NoReturn:
    import jax
    from jax.experimental import multihost_utils

    # Ctrl-C stops all of them in order, as SIGTERM does.
    if status not in (0, EXIT_INTERRUPTED, EXIT_TERMINATED):
        timer = threading.Timer(_SECONDS_TO_LEAVE, os._exit, [status])
        timer.daemon = True
        timer.start()
    else:
        # Until all are here JAX listens for SIGTERM; once it no longer does, the signal would kill.
        multihost_utils.sync_global_devices("leaving")
    jax.distributed.shutdown()
    sys.stdout.flush()
    os._exit(status)
