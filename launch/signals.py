"""What signals ask of a running job."""

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def profile_on_sigusr1(request: Callable[[], None]) -> Iterator[None]:
    """Inside, SIGUSR1 requests a profile of the next steps; outside, it ends the process."""
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: request())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
