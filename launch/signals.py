"""What signals ask of a running job."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

EXIT_INTERRUPTED = 130


def end_on_sigint() -> None:
    """From now on Ctrl-C ends the process at once: where nothing is to be tidied up, or that is taking too long."""
    signal.signal(signal.SIGINT, end_interrupted)


def end_interrupted(*_: object) -> NoReturn:
    """Ends the process as Ctrl-C does; a signal handler."""
    # Not through sys.stderr, which may be what was interrupted.
    os.write(2, b"Interrupted.\n")
    os._exit(EXIT_INTERRUPTED)


def ignore_sigusr1() -> None:
    """From now on SIGUSR1, which may come before or after what it asks for is possible, does not end the process."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@contextmanager
def sigint_as_exception() -> Iterator[None]:
    """Inside, Ctrl-C raises KeyboardInterrupt the first time, and ends the process the second."""

    def interrupt(*_: object) -> NoReturn:
        end_on_sigint()
        raise KeyboardInterrupt

    with _handling(signal.SIGINT, interrupt):
        yield


@contextmanager
def importing() -> Iterator[None]:
    """Inside, where libraries are imported, of which some drop a KeyboardInterrupt, Ctrl-C ends the process."""
    with _handling(signal.SIGINT, end_interrupted):
        yield


@contextmanager
def _handling(number: signal.Signals, handler: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def sigterm_as_sigint() -> Iterator[None]:
    """Inside, SIGTERM does what Ctrl-C does, so that what is unfinished is removed."""
    with _handling(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)):
        yield


@contextmanager
def sigint_as_sigterm(ready: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Yields what tells whether Ctrl-C asked for an orderly stop, which it does as SIGTERM would.

    A second Ctrl-C ends the process at once. While there is nothing to save yet, the first raises KeyboardInterrupt.

    Args:
        ready: whether there is something to save.
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

    with _handling(signal.SIGINT, stop):
        yield came.is_set


@contextmanager
def profile_on_sigusr1(request: Callable[[], None]) -> Iterator[None]:
    """Inside, SIGUSR1 requests a profile of the next steps."""
    with _handling(signal.SIGUSR1, lambda *_: request()):
        yield


@contextmanager
def sigterm_as_flag() -> Iterator[Callable[[], bool]]:
    """What tells whether SIGTERM, by which a machine that is about to be taken away says so, came.

    Inside, the signal does nothing else, however often it comes. Only in the main thread. `jax.distributed` puts a
    handler of its own in place of this one, which stays until the process ends.
    """
    came = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield came.is_set
    finally:
        jax = sys.modules.get("jax")
        if jax is None or not jax.distributed.is_initialized():
            signal.signal(signal.SIGTERM, before)
