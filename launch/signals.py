"""Handles the signals that a running job gets."""

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

_received: list[int] = []
"""Signals that `signals_as_exception` has turned into an exception."""


def exit_status() -> int:
    """Returns the exit status of a process that a signal ends: 143 if it was SIGTERM, 130 if it was Ctrl-C."""
    return 128 + (_received or [signal.SIGINT])[0]


def end_interrupted(number: int = 0, _: FrameType | None = None) -> NoReturn:
    """Ends the process at once, with nothing tidied up; a signal handler."""
    # Not through sys.stderr, which may be what was interrupted.
    os.write(2, b"Interrupted.\n")
    os._exit(128 + number if number else exit_status())


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    caller = frame
    while caller and "importlib" not in caller.f_code.co_filename:
        caller = caller.f_back
    # An import is under way, in which some libraries drop a KeyboardInterrupt; or it is the second signal.
    if caller or _received:
        end_interrupted(number)
    _received.append(number)
    raise KeyboardInterrupt


@contextmanager
def signals_as_exception() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM raise KeyboardInterrupt the first time, and end the process the second."""
    _received.clear()
    with handling(signal.SIGINT, _interrupt), handling(signal.SIGTERM, _interrupt):
        yield


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


@contextmanager
def stop_signals(has_work: Callable[[], bool] = lambda: False) -> Iterator[list[int]]:
    """Yields a list, into which SIGTERM goes, by which a machine says that it is about to be taken away.

    Ctrl-C goes there too, as SIGTERM would, if `has_work` says that there is something to save, and a second one ends
    the process at once. Otherwise Ctrl-C raises KeyboardInterrupt.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if number in received:
                end_interrupted(number)
            if not has_work():
                _interrupt(number, frame)
            # Not through sys.stderr, which may be what was interrupted.
            os.write(2, b"\nInterrupted: saving the step under way. Ctrl-C again ends at once.\n")
        received.append(number)
        if number == signal.SIGINT:
            signal.raise_signal(signal.SIGTERM)  # for which JAX listens where processes are joined

    with handling(signal.SIGTERM, stop), handling(signal.SIGINT, stop):
        yield received
