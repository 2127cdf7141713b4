"""TFRecord shards of rows of constant size, written and read without TensorFlow.

A record is a standard tf.train.Example with one feature, `input_ids`: a bytes_list with one value, the row's ids as
little-endian uint16. As every row has the same length, every record has the same size, so that record i of a shard
starts at i * stride and a TFRecord file is random access. The framing is that of TensorFlow
(tensorflow/core/lib/io/record_writer.h):

    uint64 length | uint32 masked CRC32C of length | the Example | uint32 masked CRC32C of the Example

The protocol-buffer bytes around the ids are the same in every record; they are built once, from the wire format of
example.proto and feature.proto, and compared on every read.
"""

from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np
from jaxtyping import Int, UInt8, UInt16

from dnabert_jax.errors import InputError

FEATURE = "input_ids"

_HEADER_BYTES = 12
_FOOTER_BYTES = 4
_CRC_MASK_DELTA = 0xA282EAD8


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protocol-buffer field (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _example(ids: bytes) -> bytes:
    """tf.train.Example {features {feature {key: "input_ids", value {bytes_list {value: ids}}}}}, serialised."""
    feature = _field(1, _field(1, ids))
    entry = _field(1, FEATURE.encode()) + _field(2, feature)
    return _field(1, _field(1, entry))


def _masked_crc(data: bytes) -> int:
    """CRC32C rotated right by 15 bits plus a constant, as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _CRC_MASK_DELTA) & 0xFFFFFFFF


class RecordLayout:
    """The constant bytes and offsets of a record whose row holds `row_length` ids."""

    def __init__(self, row_length: int):
        self.row_length = row_length
        example = _example(bytes(2 * row_length))
        length = len(example).to_bytes(8, "little")
        self.header = length + _masked_crc(length).to_bytes(4, "little")
        self.prefix = self.header + example[: -2 * row_length]
        self.stride = _HEADER_BYTES + len(example) + _FOOTER_BYTES


def write_rows(file: BinaryIO, rows: UInt16[np.ndarray, "R L"]) -> None:
    """Appends one record a row to an open binary file."""
    layout = RecordLayout(rows.shape[1])
    records = np.empty((len(rows), layout.stride), np.uint8)
    records[:, : len(layout.prefix)] = np.frombuffer(layout.prefix, np.uint8)
    payload = np.ascontiguousarray(rows, "<u2").view(np.uint8)
    records[:, len(layout.prefix) : -_FOOTER_BYTES] = payload
    footers = records[:, -_FOOTER_BYTES:]
    for index, record in enumerate(records):
        crc = _masked_crc(record[_HEADER_BYTES:-_FOOTER_BYTES].tobytes())
        footers[index] = np.frombuffer(crc.to_bytes(4, "little"), np.uint8)
    file.write(records.tobytes())


class Shard:
    """A TFRecord file of rows, read at any record.

    Args:
        path: the file.
        num_rows: how many records it must hold.
        row_length: how many ids a row has.

    Raises:
        InputError: the file is missing, or its size is not num_rows x stride.
    """

    def __init__(self, path: Path, num_rows: int, row_length: int):
        self._path = path
        self._layout = RecordLayout(row_length)
        self.num_rows = num_rows
        if not path.is_file():
            raise InputError(f"{path} is missing: the data directory is incomplete; prepare it again.")
        size, expected = path.stat().st_size, num_rows * self._layout.stride
        if size != expected:
            raise InputError(
                f"{path} has {size:,} bytes where {num_rows:,} records need {expected:,}: it is truncated or not "
                "from this data set; prepare the data again."
            )
        if num_rows:
            self._records = np.memmap(path, np.uint8, "r", shape=(num_rows, self._layout.stride))

    def read(self, indices: Int[np.ndarray, "R"]) -> UInt16[np.ndarray, "R L"]:
        """The rows at `indices`, every byte of each record checked.

        Raises:
            InputError: a record is damaged; the message names the file and the 0-based record number.
        """
        layout = self._layout
        records = self._records[indices]
        self._check_framing(records, indices)
        for record, index in zip(records, indices, strict=True):
            stored = int.from_bytes(record[-_FOOTER_BYTES:].tobytes(), "little")
            if stored != _masked_crc(record[_HEADER_BYTES:-_FOOTER_BYTES].tobytes()):
                raise self._damaged(int(index), "the checksum of its data does not match")
        payload = np.ascontiguousarray(records[:, len(layout.prefix) : -_FOOTER_BYTES])
        return payload.view("<u2").astype(np.uint16, copy=False)

    def _check_framing(self, records: UInt8[np.ndarray, "R S"], indices: Int[np.ndarray, "R"]) -> None:
        prefix = np.frombuffer(self._layout.prefix, np.uint8)
        wrong = (records[:, : len(prefix)] != prefix).any(axis=1)
        if wrong.any():
            raise self._damaged(int(indices[np.argmax(wrong)]), f"it is no Example of {self._layout.row_length} ids")

    def _damaged(self, index: int, reason: str) -> InputError:
        return InputError(f"{self._path}: record {index} is damaged: {reason}; prepare the data again.")
