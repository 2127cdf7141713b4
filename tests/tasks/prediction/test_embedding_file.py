"""Files of embeddings are what numpy and Arrow alone read, and never more or less than what was given."""

import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from dnabert_jax.errors import InputError, JobError
from dnabert_jax.tasks.prediction import embedding_file
from dnabert_jax.tasks.prediction.embedding_file import write_embeddings


def by_position(count: int) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(f"é{'x' * number}", rng.normal(size=(number + 1, 4)).astype(np.float32)) for number in range(count)]


def test_npz_is_that_of_numpy(tmp_path: Path) -> None:
    rows = by_position(5)
    assert write_embeddings(tmp_path / "x.npz", iter(rows), 4, True) == 5
    expected = {
        "ids": np.array([name for name, _ in rows]),
        "embeddings": np.concatenate([own for _, own in rows]),
        "offsets": np.cumsum([0, *(len(own) for _, own in rows)]),
    }
    np.savez(tmp_path / "numpy.npz", **expected)
    with zipfile.ZipFile(tmp_path / "x.npz") as ours, zipfile.ZipFile(tmp_path / "numpy.npz") as theirs:
        assert ours.namelist() == theirs.namelist()
        assert all(ours.read(name) == theirs.read(name) for name in ours.namelist())


def test_row_groups_come_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_file, "_GROUP_BYTES", 64)
    rows = by_position(7)
    write_embeddings(tmp_path / "x.parquet", iter(rows), 4, True)
    file = pyarrow.parquet.ParquetFile(tmp_path / "x.parquet")
    assert file.num_row_groups > 2
    found = file.read().to_pydict()
    assert found["id"] == [name for name, _ in rows]
    assert all(np.array_equal(own, theirs) for own, (_, theirs) in zip(found["embedding"], rows, strict=True))


def test_no_sequences_are_an_empty_file(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "x.npz", iter([]), 4, True)
    with np.load(tmp_path / "x.npz") as arrays:
        assert (arrays["ids"].shape, arrays["embeddings"].shape, arrays["offsets"].tolist()) == ((0,), (0, 4), [0])
    write_embeddings(tmp_path / "x.parquet", iter([]), 4, False)
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").num_rows == 0


def test_numbers_that_the_file_cannot_hold_are_refused(tmp_path: Path) -> None:
    large = [("a", np.full(4, 1e6, np.float32))]
    with pytest.raises(InputError, match=r"embedding of a has 1000000\.0, which is beyond float16"):
        write_embeddings(tmp_path / "x.npz", large, 4, False, "float16")
    with pytest.raises(JobError, match="embedding of a is not finite"):
        write_embeddings(tmp_path / "x.parquet", [("a", np.full(4, np.nan, np.float32))], 4, False)
    assert list(tmp_path.iterdir()) == []
