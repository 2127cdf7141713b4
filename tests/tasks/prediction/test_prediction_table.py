"""Predictions of every kind of problem as columns, in as many row groups as there must be."""

import csv
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import JobError
from dnabert_jax.tasks.prediction import prediction_table
from dnabert_jax.tasks.prediction.prediction_table import write_predictions

MARKS = TaskConfig("multi_label_classification", ("H3K4me3", "CTCF"))
SIGNAL = TaskConfig("regression", ("signal",))
TWO = TaskConfig("regression", ("signal", "fold"))


def rows(*scores: list[float]) -> Iterator[tuple[tuple[str], np.ndarray]]:
    return (((f"s{number}",), np.array(row, np.float32)) for number, row in enumerate(scores))


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def test_all_labels_that_apply_are_predicted(tmp_path: Path) -> None:
    counts = write_predictions(tmp_path / "x.tsv", MARKS, ["id"], rows([0.5, 0.75], [0.1, 1], [0.25, 0.25]))
    assert counts == {"H3K4me3": 1, "CTCF": 2}
    assert read(tmp_path / "x.tsv") == [
        ["id", "prediction", "p_H3K4me3", "p_CTCF"],
        ["s0", "H3K4me3;CTCF", "0.5", "0.75"],
        ["s1", "CTCF", "0.1", "1"],
        ["s2", "", "0.25", "0.25"],
    ]


def test_a_regression_has_its_numbers(tmp_path: Path) -> None:
    assert write_predictions(tmp_path / "x.tsv", SIGNAL, ["id"], rows([-1.5], [1e-9])) == {}
    assert read(tmp_path / "x.tsv") == [["id", "prediction"], ["s0", "-1.5"], ["s1", "1e-9"]]
    write_predictions(tmp_path / "y.parquet", TWO, ["id"], rows([1, 2]))
    assert pyarrow.parquet.read_table(tmp_path / "y.parquet").to_pydict() == {
        "id": ["s0"], "prediction_signal": [1.0], "prediction_fold": [2.0],
    }  # fmt: skip


def test_row_groups_come_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_table, "_ROWS", 4)
    for name in ("x.parquet", "x.tsv"):
        write_predictions(tmp_path / name, SIGNAL, ["id"], rows(*([float(number)] for number in range(10))))
    found = pyarrow.parquet.ParquetFile(tmp_path / "x.parquet")
    assert found.num_row_groups == 3
    expected = [(f"s{number}", float(number)) for number in range(10)]
    assert list(zip(*found.read().to_pydict().values(), strict=True)) == expected
    assert [(name, float(value)) for name, value in read(tmp_path / "x.tsv")[1:]] == expected


def test_memory_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_table, "_ROWS", 500)

    def peak(count: int) -> int:
        tracemalloc.start()
        write_predictions(
            tmp_path / f"{count}.tsv", SIGNAL, ["id"], (((f"{n:09}",), np.zeros(1, np.float32)) for n in range(count))
        )
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)  # what is made once, at the first call
    assert peak(8_000) < 1.2 * peak(2_000)


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"s1 is not finite \(nan\)"):
        write_predictions(tmp_path / "x.tsv", SIGNAL, ["id"], rows([1], [float("nan")]))
    assert list(tmp_path.iterdir()) == []
