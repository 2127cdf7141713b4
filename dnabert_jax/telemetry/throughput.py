"""Tokens a second of training, the time of evaluations and checkpoints left out."""

import contextlib
import time
from collections.abc import Iterator


class Throughput:
    """A stopwatch that can be paused."""

    def __init__(self) -> None:
        self._start, self._paused = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """What happens inside does not count."""
        begin = time.perf_counter()
        yield
        self._paused += time.perf_counter() - begin

    def rate(self, tokens: float) -> float:
        """Tokens a second since the last call."""
        now = time.perf_counter()
        seconds = now - self._start - self._paused
        self._start, self._paused = now, 0.0
        return tokens / max(seconds, 1e-9)
