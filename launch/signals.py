"""SIGTERM, by which a machine that is about to be taken away says so, as a flag that training reads."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def sigterm_as_flag() -> Iterator[Callable[[], bool]]:
    """What tells whether SIGTERM came; inside, the signal does nothing else, however often it comes.

    Only in the main thread. `jax.distributed` puts a handler of its own in place of this one.
    """
    came = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
