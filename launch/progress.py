"""Progress bars on standard error: lively on a terminal, one line now and then in a log file."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 15.0


def progress_bar(description: str, unit: str, total: int | None = None, **settings: Any) -> tqdm:
    """A tqdm bar with the house's settings."""
    interval = 0.1 if sys.stderr.isatty() else _SECONDS_BETWEEN_LOG_LINES
    return tqdm(
        desc=description, unit=unit, total=total, mininterval=interval, dynamic_ncols=True, file=sys.stderr, **settings
    )


class BarContext(AbstractContextManager[Any]):
    """A context manager that closes the bar it has at the end."""

    _bar: tqdm

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._bar.close()


class Bars(BarContext):
    """One bar after the other, for one kind of work after the other; a context manager.

    Args:
        units: what is counted in each kind of work.
        settings: of all bars, as for tqdm.
    """

    def __init__(self, units: Mapping[str, str], **settings: Any) -> None:
        self._units, self._settings = units, settings
        self._what, self._bar = "", tqdm(disable=True)

    def advanced(self, what: str, done: int, total: int | None) -> None:
        """Shows that so much more was done, in a new bar where other work begins."""
        if what != self._what:
            self.close()
            # A count of a few hundred reads best as it is.
            settings = self._settings | ({"unit_scale": False} if total is not None and total < 1000 else {})
            self._what, self._bar = what, progress_bar(what, self._units.get(what, ""), total, **settings)
        self._bar.update(done)
