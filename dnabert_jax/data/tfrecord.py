"""TFRecord shards of rows of constant size, written and read without TensorFlow.

A record is a standard tf.train.Example with one feature, `input_ids`: a bytes_list with one value, the row's ids as
little-endian uint16. As every row has the same length, every record has the same size, so that record i of a shard
starts at i * stride and a TFRecord file is random access. The framing is that of TensorFlow
(tensorflow/core/lib/io/record_writer.h):

    uint64 length | uint32 masked CRC32C of length | the Example | uint32 masked CRC32C of the Example

The protocol-buffer bytes around the ids are the same in every record; they are built once, from the wire format of
example.proto and feature.proto, and compared on every read.
"""

import abc
import functools
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
import numpy as np
from jaxtyping import Int, UInt8, UInt16

from dnabert_jax.errors import InputError

FEATURE = "input_ids"

_HEADER_BYTES = 12
_FOOTER_BYTES = 4
_CRC_MASK_DELTA = 0xA282EAD8


def _varint(value: int) -> bytes:
    *low, high = (value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7))
    return bytes([*(seven_bits | 0x80 for seven_bits in low), high])


def _field(number: int, payload: bytes) -> bytes:
    """Returns a length-delimited protocol-buffer field (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


@functools.lru_cache(1024)
def _before_value(name: str, list_number: int, size: int) -> bytes:
    """Returns the bytes of a feature before those of its value, which has this size and stands at the end."""
    value = bytes(size)
    entry = _field(1, _field(1, name.encode()) + _field(2, _field(list_number, _field(1, value))))
    return entry[: len(entry) - size]


def feature(name: str, value: int | str | bytes) -> bytes:
    """Returns one entry for `example`, serialised: an int64_list of one value for a number, else a bytes_list of one.

    Args:
        value: not negative if it is a number.
    """
    data = value.encode() if isinstance(value, str) else value
    # A list is field 1 of Feature if it is of bytes, 3 if of integers, which are packed.
    list_number, values = (3, _varint(data)) if isinstance(data, int) else (1, data)
    return _before_value(name, list_number, len(values)) + values


def example(features: Iterable[bytes]) -> bytes:
    """Returns the tf.train.Example of features, which come sorted by name, serialised."""
    return _field(1, b"".join(features))


def _masked_crc(data: bytes) -> int:
    """Returns CRC32C rotated right by 15 bits plus a constant, as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _CRC_MASK_DELTA) & 0xFFFFFFFF


class RecordLayout:
    """The constant bytes and offsets of a record whose row holds `row_length` ids."""

    def __init__(self, row_length: int):
        self.row_length = row_length
        zeros = example([feature(FEATURE, bytes(2 * row_length))])
        length = len(zeros).to_bytes(8, "little")
        self.example_prefix = zeros[: -2 * row_length]
        self.prefix = length + _masked_crc(length).to_bytes(4, "little") + self.example_prefix
        self.stride = _HEADER_BYTES + len(zeros) + _FOOTER_BYTES


def decode_ids(payload: UInt8[np.ndarray, "R B"]) -> UInt16[np.ndarray, "R L"]:
    """Returns the ids of rows from their bytes, B = 2 L of each."""
    return np.ascontiguousarray(payload).view("<u2").astype(np.uint16, copy=False)


def encode_rows(rows: UInt16[np.ndarray, "R L"]) -> UInt8[np.ndarray, "R S"]:
    """Returns the records of rows, S = stride bytes each: written one after the other they are a TFRecord file."""
    layout = RecordLayout(rows.shape[1])
    records = np.empty((len(rows), layout.stride), np.uint8)
    records[:, : len(layout.prefix)] = np.frombuffer(layout.prefix, np.uint8)
    payload = np.ascontiguousarray(rows, "<u2").view(np.uint8)
    records[:, len(layout.prefix) : -_FOOTER_BYTES] = payload
    checksums = [_masked_crc(record[_HEADER_BYTES:-_FOOTER_BYTES].tobytes()) for record in records]
    records[:, -_FOOTER_BYTES:] = np.array(checksums, "<u4").view(np.uint8).reshape(-1, _FOOTER_BYTES)
    return records


class RowShard(abc.ABC):
    """One file of `num_rows` rows, read at any record.

    Args:
        name: of the file in errors; the path, if not given.
    """

    _remedy: str
    """The end of an error: how to replace a damaged file."""

    def __init__(self, path: Path, num_rows: int, row_length: int, name: str | None = None):
        self._name, self.num_rows, self._layout = name or str(path), num_rows, RecordLayout(row_length)
        if not path.is_file():
            raise InputError(f"{self._name} is missing: the data are incomplete; {self._remedy}.")

    def read(self, indices: Int[np.ndarray, " R"]) -> UInt16[np.ndarray, "R L"]:
        """Returns the rows at `indices`; raises InputError, with the 0-based number, if a record is damaged."""
        rows, damage = self.inspect(indices)
        for number, reason in damage.items():
            raise InputError(f"{self._name}: record {number} is damaged: {reason}; {self._remedy}.")
        return rows

    @abc.abstractmethod
    def inspect(self, indices: Int[np.ndarray, " R"]) -> tuple[UInt16[np.ndarray, "R L"], dict[int, str]]:
        """Returns the rows at `indices` whether damaged or not, and what is wrong with those that are, by number."""


class Shard(RowShard):
    """A TFRecord file of rows; a wrong byte in a record is damage."""

    _remedy = "prepare the data again"

    def __init__(self, path: Path, num_rows: int, row_length: int, name: str | None = None):
        super().__init__(path, num_rows, row_length, name)
        size, expected = path.stat().st_size, num_rows * self._layout.stride
        if size != expected:
            raise InputError(
                f"{self._name} has {size:,} bytes where {num_rows:,} records need {expected:,}: it is truncated or not "
                f"from this data set; {self._remedy}."
            )
        if num_rows:
            self._records = np.memmap(path, np.uint8, "r", shape=(num_rows, self._layout.stride))

    def inspect(self, indices: Int[np.ndarray, " R"]) -> tuple[UInt16[np.ndarray, "R L"], dict[int, str]]:
        records, prefix = self._records[indices], np.frombuffer(self._layout.prefix, np.uint8)
        framed = (records[:, : len(prefix)] == prefix).all(axis=1)
        damage = {}
        for number, record, is_framed in zip(indices.tolist(), records, framed, strict=True):
            stored = int.from_bytes(record[-_FOOTER_BYTES:].tobytes(), "little")
            if not is_framed:
                damage[number] = f"it is no Example of {self._layout.row_length} ids"
            elif stored != _masked_crc(record[_HEADER_BYTES:-_FOOTER_BYTES].tobytes()):
                damage[number] = "the checksum of its data does not match"
        return decode_ids(records[:, len(prefix) : -_FOOTER_BYTES]), damage
