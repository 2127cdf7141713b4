"""Shards are standard TFRecord of standard tf.train.Example, and no damage passes."""

import importlib.util
import io
import struct
import tempfile
from pathlib import Path

import grain
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from dnabert_jax.data.tfrecord import FEATURE, RecordLayout, Shard, encode_rows
from dnabert_jax.errors import InputError

ROWS = np.random.default_rng(0).integers(0, 4101, (5, 16)).astype(np.uint16)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "rows.tfrecord"
    with path.open("wb") as file:
        file.write(encode_rows(ROWS))
    return path


def example_class() -> type:
    """tf.train.Example as protocol buffers define it, with the field numbers of example.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    bytes_list = file.message_type.add(name="BytesList")
    bytes_list.field.add(name="value", number=1, type=12, label=3)
    feature = file.message_type.add(name="Feature")
    feature.field.add(name="bytes_list", number=1, type=11, type_name=".tensorflow.BytesList", label=1)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, type_name=".tensorflow.Feature", label=1)
    features.field.add(name="feature", number=1, type=11, type_name=".tensorflow.Features.FeatureEntry", label=3)
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type=11, type_name=".tensorflow.Features", label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


@given(st.integers(1, 5), st.integers(1, 9000), st.integers(0))
def test_grain_and_protobuf_read_what_is_written(count: int, length: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, 65536, (count, length)).astype(np.uint16)
    with tempfile.NamedTemporaryFile() as file:
        file.write(encode_rows(rows))
        file.flush()
        records = list(grain.experimental.TFRecordIterDataset(file.name))
        np.testing.assert_array_equal(Shard(Path(file.name), count, length).read(np.arange(count)), rows)
    for record, row in zip(records, rows, strict=True):
        example = example_class().FromString(record)
        assert list(example.features.feature) == [FEATURE]
        (value,) = example.features.feature[FEATURE].bytes_list.value
        assert np.array_equal(np.frombuffer(value, "<u2"), row)


@pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason="TensorFlow is not installed")
def test_tensorflow_reads_what_is_written(shard: Path) -> None:
    import tensorflow as tf

    features = {FEATURE: tf.io.FixedLenFeature([], tf.string)}
    read = [
        np.frombuffer(tf.io.parse_single_example(record, features)[FEATURE].numpy(), "<u2")
        for record in tf.data.TFRecordDataset(str(shard))
    ]
    assert np.array_equal(read, ROWS)


def test_checksums_are_the_masked_crc32c_of_the_specification(shard: Path) -> None:
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
    stream = io.BytesIO(shard.read_bytes())
    for _ in ROWS:
        length = stream.read(8)
        assert struct.unpack("<I", stream.read(4))[0] == masked(length)
        data = stream.read(struct.unpack("<Q", length)[0])
        assert struct.unpack("<I", stream.read(4))[0] == masked(data)
    assert not stream.read()


def test_rows_are_read_in_any_order(shard: Path) -> None:
    wanted = np.array([4, 0, 0, 2])
    assert np.array_equal(Shard(shard, 5, 16).read(wanted), ROWS[wanted])


def test_a_flipped_bit_in_any_byte_is_reported_with_file_and_record(shard: Path) -> None:
    whole = shard.read_bytes()
    stride = RecordLayout(16).stride
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        shard.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"rows\.tfrecord: record {position // stride} is damaged"):
            Shard(shard, 5, 16).read(np.arange(5))


@pytest.mark.parametrize("cut", [1, 100])
def test_a_truncated_shard_is_refused_when_it_is_opened(shard: Path, cut: int) -> None:
    shard.write_bytes(shard.read_bytes()[:-cut])
    with pytest.raises(InputError, match="truncated"):
        Shard(shard, 5, 16)


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        Shard(tmp_path / "none.tfrecord", 5, 16)
