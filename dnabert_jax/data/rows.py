"""The rows of a data directory, random access, whichever of two kinds it is.

`dnabert-jax prepare` writes TFRecord shards and a manifest; TensorFlow Datasets writes array_record shards and its
metadata. Only where the manifest comes from and the class that reads a shard differ.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt16

from dnabert_jax.data.manifest import FILE_NAME, Manifest, read_manifest, refuse_examples
from dnabert_jax.data.tfds_rows import DATASET_INFO, ArrayRecordShard, tfds_manifest
from dnabert_jax.data.tfrecord import Shard
from dnabert_jax.errors import InputError
from dnabert_jax.storage import Location, is_url


@runtime_checkable
class RowShard(Protocol):
    """One file of rows, `num_rows` of them."""

    num_rows: int

    def read(self, indices: Int[np.ndarray, " R"]) -> UInt16[np.ndarray, "R L"]:
        """The rows at `indices`; raises InputError if one is damaged."""

    def inspect(self, first: int, stop: int) -> tuple[UInt16[np.ndarray, "R L"], dict[int, str]]:
        """Rows first .. stop - 1 whether damaged or not, and what is wrong with those that are, by number."""


OpenShard = Callable[..., RowShard]
"""Opens a shard, given its path, number of rows, row length, and name if that is another than the path."""


class Rows:
    """The rows of one split."""

    def __init__(self, manifest: Manifest, split: str, shards: list[RowShard]):
        self.manifest = manifest
        self.entry = manifest.splits[split]
        self._shards, self._names = shards, [entry.name for entry in self.entry.shards]
        self._ends = np.cumsum([shard.num_rows for shard in shards])

    def __len__(self) -> int:
        return self.entry.rows

    def read(self, indices: Int[np.ndarray, " R"]) -> UInt16[np.ndarray, "R L"]:
        """The rows at `indices` of the split, in that order."""
        rows = np.empty((len(indices), self.manifest.row_length), np.uint16)
        owner, places = self._locate(indices)
        for number in np.unique(owner):
            here = owner == number
            rows[here] = self._shards[number].read(places[here])
        return rows

    def places(self, indices: Int[np.ndarray, " R"]) -> list[tuple[str, int]]:
        """Where the rows at `indices` of the split lie: names of shards, and row numbers in them from 0."""
        owner, places = self._locate(indices)
        return [(self._names[number], place) for number, place in zip(owner, places.tolist(), strict=True)]

    def _locate(self, indices: Int[np.ndarray, " R"]) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " R"]]:
        owner = np.searchsorted(self._ends, indices, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        return owner, indices - starts[owner]


def open_rows(directory: Path, split: str) -> Rows:
    """Opens one split of a data directory; raises InputError unless it is there and its shards hold all rows."""
    manifest, open_shard = read_source(directory)
    if split not in manifest.splits:
        raise InputError(f"{directory} has no split {split!r}: it has {', '.join(manifest.splits)}.")
    entries = manifest.splits[split].shards
    return Rows(manifest, split, [open_shard(directory / e.name, e.rows, manifest.row_length) for e in entries])


def read_source(directory: Location) -> tuple[Manifest, OpenShard]:
    """Returns the manifest of a data directory, and what opens its shards; raises InputError if it has no sound one."""
    if not is_url(directory):
        local = Path(directory)
        info, own = local / DATASET_INFO, local / FILE_NAME
        if own.is_file():
            refuse_examples(own.read_bytes(), directory)
        # `tfds convert_format` copies every .json of a prepared directory, the manifest of the TFRecord shards too.
        if info.is_file() and (
            not own.is_file() or re.search(r'"fileFormat":\s*"array_record"', info.read_text(encoding="utf-8"))
        ):
            return tfds_manifest(local), ArrayRecordShard
    return read_manifest(directory), Shard
