"""Predictions and embeddings are what numpy and Arrow alone read, in as many row groups as there must be."""

import csv
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.tasks import prediction
from dnabert_jax.tasks.prediction import write_embeddings, write_predictions

MARKS = TaskConfig("multi_label_classification", ("H3K4me3", "CTCF"))
SIGNAL = TaskConfig("regression", ("signal",))
TWO = TaskConfig("regression", ("signal", "fold"))


def rows(*scores: list[float]) -> Iterator[tuple[tuple[str], np.ndarray]]:
    return (((f"s{number}",), np.array(row, np.float32)) for number, row in enumerate(scores))


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def by_position(count: int) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(f"é{'x' * number}", rng.normal(size=(number + 1, 4)).astype(np.float32)) for number in range(count)]


def test_all_labels_that_apply_are_predicted_and_a_regression_has_its_numbers(tmp_path: Path) -> None:
    counts = write_predictions(tmp_path / "x.tsv", MARKS, ["id"], rows([0.5, 0.75], [0.1, 1], [0.25, 0.25]))
    assert counts == {"H3K4me3": 1, "CTCF": 2}
    assert read(tmp_path / "x.tsv") == [
        ["id", "prediction", "p_H3K4me3", "p_CTCF"],
        ["s0", "H3K4me3;CTCF", "0.5", "0.75"],
        ["s1", "CTCF", "0.1", "1"],
        ["s2", "", "0.25", "0.25"],
    ]
    assert write_predictions(tmp_path / "y.tsv", SIGNAL, ["id"], rows([-1.5], [1e-9])) == {}
    assert read(tmp_path / "y.tsv") == [["id", "prediction"], ["s0", "-1.5"], ["s1", "1e-9"]]
    write_predictions(tmp_path / "z.parquet", TWO, ["id"], rows([1, 2]))
    columns = pyarrow.parquet.read_table(tmp_path / "z.parquet").to_pydict()
    assert columns == {"id": ["s0"], "prediction_signal": [1.0], "prediction_fold": [2.0]}


def test_row_groups_come_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "_ROWS", 4)
    monkeypatch.setattr(prediction, "_GROUP_BYTES", 64)
    for name in ("x.parquet", "x.tsv"):
        write_predictions(tmp_path / name, SIGNAL, ["id"], rows(*([float(number)] for number in range(10))))
    file = pyarrow.parquet.ParquetFile(tmp_path / "x.parquet")
    assert file.num_row_groups == 3
    expected = [(f"s{number}", float(number)) for number in range(10)]
    assert list(zip(*file.read().to_pydict().values(), strict=True)) == expected
    assert [(name, float(value)) for name, value in read(tmp_path / "x.tsv")[1:]] == expected
    for count in (0, 7):
        embeddings = by_position(count)
        write_embeddings(tmp_path / f"{count}.parquet", iter(embeddings), 4, True)
        file = pyarrow.parquet.ParquetFile(tmp_path / f"{count}.parquet")
        assert file.num_row_groups >= count // 3
        rows_read = zip(*file.read().to_pydict().values(), strict=True)
        assert list(rows_read) == [(name, vectors.tolist()) for name, vectors in embeddings]


@pytest.mark.parametrize("count", [0, 5])
def test_npz_is_that_of_numpy(count: int, tmp_path: Path) -> None:
    embeddings = by_position(count)
    write_embeddings(tmp_path / "x.npz", iter(embeddings), 4, True)
    expected = {
        "ids": np.array([name for name, _ in embeddings], np.str_),
        "embeddings": np.concatenate([np.zeros((0, 4), np.float32), *(vectors for _, vectors in embeddings)]),
        "offsets": np.cumsum([0, *(len(vectors) for _, vectors in embeddings)]),
    }
    np.savez(tmp_path / "numpy.npz", **expected)
    with zipfile.ZipFile(tmp_path / "x.npz") as ours, zipfile.ZipFile(tmp_path / "numpy.npz") as theirs:
        assert ours.namelist() == theirs.namelist()
        assert all(ours.read(name) == theirs.read(name) for name in ours.namelist())


def test_memory_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "_ROWS", 500)

    def peak(count: int) -> int:
        tracemalloc.start()
        predictions = (((f"{n:09}",), np.zeros(1, np.float32)) for n in range(count))
        write_predictions(tmp_path / f"{count}.tsv", SIGNAL, ["id"], predictions)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(7_999)  # what is made once
    assert peak(8_000) < 1.2 * peak(2_000)


def test_numbers_that_the_file_cannot_hold_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\ba\b.* 1000000\.0\b.*float16"):
        write_embeddings(tmp_path / "x.npz", [("a", np.full(4, 1e6, np.float32))], 4, False, "float16")
    with pytest.raises(JobError, match=r"\ba\b"):
        write_embeddings(tmp_path / "x.parquet", [("a", np.full(4, np.nan, np.float32))], 4, False)
    with pytest.raises(JobError, match=r"s1 .*nan"):
        write_predictions(tmp_path / "x.tsv", SIGNAL, ["id"], rows([1], [float("nan")]))
    assert list(tmp_path.iterdir()) == []
