"""Shards are standard TFRecord of standard tf.train.Example."""

import contextlib
import tempfile
from pathlib import Path

import grain
import numpy as np
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st
from tensorboardX.crc32c import crc32c
from tensorboardX.record_writer import RecordWriter

from dnabert_jax.data.tfrecord import FEATURE, Shard, encode_rows


@given(st.integers(1, 5), st.integers(1, 9000), st.integers(0))
def test_grain_and_tfds_read_what_is_written_and_tensorboardx_writes_the_same(
    count: int, length: int, seed: int
) -> None:
    """Checksums and all: its CRC32C has the check value of the algorithm."""
    assert crc32c(b"123456789") == 0xE3069283
    rows = np.random.default_rng(seed).integers(0, 65536, (count, length)).astype(np.uint16)
    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = Path(directory, "ours"), Path(directory, "theirs")
        ours.write_bytes(encode_rows(rows))
        records = list(grain.experimental.TFRecordIterDataset(str(ours)))
        places = np.array([*reversed(range(count)), 0])
        np.testing.assert_array_equal(Shard(ours, count, length).read(places), rows[places])
        with contextlib.closing(RecordWriter(str(theirs))) as writer:
            for record in records:
                writer.write(record)
        assert theirs.read_bytes() == ours.read_bytes()
    row = tfds.features.Tensor(shape=(length,), dtype=np.uint16, encoding=tfds.features.Encoding.BYTES)
    examples = map(tfds.features.FeaturesDict({FEATURE: row}).deserialize_example_np, records)
    np.testing.assert_array_equal([example[FEATURE] for example in examples], rows)
