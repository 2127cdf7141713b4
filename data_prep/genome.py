"""`prepare genome`: sequence files to a data directory of packed rows for pre-training, on one machine.

Every file is read twice: once to survey it, so that all that is wrong with it is known before anything is written,
and once to cut it, block by block.
"""

import functools
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from data_prep.genome_job import GenomeJob
from data_prep.genome_plan import GenomePlan
from data_prep.ordered_map import ordered_map
from data_prep.rows import Counts, block_rows
from data_prep.sources import sequence_files, survey
from data_prep.tfds_metadata import tfds_metadata
from dnabert_jax.data.manifest import FILE_NAME, HELDOUT, TRAIN, Manifest, ShardEntry, shard_name
from dnabert_jax.data.tfrecord import RecordLayout
from dnabert_jax.errors import InputError
from dnabert_jax.output_directory import output_directory
from dnabert_jax.typed_json import to_json

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
    if processes < 1:
        raise InputError(f"{processes} processes cannot work: at least 1 is needed.")
    with (
        output_directory(job.out, FILE_NAME, functools.partial(progress, "upload")) as directory,
        sequence_files(job.files, directory, lambda done: progress("download", done, None)) as files,
    ):
        drop = job.lower_case == "drop"
        plan = GenomePlan(job, [survey(file, drop, lambda done: progress("survey", done, None)) for file in files])
        stride = RecordLayout(job.row_length).stride
        writers = {name: ShardWriter(directory, name, stride, job.rows_per_shard) for name in (TRAIN, HELDOUT)}
        counts = dict.fromkeys(writers, Counts())
        tasks, again = itertools.tee(task for number, file in enumerate(files) for task in plan.tasks(number, file))
        results = ordered_map(block_rows, tasks, job.row_settings, processes)
        for made, letters in zip(results, (len(task.letters) for task in again), strict=True):
            for name, rows in made.items():
                writers[name].append(rows.records)
                counts[name] += rows.counts
            progress("write", letters, plan.letters)
        manifest = plan.manifest(counts, {name: writer.close() for name, writer in writers.items()})
        for name, content in tfds_metadata(manifest).items():
            (directory / name).write_bytes(content)
        (directory / FILE_NAME).write_text(to_json(manifest), "utf-8")
    return manifest


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
