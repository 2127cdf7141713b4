"""What signals ask of a running job."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def profile_on_sigusr1(request: Callable[[], None]) -> Iterator[None]:
    """Inside, SIGUSR1 requests a profile of the next steps; outside, it ends the process."""
    before = signal.signal(signal.SIGUSR1, lambda *_: request())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


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
