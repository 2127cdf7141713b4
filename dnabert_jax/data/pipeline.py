"""From shards to batches, with the step number as the whole position.

The order of rows is a pure function of (seed, row number): row number n is place n mod N of epoch n div N, and each
epoch is a pseudo-random permutation of the N rows that grain computes place by place, without a table. Global batch s
is rows [sB, (s+1)B) of that order, of which each process reads those that its devices hold. So nothing has to be saved
to go on at step s, on any number of hosts. Rows are read a block at a time, not record by record.
"""

from collections.abc import Iterator

import grain
import numpy as np
from grain.experimental import index_shuffle
from jaxtyping import Int, UInt16

from dnabert_jax.data.rows import Rows

_SHUFFLE_ROUNDS = 4


def shuffled_rows(numbers: Int[np.ndarray, " R"], num_rows: int, seed: int) -> Int[np.ndarray, " R"]:
    """Returns which rows stand at the places `numbers` of the endless shuffled order."""
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


def training_batches(
    files: Rows, global_batch: int, rows: Int[np.ndarray, " R"], seed: int, start: int, stop: int
) -> Iterator[UInt16[np.ndarray, "R L"]]:
    """Yields this process's parts of the global batches start .. stop - 1, read ahead in threads.

    Args:
        rows: places in the global batch that this process reads (RowPlacement.rows).
    """

    def batch(step: int) -> UInt16[np.ndarray, "R L"]:
        return files.read(shuffled_rows(step * global_batch + rows, len(files), seed))

    dataset = grain.MapDataset.range(start, stop).map(batch)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)))
