"""A table is what its file says; of too many rows, those of largest magnitude."""

import base64
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.report.sections import column_table


def write(path: Path, rows: int) -> list[float]:
    draw = random.Random(0)  # noqa: S311
    scores = [draw.choice([-1, 1]) * draw.randrange(1, 60) / 8 for _ in range(rows)]
    cells = ["" if row % 7 == 3 else str(score) for row, score in enumerate(scores)]
    lines = [f"{1 + row % 2}\t{row}\t1\t0.5\t{cell}\tx{row}" for row, cell in enumerate(cells)]
    path.write_text("contig\tposition\tlabel\treference\tdifference\tnote\n" + "\n".join(lines) + "\n")
    return [score if cell else 0.0 for score, cell in zip(scores, cells, strict=True)]


def column(table: dict[str, Any], name: str) -> Any:
    (found,) = [column for column in table["columns"] if column["name"] == name]
    if "text" in found:
        return found["text"]
    return np.frombuffer(base64.b64decode(found["numbers"]["data"]), "<f8")


def test_columns_are_numbers_where_all_are(tmp_path: Path) -> None:
    scores = write(tmp_path / "x.tsv", 30)
    table = column_table(tmp_path / "x.tsv")
    assert (table["rows"], table["total"], table["rankedBy"]) == (30, 30, "")
    assert column(table, "contig") == ["1", "2"] * 15
    assert column(table, "position").tolist() == list(range(30))
    assert column(table, "label") == ["1"] * 30
    assert column(table, "note") == [f"x{row}" for row in range(30)]
    found = column(table, "difference")
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 10, 17, 24]
    assert np.nan_to_num(found).tolist() == scores


@pytest.mark.parametrize(("rows", "most"), [(30, 30), (31, 30), (200, 30), (60, 30), (61, 30)])
def test_of_too_many_rows_the_largest_are_shown_in_their_order(tmp_path: Path, rows: int, most: int) -> None:
    scores = write(tmp_path / "x.tsv", rows)
    table = column_table(tmp_path / "x.tsv", most)
    assert (table["rows"], table["total"], table["rankedBy"]) == (most, rows, "difference" if rows > most else "")
    # Of equal ones the first, which a sort keeps in front.
    expected = sorted(sorted(range(rows), key=lambda row: -abs(scores[row]))[:most])
    assert column(table, "position").tolist() == expected


@pytest.mark.parametrize(("by", "value"), [("none", "'none'.* contig, position"), ("note", "'x0'.*'note'")])
def test_what_cannot_be_chosen_by_is_said(tmp_path: Path, by: str, value: str) -> None:
    write(tmp_path / "x.tsv", 9)
    with pytest.raises(InputError, match=value):
        column_table(tmp_path / "x.tsv", 5, by)
    (tmp_path / "y.tsv").write_text("contig\tnote\n" + "1\tx\n" * 9)
    with pytest.raises(InputError, match="numbers"):
        column_table(tmp_path / "y.tsv", 5)
