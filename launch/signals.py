"""Handles the signals that a running job gets."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_FAILED = 1
"""Exit status of a job that failed, though what was asked for made sense."""
EXIT_INTERRUPTED, EXIT_TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

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
    """Handles a signal so inside."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        # `jax.distributed` puts a handler of its own for SIGTERM in place of this one, which stays until the end.
        jax = sys.modules.get("jax")
        if number != signal.SIGTERM or jax is None or not jax.distributed.is_initialized():
            signal.signal(number, before)


@contextmanager
def sigint_as_sigterm(ready: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether Ctrl-C asked for an orderly stop, which it does as SIGTERM would.

    A second Ctrl-C ends the process at once. Unless `ready` says that there is something to save, the first raises
    KeyboardInterrupt.
    """
    came = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if came.is_set():
            end_interrupted(number)
        if not ready():
            _interrupt(number, frame)
        came.set()
        # Not through sys.stderr, which may be what was interrupted.
        os.write(2, b"\nInterrupted: saving the step under way. Ctrl-C again ends at once.\n")
        signal.raise_signal(signal.SIGTERM)

    with handling(signal.SIGINT, stop):
        yield came.is_set


@contextmanager
def sigterm_as_flag() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether SIGTERM came, by which a machine says that it is about to be taken away.

    Inside, the signal does nothing else, however often it comes.
    """
    came = threading.Event()
    with handling(signal.SIGTERM, lambda *_: came.set()):
        yield came.is_set
