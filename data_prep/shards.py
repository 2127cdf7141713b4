"""Records to numbered TFRecord shards, with what the manifest needs to know of them."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from dnabert_jax.data.manifest import ShardEntry, shard_name


class ShardWriter:
    """Appends the records of one split to files of `rows_per_shard` records; the last one may have fewer.

    Nothing is held in memory. The files are named `train-00000-of-00012.tfrecord` when `close` knows how many there
    are.
    """

    def __init__(self, directory: Path, split: str, stride: int, rows_per_shard: int):
        self._directory, self._split = directory, split
        self._stride, self._shard_bytes = stride, stride * rows_per_shard
        self._finished: list[tuple[Path, int, str]] = []
        self._file: BinaryIO | None = None
        self._size = 0
        self._digest = hashlib.sha256()

    def append(self, records: bytes) -> None:
        """Writes whole records."""
        rest = memoryview(records)
        while rest:
            piece = rest[: self._shard_bytes - self._size]
            if self._file is None:
                self._file = (self._directory / f"{self._split}-{len(self._finished):05d}.unnumbered").open("wb")
            self._file.write(piece)
            self._digest.update(piece)
            self._size += len(piece)
            rest = rest[len(piece) :]
            if self._size == self._shard_bytes:
                self._finish_file()

    def close(self) -> tuple[ShardEntry, ...]:
        """Ends the last file, gives the files their final names and returns their entries in order."""
        self._finish_file()
        entries = []
        for number, (path, rows, digest) in enumerate(self._finished):
            name = shard_name(self._split, number, len(self._finished))
            path.rename(path.with_name(name))
            entries.append(ShardEntry(name, rows, digest))
        return tuple(entries)

    def _finish_file(self) -> None:
        if self._file is None:
            return
        self._file.close()
        self._finished.append((Path(self._file.name), self._size // self._stride, self._digest.hexdigest()))
        self._file, self._size, self._digest = None, 0, hashlib.sha256()
