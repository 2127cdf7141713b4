"""Where the wall time of a run goes, as its host sees it.

Steps run asynchronously: the loop sends one and then waits for the one before it. So a phase is what the loop was
doing, not what the devices were doing. docs/file-formats.md says what each phase is.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar, get_args

Phase = Literal["startup", "data", "step", "checkpoint", "evaluation", "profile"]

_Item = TypeVar("_Item")


class Phases:
    """A ledger of wall time, begun in the phase startup; one phase is charged at any moment, so they sum to it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock, self._since = clock, clock()
        self._current: Phase = "startup"
        self._seconds = self._nothing()

    def enter(self, phase: Phase) -> Phase:
        """Charges the time from now on to a phase, and returns the one before it."""
        before, now = self._current, self._clock()
        self._seconds[before] += now - self._since
        self._current, self._since = phase, now
        return before

    @contextlib.contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """What happens inside is charged to a phase, and then to the one before it again."""
        before = self.enter(phase)
        try:
            yield
        finally:
            self.enter(before)

    def waiting(self, phase: Phase, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items; the time they take to come is charged to a phase."""
        iterator = iter(items)
        while True:
            with self.during(phase):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def lap(self) -> dict[Phase, float]:
        """Seconds of each phase since the last call, or since the start."""
        self.enter(self._current)
        seconds, self._seconds = self._seconds, self._nothing()
        return seconds

    @staticmethod
    def _nothing() -> dict[Phase, float]:
        return dict.fromkeys(get_args(Phase), 0.0)
