"""`prepare genome`: sequence files to a data directory of packed rows for pre-training.

Every file is read twice: once to survey it, so that all that is wrong with it is known before anything is written,
and once to cut it, block by block. What a block becomes depends on the seed and on its place (file, record, block)
alone, so that the same input and seed give the same bytes on any number of processes.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator

from data_prep.genome_job import GenomeJob
from data_prep.ordered_map import ordered_map
from data_prep.rows import SplitRows, Task, block_rows
from data_prep.shards import ShardWriter
from data_prep.sources import Survey, read_blocks, survey
from data_prep.tfds_metadata import write_tfds_metadata
from data_prep.windows import MIN_KMERS
from dnabert_jax.data.manifest import FILE_NAME, HELDOUT, TRAIN, Manifest, Split
from dnabert_jax.data.packing import SPECIAL_PER_SEQUENCE
from dnabert_jax.data.tfrecord import RecordLayout
from dnabert_jax.errors import InputError
from dnabert_jax.output_directory import output_directory
from dnabert_jax.typed_json import to_json

Progress = Callable[[str, int, int | None], object]
"""Is told of a phase ("survey" or "write"), letters done since the last call, and letters of the phase if known."""


def prepare_genome(job: GenomeJob, processes: int = 1, progress: Progress | None = None) -> Manifest:
    """Makes the data directory `job.out` and returns its manifest.

    Args:
        job: what to do.
        processes: that cut windows; the result does not depend on it. More than one need a main module that can be
            imported, as multiprocessing does.
        progress: if given, told after each block.

    Raises:
        InputError: bad input, an output that exists, or no usable window. Nothing is left under `job.out`.
    """

    def tell(phase: str, letters: int, total: int | None) -> None:
        if progress:
            progress(phase, letters, total)

    if processes < 1:
        raise InputError(f"{processes} processes cannot work: at least 1 is needed.")
    with output_directory(job.out) as directory:
        surveys = [survey(path, lambda letters: tell("survey", letters, None)) for path in job.files]
        _check_heldout_names(job, surveys)
        repetitions = [*_repetitions(job, surveys[: len(job.fasta)]), *[1.0] * len(job.heldout_fasta)]
        total = sum(s.letters * math.ceil(r) for s, r in zip(surveys, repetitions, strict=True))
        stride = RecordLayout(job.row_length).stride
        builders = {
            name: _SplitBuilder(ShardWriter(directory, name, stride, job.rows_per_shard)) for name in (TRAIN, HELDOUT)
        }
        under_way: deque[int] = deque()
        tasks = _counted(_tasks(job, repetitions), under_way)
        for made in ordered_map(block_rows, tasks, job.row_settings, processes):
            for name, rows in made.items():
                builders[name].add(rows)
            tell("write", under_way.popleft(), total)
        for surveyed in surveys:
            surveyed.check_unchanged()
        manifest = _manifest(job, surveys, repetitions, builders)
        write_tfds_metadata(directory, manifest)
        (directory / FILE_NAME).write_text(to_json(manifest))
    return manifest


class _SplitBuilder:
    """The rows of one split while they are being written, counted."""

    def __init__(self, writer: ShardWriter):
        self._writer = writer
        self.rows = self.sequences = self.kmers = self.bases = self.uncut_bases = 0

    def add(self, made: SplitRows) -> None:
        self._writer.append(made.records)
        self.rows += made.rows
        self.sequences += made.sequences
        self.kmers += made.kmers
        self.bases += made.bases
        self.uncut_bases += made.uncut_bases

    def finish(self) -> Split:
        return Split(self._writer.close(), self.rows, self.sequences, self.kmers, self.bases)


def _check_heldout_names(job: GenomeJob, surveys: list[Survey]) -> None:
    for name in job.heldout_records:
        if not any(job.holds_out(surveyed.path, record, {name}) for surveyed in surveys for record in surveyed.records):
            raise InputError(f"The held-out record {name!r} is in no sequence file: check its name.")


def _repetitions(job: GenomeJob, surveys: list[Survey]) -> list[float]:
    """How often each file is cut so that its share of the training bases is its weight: at least once."""
    if not job.weights:
        return [1.0] * len(surveys)
    trained = [
        sum(bases for name, bases in surveyed.records.items() if not job.holds_out(surveyed.path, name))
        for surveyed in surveys
    ]
    for bases, surveyed in zip(trained, surveys, strict=True):
        if not bases:
            raise InputError(f"{surveyed.path} has a weight, but no A, C, G or T outside of what is held out.")
    needed = [weight / bases for weight, bases in zip(job.weights, trained, strict=True)]
    return [share / min(needed) for share in needed]


def _tasks(job: GenomeJob, repetitions: list[float]) -> Iterator[Task]:
    """Every block of every file, as often as it is to be cut."""
    for file_number, (path, repetition) in enumerate(zip(job.files, repetitions, strict=True)):
        record_number = -1
        for block in read_blocks(path):
            record_number += block.number == 0
            whole = file_number >= len(job.fasta) or job.holds_out(path, block.record)
            place = (file_number, record_number, block.number)
            for number in range(1 if whole else math.ceil(repetition)):
                share = min(repetition - number, 1.0)
                yield Task(block.letters, place, number, share, 1.0 if whole else job.fraction)


def _counted(tasks: Iterator[Task], under_way: deque[int]) -> Iterator[Task]:
    """Notes the letters of each task as it is taken."""
    for task in tasks:
        under_way.append(len(task.letters))
        yield task


def _manifest(
    job: GenomeJob, surveys: list[Survey], repetitions: list[float], builders: dict[str, _SplitBuilder]
) -> Manifest:
    names = ", ".join(str(path) for path in job.fasta)
    if not builders[TRAIN].rows:
        raise InputError(
            f"{names} gives no window to train on: outside of the held-out part it has no stretch of at least "
            f"{MIN_KMERS + job.k - 1} A, C, G, T{' in upper case' if job.lower_case == 'drop' else ''}."
        )
    asked = job.heldout_fasta or job.heldout_records or job.heldout_fraction
    if asked and not builders[HELDOUT].rows:
        raise InputError(f"The held-out part of {names} gives no window: hold out more, or other records.")
    bases = sum(builder.bases for builder in builders.values())
    certain = sum(surveyed.certain_bases for surveyed in surveys)
    return Manifest(
        k=job.k,
        row_length=job.row_length,
        packed=job.rows == "packed",
        seed=job.seed,
        policies=_policies(job, builders[HELDOUT].rows),
        dropped={
            "ambiguous_bases": sum(surveyed.letters for surveyed in surveys) - certain,
            "lower_case_bases": certain - bases,
            "uncut_bases": sum(builder.uncut_bases for builder in builders.values()),
        },
        sources=[
            {
                "name": surveyed.path.name,
                "bytes": surveyed.bytes,
                "sha256": surveyed.sha256,
                "records": len(surveyed.records),
                "bases": surveyed.letters,
                "repetitions": repetition,
            }
            for surveyed, repetition in zip(surveys, repetitions, strict=True)
        ],
        splits={name: builder.finish() for name, builder in builders.items() if builder.rows},
    )


def _policies(job: GenomeJob, heldout_rows: int) -> dict[str, str]:
    heldout = [f"{job.fraction:g} of the certain bases of each block of 1 Mi, at its end"] if job.fraction else []
    heldout += [f"record {name}" for name in job.heldout_records]
    heldout += [f"file {path.name}" for path in job.heldout_fasta]
    longest = job.row_length - SPECIAL_PER_SEQUENCE
    if not heldout_rows:
        heldout = ["nothing"]
    return {
        "windows": f"half cut without overlap, half sampled; {MIN_KMERS} to {longest} k-mers",
        "ambiguous_bases": "N and other IUPAC ambiguity letters end a run; no window holds one",
        "lower_case": "treated as ambiguous" if job.lower_case == "drop" else "read as upper case",
        "strand": "either, at random" if job.reverse_complement else "as in the file",
        "heldout": "; ".join(heldout),
    }
