"""Lines of the tab-separated files of genome annotation, plain or gzip.

GTF, BED and narrowPeak are split at tabs, which is all that is needed of them here: the libraries that read them
(gtfparse, pyranges, bioframe) bring pandas or polars along.
"""

from collections.abc import Iterator
from pathlib import Path

from dnabert_jax.errors import InputError
from dnabert_jax.io.text import numbered_lines

_NOT_DATA = ("#", "track", "browser")


def fields_of_lines(path: Path, name: str, columns: int, kind: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the number of each line, from 1, and its fields; comments, `track` lines and empty ones are passed over.

    Args:
        path: of the file, plain or gzip, told apart by its first bytes.
        name: to call it by in errors.
        columns: that a line must have at least.
        kind: of the file, for errors: "GTF".

    Raises:
        InputError: the file does not exist, is no text or broken gzip, or a line has fewer columns.
    """
    for number, line in numbered_lines(path, name):
        if line.startswith(_NOT_DATA) or not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) < columns:
            raise InputError(
                f"Line {number:,} of {name} has {len(fields)} columns separated by tabs, where {kind} has "
                f"{columns}: is it {kind}?"
            )
        yield number, fields


def interval_of(start: str, end: str, number: int, name: str) -> tuple[int, int]:
    """The two numbers, start below end and not negative; `number` is that of the line.

    Raises:
        InputError: they are none such.
    """
    if not (start.isdecimal() and end.isdecimal() and int(start) < int(end)):
        raise InputError(f"Line {number:,} of {name} has the coordinates {start!r} and {end!r}, which are no interval.")
    return int(start), int(end)
