"""From shards to batches, with the step number as the whole position.

The order of rows is a pure function of (seed, row number): row number n is place n mod N of epoch n div N, and each
epoch is a pseudo-random permutation of the N rows that grain computes place by place, without a table. Global batch s
is rows [sB, (s+1)B) of that order, and each process takes a contiguous block of it. So nothing has to be saved to go
on at step s, on any number of hosts. Rows are read a block at a time, not record by record.
"""

from collections.abc import Iterator
from pathlib import Path

import grain
import numpy as np
from grain.experimental import index_shuffle
from jaxtyping import Int, UInt16

from dnabert_jax.data.manifest import Manifest, read_manifest
from dnabert_jax.data.tfrecord import Shard
from dnabert_jax.errors import InputError

_SHUFFLE_ROUNDS = 4


class RowFiles:
    """The rows of one split of a data directory, random access.

    Raises:
        InputError: no such split, or a shard that is missing or of the wrong size.
    """

    def __init__(self, directory: Path, split: str):
        self.manifest: Manifest = read_manifest(directory)
        if split not in self.manifest.splits:
            raise InputError(f"{directory} has no split {split!r}: it has {', '.join(self.manifest.splits)}.")
        self.entry = self.manifest.splits[split]
        self._shards = [
            Shard(directory / shard.name, shard.rows, self.manifest.row_length) for shard in self.entry.shards
        ]
        self._ends = np.cumsum([shard.num_rows for shard in self._shards])

    def __len__(self) -> int:
        return self.entry.rows

    def read(self, indices: Int[np.ndarray, "R"]) -> UInt16[np.ndarray, "R L"]:
        """The rows at `indices` of the split, in that order."""
        rows = np.empty((len(indices), self.manifest.row_length), np.uint16)
        owner = np.searchsorted(self._ends, indices, side="right")
        for number in np.unique(owner):
            shard, here = self._shards[number], owner == number
            rows[here] = shard.read(indices[here] - (self._ends[number] - shard.num_rows))
        return rows


def shuffled_rows(numbers: range, num_rows: int, seed: int) -> Int[np.ndarray, "R"]:
    """Which rows stand at the places `numbers` of the endless shuffled order."""
    epochs = {number // num_rows for number in (numbers[0], numbers[-1])}
    seeds = {
        epoch: int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
        for epoch in range(min(epochs), max(epochs) + 1)
    }
    return np.array(
        [index_shuffle(n % num_rows, num_rows - 1, seeds[n // num_rows], _SHUFFLE_ROUNDS) for n in numbers], np.int64
    )


class _BatchSource:
    """Element s is this process's block of global batch s."""

    def __init__(self, rows: RowFiles, global_batch: int, seed: int, stop: int, process_index: int, process_count: int):
        self._rows, self._seed, self._stop = rows, seed, stop
        self._global_batch = global_batch
        self._block = global_batch // process_count
        self._offset = process_index * self._block

    def __len__(self) -> int:
        return self._stop

    def __getitem__(self, step: int) -> UInt16[np.ndarray, "B L"]:
        first = step * self._global_batch + self._offset
        numbers = range(first, first + self._block)
        return self._rows.read(shuffled_rows(numbers, len(self._rows), self._seed))


def training_batches(
    rows: RowFiles,
    global_batch: int,
    seed: int,
    start: int,
    stop: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[UInt16[np.ndarray, "B L"]]:
    """This process's blocks of the global batches start .. stop - 1, read ahead in threads.

    Raises:
        InputError: the global batch does not divide over the processes, or the split is empty.
    """
    if global_batch % process_count:
        raise InputError(f"A global batch of {global_batch} rows does not divide over {process_count} processes.")
    if not len(rows):
        raise InputError("The training split has no rows: prepare more sequence.")
    source = _BatchSource(rows, global_batch, seed, stop, process_index, process_count)
    dataset = grain.MapDataset.source(source)[start:stop]
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)))
