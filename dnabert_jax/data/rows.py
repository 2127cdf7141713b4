"""The rows of a data directory, random access, whichever of two kinds it is; one on a store is copied first.

`dnabert-jax prepare` writes TFRecord shards and a manifest; TensorFlow Datasets writes array_record shards and its
metadata. Only where the manifest comes from and the class that reads a shard differ.
"""

import fcntl
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt16

from dnabert_jax import storage
from dnabert_jax.data.manifest import FILE_NAME, Manifest, file_digest, read_manifest, refuse_examples
from dnabert_jax.data.tfds_rows import DATASET_INFO, ArrayRecordShard, tfds_manifest
from dnabert_jax.data.tfrecord import RowShard, Shard
from dnabert_jax.errors import InputError, named_if_full
from dnabert_jax.outputs import locked
from dnabert_jax.storage import Location, is_url, join


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
        """Returns the rows at `indices` of the split, in that order."""
        rows = np.empty((len(indices), self.manifest.row_length), np.uint16)
        owner, places = self._locate(indices)
        for number in np.unique(owner):
            here = owner == number
            rows[here] = self._shards[number].read(places[here])
        return rows

    def places(self, indices: Int[np.ndarray, " R"]) -> list[tuple[str, int]]:
        """Returns where the rows at `indices` of the split lie: names of shards, and row numbers in them from 0."""
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


def read_source(directory: Location) -> tuple[Manifest, type[RowShard]]:
    """Returns the manifest of a data directory, and the class of its shards; raises InputError if there is none."""
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


def stage(location: Location, cache: Path, progress: Callable[[int], object] = lambda _: None) -> Path:
    """Returns the data directory on local disk: itself, or a copy under `cache`, which the next run finds there.

    A copy is known by the digest of its manifest. Processes of one machine share it: one copies, the others wait.
    A copy that a killed process left unfinished is resumed, shard by shard.

    Args:
        progress: called with the number of bytes after each block that is copied.
    """
    if not is_url(location):
        return Path(location)
    manifest = read_manifest(location)
    directory = cache / manifest.digest()
    directory.mkdir(parents=True, exist_ok=True)
    with directory.with_suffix(".lock").open("w", encoding="utf-8") as lock, named_if_full(directory):
        locked(lock, fcntl.LOCK_EX)
        for shard in manifest.shards:
            source, target = str(join(location, shard.name)), directory / shard.name
            if target.exists():
                continue
            partial = target.with_name(target.name + ".partial")
            storage.download(source, partial, progress)
            if file_digest(partial) != shard.sha256:
                raise InputError(f"{source} is not the file that its manifest lists: prepare the data again.")
            partial.rename(target)
        if not (directory / FILE_NAME).exists():
            storage.write(directory / FILE_NAME, manifest.text.encode())
    return directory
