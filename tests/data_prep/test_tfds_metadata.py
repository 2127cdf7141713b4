"""TensorFlow Datasets opens a data directory as it is."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from dnabert_jax.data.manifest import HELDOUT, read_manifest
from dnabert_jax.data.rows import open_rows


def test_tfds_opens_the_directory_without_tensorflow(sample_rows: Path) -> None:
    info = tfds.builder_from_directory(str(sample_rows)).info
    assert info.metadata == {"k": 3, "manifest_sha256": read_manifest(sample_rows).digest()}
    for name, split in read_manifest(sample_rows).splits.items():
        assert [path.name for path in info.splits[name].filepaths] == [shard.name for shard in split.shards]
        assert info.splits[name].shard_lengths == [shard.rows for shard in split.shards]


@pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason="TensorFlow is not installed")
def test_tfds_reads_the_rows(sample_rows: Path) -> None:
    builder = tfds.builder_from_directory(str(sample_rows))
    read = [example["input_ids"] for example in tfds.as_numpy(builder.as_dataset(split=HELDOUT))]
    files = open_rows(sample_rows, HELDOUT)
    assert np.array_equal(read, files.read(np.arange(len(files))))
