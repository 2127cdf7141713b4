"""Progress bars on standard error: lively on a terminal, one line now and then in a log file."""

import sys
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 15.0


def progress_bar(description: str, unit: str, total: int | None = None, **settings: Any) -> tqdm:
    """A tqdm bar with the house's settings."""
    interval = 0.1 if sys.stderr.isatty() else _SECONDS_BETWEEN_LOG_LINES
    return tqdm(
        desc=description, unit=unit, total=total, mininterval=interval, dynamic_ncols=True, file=sys.stderr, **settings
    )
