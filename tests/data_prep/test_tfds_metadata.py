"""TensorFlow Datasets opens a data directory as it is."""

from pathlib import Path

import tensorflow_datasets as tfds

from dnabert_jax.data.manifest import read_manifest


def test_tfds_opens_the_directory_without_tensorflow(sample_rows: Path) -> None:
    info = tfds.builder_from_directory(str(sample_rows)).info
    assert info.metadata == {"k": 3, "manifest_sha256": read_manifest(sample_rows).digest()}
    for name, split in read_manifest(sample_rows).splits.items():
        assert [path.name for path in info.splits[name].filepaths] == [shard.name for shard in split.shards]
        assert info.splits[name].shard_lengths == [shard.rows for shard in split.shards]
