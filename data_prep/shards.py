"""Rows to numbered TFRecord shards, with what the manifest needs to know of them."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt16

from dnabert_jax.data.manifest import ShardEntry
from dnabert_jax.data.tfrecord import write_rows


class ShardWriter:
    """Appends the rows of one split to files of `rows_per_shard` rows; the last one may have fewer.

    The files are named `train-00000-of-00012.tfrecord` when `close` knows how many there are.
    """

    def __init__(self, directory: Path, split: str, rows_per_shard: int):
        self._directory, self._split, self._rows_per_shard = directory, split, rows_per_shard
        self._finished: list[tuple[Path, int, str]] = []
        self._pending: list[UInt16[np.ndarray, "R L"]] = []
        self._pending_rows = 0

    def append(self, rows: UInt16[np.ndarray, "R L"]) -> None:
        while self._pending_rows + len(rows) >= self._rows_per_shard:
            room = self._rows_per_shard - self._pending_rows
            self._pending.append(rows[:room])
            rows = rows[room:]
            self._write()
        if len(rows):
            self._pending.append(rows)
            self._pending_rows += len(rows)

    def close(self) -> tuple[ShardEntry, ...]:
        """Writes what is left, gives the files their final names and returns their entries in order."""
        if self._pending:
            self._write()
        entries = []
        for number, (path, rows, digest) in enumerate(self._finished):
            name = f"{self._split}-{number:05d}-of-{len(self._finished):05d}.tfrecord"
            path.rename(path.with_name(name))
            entries.append(ShardEntry(name, rows, digest))
        return tuple(entries)

    def _write(self) -> None:
        rows = np.concatenate(self._pending)
        path = self._directory / f"{self._split}-{len(self._finished):05d}.unnumbered"
        with path.open("wb") as file:
            write_rows(file, rows)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._finished.append((path, len(rows), digest))
        self._pending, self._pending_rows = [], 0
