"""Handles the signals that a running job gets."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn

EXIT_INTERRUPTED, EXIT_TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

_sigterm_came = threading.Event()


def ended_by() -> int:
    """Returns the exit status of a process that a signal ends: 143 if it was SIGTERM, 130 if it was Ctrl-C."""
    return EXIT_TERMINATED if _sigterm_came.is_set() else EXIT_INTERRUPTED


def end_on_sigint() -> None:
    """Makes Ctrl-C end the process at once from now on: nothing is to be tidied up, or that takes too long."""
    signal.signal(signal.SIGINT, end_interrupted)


def end_interrupted(*_: object) -> NoReturn:
    """Ends the process as Ctrl-C does; a signal handler."""
    # Not through sys.stderr, which may be what was interrupted.
    os.write(2, b"Interrupted.\n")
    os._exit(ended_by())


@contextmanager
def signals_as_exception() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM raise KeyboardInterrupt the first time, and end the process the second."""
    _sigterm_came.clear()

    def interrupt(*_: object) -> NoReturn:
        end_on_sigint()
        raise KeyboardInterrupt

    def terminate(*_: object) -> None:
        _sigterm_came.set()
        signal.raise_signal(signal.SIGINT)

    with handling(signal.SIGINT, interrupt), handling(signal.SIGTERM, terminate):
        yield


def importing() -> AbstractContextManager[None]:
    """Inside, where libraries are imported, of which some drop a KeyboardInterrupt, Ctrl-C ends the process."""
    return handling(signal.SIGINT, end_interrupted)


@contextmanager
def handling(number: signal.Signals, handler: Callable[..., object]) -> Iterator[None]:
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

    def stop(*_: object) -> None:
        end_on_sigint()
        if not ready():
            raise KeyboardInterrupt
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
