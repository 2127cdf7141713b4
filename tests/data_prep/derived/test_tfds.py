"""TensorFlow Datasets opens a derived set, and reads the table's rows."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from dnabert_jax.data.tfrecord import example, feature
from dnabert_jax.data_prep.derived import table as module
from dnabert_jax.data_prep.derived.derivation import SPLITS
from dnabert_jax.data_prep.derived.promoters import Promoters
from tests.data_prep.derived.conftest import Derived


def test_tfds_reads_the_table(derived: Derived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From several shards."""
    monkeypatch.setattr(module, "ROWS_PER_SHARD", 7)
    _, rows = derived(Promoters)
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    labels = builder.info.features["label"].names
    assert labels == ["background", "promoter"]
    for split in SPLITS:
        source = builder.as_data_source(split)
        read = [
            {name: value if isinstance(value, bytes) else int(value) for name, value in row.items()} for row in source
        ]
        expected = [row for row in rows if row["split"] == split]
        assert len(list((tmp_path / "out").glob(f"{split}-*.array_record"))) == -(-len(expected) // 7)
        numbers = [
            {"label": labels.index(row["label"]), "start": int(row["start"]), "end": int(row["end"])}
            for row in expected
        ]
        texts = ("chrom", "strand", "group", "origin", "sequence")
        assert read == [
            {name: row[name].encode() for name in texts} | number for row, number in zip(expected, numbers, strict=True)
        ]


def test_examples_are_those_of_tfds() -> None:
    features = tfds.features.FeaturesDict({"a": tfds.features.Text(), "b": tfds.features.Scalar(np.int64)})
    for number in (0, 127, 128, 248_956_422, 2**40):
        row = {"a": "ACGT" * 100, "b": number}
        read = features.deserialize_example_np(example(feature(*entry) for entry in row.items()))
        assert (read["a"], read["b"]) == (row["a"].encode(), number)
