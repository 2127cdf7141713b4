"""From shards to batches, with the step number as the whole position.

The order of rows is a pure function of (seed, row number): row number n is place n mod N of epoch n div N, and each
epoch is a pseudo-random permutation of the N rows that grain computes place by place, without a table. Global batch s
is rows [sB, (s+1)B) of that order, of which each process reads those that its devices hold. So nothing has to be saved
to go on at step s, on any number of hosts. Rows are read a block at a time, not record by record.
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


def shuffled_rows(numbers: Int[np.ndarray, "R"], num_rows: int, seed: int) -> Int[np.ndarray, "R"]:
    """Which rows stand at the places `numbers` of the endless shuffled order."""
    epochs, places = np.divmod(numbers, num_rows)
    seeds = {
        epoch: int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]) for epoch in np.unique(epochs).tolist()
    }
    return np.array(
        [
            index_shuffle(place, num_rows - 1, seeds[epoch], _SHUFFLE_ROUNDS)
            for epoch, place in zip(epochs.tolist(), places.tolist(), strict=True)
        ],
        np.int64,
    )


class _BatchSource:
    """Element s is this process's part of global batch s."""

    def __init__(self, files: RowFiles, global_batch: int, seed: int, stop: int, rows: Int[np.ndarray, "R"]):
        self._files, self._global_batch, self._seed, self._stop, self._rows = files, global_batch, seed, stop, rows

    def __len__(self) -> int:
        return self._stop

    def __getitem__(self, step: int) -> UInt16[np.ndarray, "R L"]:
        numbers = step * self._global_batch + self._rows
        return self._files.read(shuffled_rows(numbers, len(self._files), self._seed))


def training_batches(
    files: RowFiles, global_batch: int, rows: Int[np.ndarray, "R"], seed: int, start: int, stop: int
) -> Iterator[UInt16[np.ndarray, "R L"]]:
    """This process's parts of the global batches start .. stop - 1, read ahead in threads.

    Args:
        files: to read from.
        global_batch: rows of a batch over all processes.
        rows: places in the global batch that this process reads (RowPlacement.rows).
        seed: of the order.
        start: first batch.
        stop: batch to stop before.
    """
    dataset = grain.MapDataset.source(_BatchSource(files, global_batch, seed, stop, rows))[start:stop]
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)))
