"""`prepare genome`: sequence files to a data directory of packed rows for pre-training, on one machine.

Every file is read twice: once to survey it, so that all that is wrong with it is known before anything is written,
and once to cut it, block by block.
"""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnabert_jax.data.manifest import FILE_NAME, HELDOUT, TRAIN, Manifest, ShardEntry, shard_name
from dnabert_jax.data.tfrecord import RecordLayout
from dnabert_jax.data_prep.genome_job import Counts, GenomeJob, GenomePlan, block_rows
from dnabert_jax.data_prep.ordered_map import ordered_map
from dnabert_jax.data_prep.sources import sequence_files, survey
from dnabert_jax.data_prep.tfds_metadata import tfds_metadata
from dnabert_jax.outputs import output_directory

Progress = Callable[[str, int, int | None], object]
"""Is told of a phase, what was done of it since the last call, and its whole if known. Phases are "download" and
"upload", in bytes, of files on stores, and "survey" and "write", in letters."""


def prepare_genome(
    job: GenomeJob, processes: int = 1, progress: Progress = lambda _phase, _done, _total: None
) -> Manifest:
    """Makes the data directory `job.out` and returns its manifest.

    Args:
        processes: that cut windows; the result does not depend on it.

    Raises:
        InputError: bad input, an output that exists, or no usable window. Nothing is left under `job.out`.
    """
    with (
        output_directory(job.out, FILE_NAME, functools.partial(progress, "upload")) as directory,
        sequence_files(job.files, directory, lambda done: progress("download", done, None)) as files,
    ):
        drop = job.lower_case == "drop"
        plan = GenomePlan(job, [survey(file, drop, lambda done: progress("survey", done, None)) for file in files])
        stride = RecordLayout(job.row_length).stride
        writers = {name: ShardWriter(directory, name, stride, job.rows_per_shard) for name in (TRAIN, HELDOUT)}
        counts = {name: Counts() for name in writers}
        tasks = (task for number, file in enumerate(files) for task in plan.tasks(number, file))
        for task, made in ordered_map(functools.partial(block_rows, job=job), tasks, processes):
            for name, (records, counted) in made.items():
                writers[name].append(records)
                counts[name] += counted
            progress("write", len(task.letters), plan.letters)
        manifest = plan.manifest(counts, {name: writer.close() for name, writer in writers.items()})
        for name, content in tfds_metadata(manifest).items():
            (directory / name).write_bytes(content)
        (directory / FILE_NAME).write_text(manifest.text, "utf-8")
    return manifest


class ShardWriter:
    """Appends the records of one split to files of `rows_per_shard` records; the last one may have fewer.

    Nothing is held in memory. The files are named `train-00000-of-00012.tfrecord` when `close` knows how many there
    are.
    """

    def __init__(self, directory: Path, split: str, stride: int, rows_per_shard: int):
        self._directory, self._split = directory, split
        self._stride, self._shard_bytes = stride, stride * rows_per_shard
        self._shards: list[tuple[Path, Any]] = []
        self._room = 0

    def append(self, records: bytes) -> None:
        """Writes whole records."""
        rest = memoryview(records)
        while rest:
            if not self._room:
                path = self._directory / f"{self._split}-{len(self._shards):05d}.unnumbered"
                self._shards.append((path, hashlib.sha256()))
                self._room = self._shard_bytes
            piece, rest = rest[: self._room], rest[self._room :]
            path, digest = self._shards[-1]
            with path.open("ab") as file:
                file.write(piece)
            digest.update(piece)
            self._room -= len(piece)

    def close(self) -> tuple[ShardEntry, ...]:
        """Gives the files their final names and returns their entries in order."""
        entries = []
        for number, (path, digest) in enumerate(self._shards):
            name = shard_name(self._split, number, len(self._shards))
            entries.append(ShardEntry(name, path.stat().st_size // self._stride, digest.hexdigest()))
            path.rename(path.with_name(name))
        return tuple(entries)
