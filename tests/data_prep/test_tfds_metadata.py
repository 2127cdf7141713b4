"""TensorFlow Datasets opens a data directory as it is."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from dnabert_jax.data.manifest import HELDOUT, TRAIN, read_manifest
from dnabert_jax.data.rows import open_rows


def test_the_metadata_name_every_shard_and_its_rows(sample_rows: Path) -> None:
    manifest = read_manifest(sample_rows)
    info = json.loads((sample_rows / "dataset_info.json").read_text())
    for split in info["splits"]:
        shards = manifest.splits[split["name"]].shards
        assert split["shardLengths"] == [str(shard.rows) for shard in shards]
        for number, shard in enumerate(shards):
            name = split["filepathTemplate"].format(
                SPLIT=split["name"], SHARD_INDEX=f"{number:05d}", NUM_SHARDS=f"{len(shards):05d}", FILEFORMAT="tfrecord"
            )
            assert name == shard.name
    assert {split["name"] for split in info["splits"]} == {TRAIN, HELDOUT}
    features = json.loads((sample_rows / "features.json").read_text())
    (tensor,) = (feature["tensor"] for feature in features["featuresDict"]["features"].values())
    assert (tensor["dtype"], tensor["shape"]["dimensions"]) == ("uint16", ["64"])


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
