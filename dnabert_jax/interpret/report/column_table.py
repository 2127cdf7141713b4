"""A table, column by column: numbers packed, the rest as text, so that a page sorts and filters 100,000 rows."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.report.packing import packed
from dnabert_jax.io.tables import Table, open_table

_ALWAYS_TEXT = frozenset({"contig", "id", "ref", "alt", "label", "left_out", "name", "seeds"})
"""Columns whose values are names even where all of them happen to be digits, as of contigs."""
_NO_EFFECTS = frozenset({"position", "reference", "alternative"})
"""Numbers of `dnabert-jax variants` by whose size no variant is chosen."""
_MISSING = frozenset({"", ".", "nan", "NaN"})


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What is shown of a table that has too many rows.

    Attributes:
        most: rows at most.
        column: the rows of largest magnitude in this column are shown; the first column of effects if not given.
    """

    most: int
    column: str = ""


def column_table(path: Path, ranking: Ranking | None = None) -> dict[str, Any]:
    """The columns of a CSV, TSV or Parquet table; of too many rows those that rank first, in the order of the file.

    A column is numeric if each of its values that is not missing (empty, a point, NaN) is a number.

    Raises:
        InputError: it is no such table, has no column to choose by, or a value there is no number.
    """
    table = open_table(path)
    if ranking is not None and ranking.column and ranking.column not in table.names:
        raise InputError(f"{table.path} has no column {ranking.column!r}, only {', '.join(table.names)}.")
    rows: list[tuple[str, ...]] = []
    total, place = 0, -1
    for row in _rows(table):
        rows.append(row)
        total += 1
        # In batches, since each choice goes through all that is kept.
        if ranking is not None and len(rows) >= 2 * ranking.most:
            place = _rank_by(table, ranking, rows)
            rows = _largest(table, rows, place, ranking.most)
    if ranking is not None and len(rows) > ranking.most:
        place = _rank_by(table, ranking, rows)
        rows = _largest(table, rows, place, ranking.most)
    columns = [{"name": name, **_column(name, [row[at] for row in rows])} for at, name in enumerate(table.names)]
    ranked_by = "" if place < 0 else table.names[place]
    return {"columns": columns, "rows": len(rows), "total": total, "rankedBy": ranked_by}


def _rows(table: Table) -> Iterator[tuple[str, ...]]:
    for batch in table.batches(table.names):
        yield from zip(
            *(["" if value is None else value for value in column.to_pylist()] for column in batch), strict=True
        )


def _number(text: str) -> float | None:
    """None if it is neither a number nor missing; NaN if it is missing."""
    if text in _MISSING:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return None


def _rank_by(table: Table, ranking: Ranking, rows: list[tuple[str, ...]]) -> int:
    """The place of the column by which rows are chosen."""
    if ranking.column:
        return table.names.index(ranking.column)
    for place, name in enumerate(table.names):
        if name not in _ALWAYS_TEXT | _NO_EFFECTS and all(_number(row[place]) is not None for row in rows):
            return place
    raise InputError(f"{table.path} has too many rows to show all, and no column of numbers to choose them by.")


def _largest(table: Table, rows: list[tuple[str, ...]], place: int, most: int) -> list[tuple[str, ...]]:
    """The rows of largest magnitude in a column, in their order; of equal ones the first."""
    magnitudes = np.empty(len(rows))
    for number, row in enumerate(rows):
        value = _number(row[place])
        if value is None:
            raise InputError(
                f"{table.path} has {row[place]!r} in the column {table.names[place]!r}: no number to choose by."
            )
        magnitudes[number] = -1 if math.isnan(value) else abs(value)
    kept = np.sort(np.argsort(-magnitudes, kind="stable")[:most])
    return [rows[number] for number in kept]


def _column(name: str, values: list[str]) -> dict[str, Any]:
    numbers = [] if name in _ALWAYS_TEXT else [_number(value) for value in values]
    if name in _ALWAYS_TEXT or None in numbers or all(value in _MISSING for value in values):
        return {"text": values}
    return {"numbers": packed(np.array(numbers, np.float64), "f8")}
