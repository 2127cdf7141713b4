"""Shards are standard TFRecord of standard tf.train.Example."""

import io
import struct
import tempfile
from pathlib import Path

import grain
import numpy as np
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

from dnabert_jax.data.tfrecord import FEATURE, Shard, encode_rows


@given(st.integers(1, 5), st.integers(1, 9000), st.integers(0))
def test_grain_and_tfds_read_what_is_written(count: int, length: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, 65536, (count, length)).astype(np.uint16)
    with tempfile.NamedTemporaryFile() as file:
        file.write(encode_rows(rows))
        file.flush()
        records = list(grain.experimental.TFRecordIterDataset(file.name))
        places = np.array([*reversed(range(count)), 0])
        np.testing.assert_array_equal(Shard(Path(file.name), count, length).read(places), rows[places])
    row = tfds.features.Tensor(shape=(length,), dtype=np.uint16, encoding=tfds.features.Encoding.BYTES)
    examples = map(tfds.features.FeaturesDict({FEATURE: row}).deserialize_example_np, records)
    np.testing.assert_array_equal([example[FEATURE] for example in examples], rows)


def test_checksums_are_the_masked_crc32c_of_the_specification() -> None:
    """Against a bitwise CRC32C that shares nothing with the library."""

    def crc32c(data: bytes) -> int:
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
        return crc ^ 0xFFFFFFFF

    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF

    assert crc32c(b"123456789") == 0xE3069283
    rows = np.random.default_rng(0).integers(0, 4101, (5, 16)).astype(np.uint16)
    stream = io.BytesIO(encode_rows(rows).tobytes())
    for _ in rows:
        length = stream.read(8)
        assert struct.unpack("<I", stream.read(4))[0] == masked(length)
        data = stream.read(struct.unpack("<Q", length)[0])
        assert struct.unpack("<I", stream.read(4))[0] == masked(data)
    assert not stream.read()
