"""Data sets of TensorFlow Datasets in array_record files as a source of rows, read without TensorFlow.

A record is the tf.train.Example that a TFRecord shard of ours frames, byte for byte; array_record does its own framing,
checksums and random access. TFDS knows less of the data than our manifest says: the rest is None there.
"""

from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from jaxtyping import Int, UInt16

from dnabert_jax.data.manifest import Manifest, ShardEntry, Split
from dnabert_jax.data.tfrecord import FEATURE, RecordLayout, decode_ids
from dnabert_jax.errors import InputError, first_line
from dnabert_jax.extras import require_extra

DATASET_INFO = "dataset_info.json"

# What array_record advises for random access: no reading ahead, no threads of its own.
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"


def _tensor(row_length: int | str) -> str:
    """The feature that a row must be, as it stands in a builder's code."""
    return f"tfds.features.Tensor(shape=({row_length},), dtype=np.uint16, encoding=tfds.features.Encoding.BYTES)"


class ArrayRecordShard:
    """An array_record file of rows, read at any record.

    Args:
        name: of the file in errors; the path, if not given.
    """

    def __init__(self, path: Path, num_rows: int, row_length: int, name: str | None = None):
        self._name, self.num_rows, self._row_length = name or str(path), num_rows, row_length
        self._prefix = RecordLayout(row_length).example_prefix
        if not path.is_file():
            raise InputError(f"{self._name} is missing: the data set is incomplete; build it again.")
        # Threads share it: reading a list of records is a const method in C++, each call with a file position of its
        # own, and array_record's own data source shares one too.
        self._reader = ArrayRecordReader(str(path), _RANDOM_ACCESS)
        # A file whose end is cut off opens without an error, as one of no records.
        if (found := self._reader.num_records()) != num_rows:
            raise InputError(
                f"{self._name} has {found:,} readable records where {DATASET_INFO} says {num_rows:,}: it is "
                "truncated or not from this data set; build the data set again."
            )

    def read(self, indices: Int[np.ndarray, " R"]) -> UInt16[np.ndarray, "R L"]:
        """Returns the rows at `indices`; raises InputError, with the 0-based number, if a record is damaged."""
        rows, damage = self._examine(indices.tolist())
        for number, reason in damage.items():
            raise InputError(
                f"{self._name}: record {number} is damaged: {reason}; build the data set again, with "
                f"{{{FEATURE!r}: {_tensor(self._row_length)}}}."
            )
        return rows

    def inspect(self, first: int, stop: int) -> tuple[UInt16[np.ndarray, "R L"], dict[int, str]]:
        """Records first .. stop - 1 whether damaged or not, and what is wrong with those that are, by number."""
        return self._examine(list(range(first, stop)))

    def _examine(self, numbers: list[int]) -> tuple[UInt16[np.ndarray, "R L"], dict[int, str]]:
        """The rows, zeros for a damaged one, and what is wrong by number."""
        damage: dict[int, str] = {}
        try:
            records = self._reader.read(numbers)
        except RuntimeError:
            # One damaged record fails the whole block, and the error does not say which it is.
            records = [self._read_one(number, damage) for number in numbers]
        size = len(self._prefix) + 2 * self._row_length
        for number, record in zip(numbers, records, strict=True):
            if len(record) != size or not record.startswith(self._prefix):
                damage.setdefault(number, f"it is no Example of {self._row_length} ids in bytes")
        if damage:
            pairs = zip(numbers, records, strict=True)
            records = [bytes(size) if number in damage else record for number, record in pairs]
        examples = np.frombuffer(b"".join(records), np.uint8).reshape(len(numbers), size)
        return decode_ids(examples[:, len(self._prefix) :]), damage

    def _read_one(self, number: int, damage: dict[int, str]) -> bytes:
        try:
            (record,) = self._reader.read([number])
        except RuntimeError as error:
            damage[number] = str(error)
            return b""
        return record


def tfds_manifest(directory: Path) -> Manifest:
    """Returns a manifest without SHA-256 of a TFDS data set; raises InputError unless it is one of rows, with k."""
    info, k = _dataset_info(directory)
    if info.file_format.value != "array_record":
        raise InputError(
            f"{directory} has no manifest.json, as `dnabert-jax prepare` writes, and of TFDS data sets only "
            f"array_record is read, not {info.file_format.value}: prepare it again, or convert it as "
            "docs/file-formats.md says."
        )
    row_length = _row_length(info.features, directory)
    if type(k) is not int:
        raise InputError(
            f"{directory / 'metadata.json'} does not say k: give the builder's DatasetInfo "
            'metadata=tfds.core.MetadataDict(k=6), or write that file with {"k": 6}.'
        )
    splits = {}
    for name, split in info.splits.items():
        names = [Path(path).name for path in split.filepaths]
        shards = tuple(ShardEntry(*shard, sha256=None) for shard in zip(names, split.shard_lengths, strict=True))
        if split.num_examples:
            splits[name] = Split(shards, split.num_examples, sequences=None, kmers=None, bases=None)
    return Manifest(
        k=k,
        row_length=row_length,
        packed=None,
        seed=None,
        policies={},
        dropped={},
        sources=[{"name": info.full_name, "bytes": int(info.dataset_size)}],
        splits=splits,
    )


def _dataset_info(directory: Path) -> tuple[Any, Any]:
    """TFDS's own reading of the metadata: a `tfds.core.DatasetInfo`, and k."""
    require_extra("tfds", f"Reading {directory}", "tensorflow_datasets", "importlib_resources")
    import tensorflow_datasets as tfds
    from google.protobuf.json_format import ParseError

    try:
        info = tfds.builder_from_directory(str(directory)).info
        return info, dict(info.metadata).get("k")
    except (ValueError, TypeError, ParseError) as error:
        raise InputError(
            f"TensorFlow Datasets cannot open {directory}: {first_line(error)}; build the data set again."
        ) from error


def _row_length(features: Any, directory: Path) -> int:
    """The length of a row; raises InputError unless the features are one row of ids, as bytes."""
    import tensorflow_datasets as tfds

    found = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    row = found.get(FEATURE)
    if len(found) == 1 and isinstance(row, tfds.features.Tensor) and len(row.shape) == 1 and row.shape[0]:
        wanted = tfds.features.Tensor(shape=row.shape, dtype=np.uint16, encoding=tfds.features.Encoding.BYTES)
        if row.to_json() == wanted.to_json():
            return int(row.shape[0])
    raise InputError(
        f"{directory / 'features.json'} has other features than rows of ids: build the data set with "
        f"{{{FEATURE!r}: {_tensor('L')}}}."
    )
