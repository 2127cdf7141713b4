"""Rows from local disk to the step: shuffle, read, check, decode and batch, and nothing else.

    python -m benchmarks.input_pipeline --data data/chrX-k6

Beside it: the same records read one call each through grain's generic record source, as pipelines usually are, and
with --tfds DIR, the same rows as a TFDS data set in array_record files.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import grain
import numpy as np

from benchmarks.alternation import compare, flags
from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.pipeline import training_batches
from dnabert_jax.data.rows import Rows, open_rows


class _RecordSource:
    """One row a call."""

    def __init__(self, files: Rows):
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._files.read(np.array([index]))[0]


def main() -> None:
    """Prints the table."""
    parser = flags(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tfds", type=Path)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=200)
    arguments = parser.parse_args()
    files = open_rows(arguments.data, TRAIN)
    batch, row = arguments.batch, files.manifest.row_length
    few = max(arguments.batches // 50, 2)

    def blocks(source: Rows) -> None:
        for _ in training_batches(source, batch, np.arange(batch), 0, 0, arguments.batches):
            pass

    def records() -> None:
        dataset = grain.MapDataset.source(_RecordSource(files)).seed(0).shuffle().repeat().batch(batch)
        for _ in islice(dataset.to_iter_dataset(), few):
            pass

    ways: dict[str, Callable[[], None]] = {"this project: training_batches": partial(blocks, files)}
    if arguments.tfds:
        ways["the same from array_record"] = partial(blocks, open_rows(arguments.tfds, TRAIN))
    amounts = dict.fromkeys(ways, arguments.batches * batch * row)
    ways["grain, one record a call"], amounts["grain, one record a call"] = records, few * batch * row
    print(compare(ways, amounts, "tokens"))


if __name__ == "__main__":
    main()
