"""Handles Ctrl-C and SIGTERM, by one handler from the start of a command to its end."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_FAILED = 1
"""Exit status of a job that failed, though what was asked for made sense."""
EXIT_SIGNALLED = EXIT_INTERRUPTED, EXIT_TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit statuses of a job that Ctrl-C or SIGTERM ended."""

_raised: list[int] = []
"""Signals that became a KeyboardInterrupt."""
_saved: list[int] = []
"""Signals after which the job saves its work and ends by itself."""
_saves: Callable[[int], bool] = lambda _: False  # noqa: E731
"""Returns whether the running job saves its work for a signal; `stop_signals` sets it."""


def exit_status() -> int:
    """Returns the exit status of a process that a signal ends: 143 if it was SIGTERM, 130 if it was Ctrl-C."""
    return 128 + (_raised or [signal.SIGINT])[0]


def end_interrupted(number: int = 0, _: FrameType | None = None) -> NoReturn:
    """Ends the process at once, with nothing tidied up; a signal handler."""
    # Not through sys.stderr, which may be what was interrupted.
    os.write(2, b"Interrupted.\n")
    os._exit(128 + number if number else exit_status())


def _handle(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and number in _saved:
        end_interrupted(number)
    if _saves(number):
        _saved.append(number)
        if number == signal.SIGINT:
            os.write(2, b"\nInterrupted: saving the step under way. Ctrl-C again ends at once.\n")
            signal.raise_signal(signal.SIGTERM)  # for which JAX listens where processes are joined
        return
    while frame and "importlib" not in frame.f_code.co_filename:
        frame = frame.f_back
    # An import is under way, in which some libraries drop a KeyboardInterrupt; or it is the second signal.
    if frame or _raised:
        end_interrupted(number)
    _raised.append(number)
    raise KeyboardInterrupt


@contextmanager
def signals_as_exception() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM raise KeyboardInterrupt the first time, and end the process the second."""
    _raised.clear()
    with handling(signal.SIGINT, _handle), handling(signal.SIGTERM, _handle):
        yield


@contextmanager
def stop_signals(has_work: Callable[[], bool] = lambda: False) -> Iterator[list[int]]:
    """Yields a list, into which SIGTERM goes, by which a machine says that it is about to be taken away.

    Ctrl-C goes there too, as SIGTERM would, if `has_work` says that there is something to save, and a second one ends
    the process at once. Otherwise Ctrl-C raises KeyboardInterrupt.
    """
    global _saves
    before, _saves = _saves, lambda number: number == signal.SIGTERM or has_work()
    try:
        yield _saved
    finally:
        _saves = before
        _saved.clear()


@contextmanager
def handling(number: signal.Signals, handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Has a function handle a signal inside the block."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        # `jax.distributed` puts a handler of its own for SIGTERM in place of this one, which stays until the end.
        jax = sys.modules.get("jax")
        if number != signal.SIGTERM or jax is None or not jax.distributed.is_initialized():
            signal.signal(number, before)
