"""Data sets of TensorFlow Datasets in array_record files as a source of rows, read without TensorFlow.

A record is the tf.train.Example that a TFRecord shard of ours frames, byte for byte; array_record does its own framing,
checksums and random access. TFDS knows less of the data than our manifest says: the rest is None there.
"""

from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from jaxtyping import Int, UInt16

from dnabert_jax.data.manifest import Manifest, ShardEntry, Split
from dnabert_jax.data.tfrecord import FEATURE, RowShard, decode_ids
from dnabert_jax.errors import InputError, first_line
from dnabert_jax.extras import require_extra

DATASET_INFO = "dataset_info.json"

# What array_record advises for random access: no reading ahead, no threads of its own.
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"


def _tensor(row_length: int | str) -> str:
    """Returns the feature that a row must be, as it stands in a builder's code."""
    return f"tfds.features.Tensor(shape=({row_length},), dtype=np.uint16, encoding=tfds.features.Encoding.BYTES)"


class ArrayRecordShard(RowShard):
    """An array_record file of rows."""

    def __init__(self, path: Path, num_rows: int, row_length: int, name: str | None = None):
        self._remedy = f"build the data set again, with {{{FEATURE!r}: {_tensor(row_length)}}}"
        super().__init__(path, num_rows, row_length, name)
        # Threads share it: reading a list of records is a const method in C++, each call with a file position of its
        # own, and array_record's own data source shares one too.
        self._reader = ArrayRecordReader(str(path), _RANDOM_ACCESS)
        # A file whose end is cut off opens without an error, as one of no records.
        if (readable := self._reader.num_records()) != num_rows:
            raise InputError(
                f"{self._name} has {readable:,} readable records where {DATASET_INFO} says {num_rows:,}: it is "
                "truncated or not from this data set; build the data set again."
            )

    def inspect(self, indices: Int[np.ndarray, " R"]) -> tuple[UInt16[np.ndarray, "R L"], dict[int, str]]:
        numbers, prefix, row_length = indices.tolist(), self._layout.example_prefix, self._layout.row_length
        size = len(prefix) + 2 * row_length
        damage: dict[int, str] = {}
        try:
            records = self._reader.read(numbers)
        except RuntimeError:
            # One damaged record fails the whole block, and the error does not say which it is.
            records = [self._read_one(number, damage) for number in numbers]
        for place, (number, record) in enumerate(zip(numbers, records, strict=True)):
            if len(record) != size or not record.startswith(prefix):
                damage.setdefault(number, f"it is no Example of {row_length} ids in bytes")
                records[place] = bytes(size)
        examples = np.frombuffer(b"".join(records), np.uint8).reshape(len(numbers), size)
        return decode_ids(examples[:, len(prefix) :]), damage

    def _read_one(self, number: int, damage: dict[int, str]) -> bytes:
        try:
            (record,) = self._reader.read([number])
        except RuntimeError as error:
            damage[number] = str(error)
            return b""
        return bytes(record)


def tfds_manifest(directory: Path) -> Manifest:
    """Returns a manifest without SHA-256 of a TFDS data set; raises InputError unless it is one of rows, with k."""
    require_extra("tfds", f"Reading {directory}", "tensorflow_datasets", "importlib_resources")
    import tensorflow_datasets as tfds
    from google.protobuf.json_format import ParseError

    try:
        info = tfds.builder_from_directory(str(directory)).info
        k = dict(info.metadata).get("k")
    except (ValueError, TypeError, ParseError) as error:
        raise InputError(
            f"TensorFlow Datasets cannot open {directory}: {first_line(error)}; build the data set again."
        ) from error
    if info.file_format.value != "array_record":
        raise InputError(
            f"{directory} has no manifest.json, as `dnabert-jax prepare` writes, and of TFDS data sets only "
            f"array_record is read, not {info.file_format.value}: prepare it again, or convert it as "
            "docs/file-formats.md says."
        )
    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    row = features.get(FEATURE)
    shape: tuple[int | None, ...] = row.shape if len(features) == 1 and isinstance(row, tfds.features.Tensor) else ()
    wanted = tfds.features.Tensor(shape=shape, dtype=np.uint16, encoding=tfds.features.Encoding.BYTES)
    if row is None or len(shape) != 1 or not shape[0] or row.to_json() != wanted.to_json():
        raise InputError(
            f"{directory / 'features.json'} has other features than rows of ids: build the data set with "
            f"{{{FEATURE!r}: {_tensor('L')}}}."
        )
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
        row_length=int(shape[0]),
        packed=None,
        seed=None,
        policies={},
        dropped={},
        sources=[{"name": info.full_name, "bytes": int(info.dataset_size)}],
        splits=splits,
    )
