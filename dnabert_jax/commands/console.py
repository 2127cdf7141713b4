"""Shows errors, the commands to type next, and progress bars: lively on a terminal, a line now and then in a log."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from tqdm import tqdm

_NAME = "dnabert-jax"
_SECONDS_BETWEEN_LOG_LINES = 15.0


def print_error(sentence: str) -> None:
    """Prints what went wrong on standard error."""
    print(f"{_NAME}: error: {sentence}", file=sys.stderr, flush=True)


def command(*words: object) -> str:
    """Returns a command of this program, quoted for a shell.

    The program has its name where the shell finds it, else the path that it was called by.
    """
    called, on_path = sys.argv[0], shutil.which(_NAME)
    program = _NAME
    if os.path.basename(called) == _NAME and os.path.isfile(called):
        program = _NAME if on_path and os.path.samefile(on_path, called) else shlex.quote(called)
    return " ".join([program, *(shlex.quote(str(word)) for word in words)])


def progress_bar(description: str, unit: str, total: int | None = None, **settings: Any) -> tqdm:
    """Returns a progress bar, which is drawn often on a terminal and now and then in a log file."""
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
    """Draws a bar for each kind of work, one after the other; a context manager.

    Args:
        units: what is counted in each kind of work.
        settings: of all bars, as for tqdm.
    """

    def __init__(self, units: Mapping[str, str], **settings: Any) -> None:
        self._units, self._settings = units, settings
        self._what, self._bar = "", tqdm(disable=True)

    def advanced(self, what: str, done: int, total: int | None) -> None:
        """Adds to the work done, in a new bar if another kind of work begins."""
        if what != self._what:
            self.close()
            # A count of a few hundred reads best as it is.
            settings = self._settings | ({"unit_scale": False} if total is not None and total < 1000 else {})
            self._what, self._bar = what, progress_bar(what, self._units.get(what, ""), total, **settings)
        self._bar.update(done)
