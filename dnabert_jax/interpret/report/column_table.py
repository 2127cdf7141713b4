"""A table, column by column: numbers packed, the rest as text, so that a page sorts and filters 100,000 rows."""

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.report.page import packed
from dnabert_jax.io.tables import Table, open_table

_ALWAYS_TEXT = frozenset({"contig", "id", "ref", "alt", "label", "left_out", "name", "seeds"})
"""Columns whose values are names even where all of them happen to be digits, as of contigs."""
_NO_EFFECTS = frozenset({"position", "reference", "alternative"})
"""Numbers of `dnabert-jax variants` by whose size no variant is chosen."""
_MISSING = frozenset({"", ".", "nan", "NaN"})


def column_table(path: Path, most: int = sys.maxsize, by: str = "") -> dict[str, Any]:
    """Returns the columns of a CSV, TSV or Parquet table; of too many rows those that rank first, in their order.

    A column is numeric if each of its values that is not missing (empty, a point, NaN) is a number.

    Args:
        by: the rows of largest magnitude in this column are shown; the first column of effects if not given.
    """
    table = open_table(path)
    if by and by not in table.names:
        raise InputError(f"{table.path} has no column {by!r}, only {', '.join(table.names)}.")
    rows: list[tuple[str, ...]] = []
    total, ranked_by = 0, ""
    texts = ([column.fill_null("").to_pylist() for column in batch] for batch in table.batches(table.names))
    for row in itertools.chain.from_iterable(zip(*columns, strict=True) for columns in texts):
        rows.append(row)
        total += 1
        # In batches, since each choice goes through all that is kept.
        if len(rows) >= 2 * most:
            rows, ranked_by = _largest(table, rows, most, by)
    if len(rows) > most:
        rows, ranked_by = _largest(table, rows, most, by)
    columns = [{"name": name, **_column(name, [row[at] for row in rows])} for at, name in enumerate(table.names)]
    return {"columns": columns, "rows": len(rows), "total": total, "rankedBy": ranked_by}


def _number(text: str) -> float | None:
    """None if it is neither a number nor missing; NaN if it is missing."""
    if text in _MISSING:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return None


def _largest(table: Table, rows: list[tuple[str, ...]], most: int, by: str) -> tuple[list[tuple[str, ...]], str]:
    """Returns the rows of largest magnitude in a column, in their order, of equal ones the first; and the column."""
    for place, name in enumerate(table.names):
        if name == by or not (by or name in _ALWAYS_TEXT | _NO_EFFECTS):
            numbers = [_number(row[place]) for row in rows]
            if None not in numbers:
                magnitudes = np.abs(np.array(numbers, np.float64))
                order = np.argsort(-np.where(np.isnan(magnitudes), -1, magnitudes), kind="stable")
                return [rows[number] for number in np.sort(order[:most])], name
            if by:
                value = rows[numbers.index(None)][place]
                raise InputError(f"{table.path} has {value!r} in the column {by!r}: no number to choose by.")
    raise InputError(f"{table.path} has too many rows to show all, and no column of numbers to choose them by.")


def _column(name: str, values: list[str]) -> dict[str, Any]:
    numbers = [] if name in _ALWAYS_TEXT else [_number(value) for value in values]
    if name in _ALWAYS_TEXT or None in numbers or all(value in _MISSING for value in values):
        return {"text": values}
    return {"numbers": packed(np.array(numbers, np.float64), "f8")}
