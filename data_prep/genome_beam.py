"""`prepare genome-beam`: the same windows and rows, to the byte, as an Apache Beam pipeline over many machines.

Two pipelines, so that all that is wrong with the files is known before anything is cut: one surveys each file, the
other reads the blocks, cuts them anywhere, and brings the records of each shard together. A record's shard follows from
how many rows the blocks before its own have. The process that starts the pipelines waits for them and writes the
manifest; the other machines only need the files, the output directory and this package.
"""

import contextlib
import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from data_prep.genome_job import GenomeJob
from data_prep.genome_plan import GenomePlan
from data_prep.rows import Counts, RowSettings, Task, block_rows
from data_prep.sources import SequenceFile, Survey, survey
from data_prep.tfds_metadata import write_tfds_metadata
from dnabert_jax import storage
from dnabert_jax.data.manifest import FILE_NAME, HELDOUT, TRAIN, Manifest, ShardEntry, shard_name
from dnabert_jax.data.tfrecord import RecordLayout
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.output_directory import shared_output_directory
from dnabert_jax.storage import Location, join, local_copy
from dnabert_jax.typed_json import parse_json, to_json

_SPLITS = (TRAIN, HELDOUT)
_UNKNOWN_OPTIONS_ARE_REFUSED_BY = (None, "DirectRunner", "DataflowRunner")
"""The others hand what Beam's Python does not know to the job server that they submit to."""

_LONGEST_ERROR = 400
"""Letters of an error, from its end: some runners put a whole traceback before the message."""

Order = tuple[int, int, int, int]
"""File, record, block and repetition: the order of the blocks in the output."""

Progress = Callable[[str], object]
"""Is told of a phase, "survey" or "write", when it begins."""


class _BlockRows(NamedTuple):
    """The records of one block for one split."""

    split: str
    order: Order
    records: bytes
    counts: Counts


class _Piece(NamedTuple):
    """Consecutive records of one shard; `first` is the number of the first of them in the split."""

    first: int
    records: bytes


def prepare_genome_on_beam(
    job: GenomeJob, beam_options: Sequence[str] = (), progress: Progress | None = None
) -> Manifest:
    """Makes the data directory `job.out` and returns its manifest: the files of `prepare_genome`, to the byte.

    Args:
        job: what to do. Its files and its output must be where all machines of the runner see them.
        beam_options: as on the command line of any Beam pipeline, such as --runner=DataflowRunner --project=...
        progress: if given, told of each phase.

    Raises:
        InputError: as `prepare_genome`; also options that Beam does not know.
        JobError: the runner failed.
    """
    options = _checked_options(beam_options)
    with shared_output_directory(job.out, FILE_NAME) as (directory, check_claim):
        if progress:
            progress("survey")
        plan = GenomePlan(job, _surveys(job, directory, options))
        if progress:
            progress("write")
        counts, shards = _write_shards(plan, directory, options)
        manifest = plan.manifest(counts, shards)
        for name in storage.names(directory):
            # A machine that failed, and was replaced, may have left a shard half-written.
            if name.startswith(_NOTE) or name.endswith(".partial"):
                storage.remove(join(directory, name))
        write_tfds_metadata(directory, manifest)
        check_claim()
        storage.write(join(directory, FILE_NAME), to_json(manifest).encode())
    return manifest


def _checked_options(arguments: Sequence[str]) -> PipelineOptions:
    options = PipelineOptions(list(arguments))
    known = options.get_all_options()
    unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
    if unknown and known["runner"] in _UNKNOWN_OPTIONS_ARE_REFUSED_BY:
        raise InputError(f"Beam does not know the option --{min(unknown)}: check its spelling.")
    return options


_NOTE = "note-"
"""What the machines leave in the output directory for the process that started them begins with this."""


@contextlib.contextmanager
def _errors_noted(directory: Location) -> Iterator[None]:
    """Ends at an InputError, whose sentence `_run` finds in the output directory and raises again.

    Let through, it would be tried again, and reach the process that started the pipeline wrapped by each runner in its
    own way.
    """
    try:
        yield
    except InputError as error:
        storage.write(join(directory, f"{_NOTE}error-{uuid.uuid4().hex}"), str(error).encode())


def _run(build: Callable[[beam.Pipeline], object], directory: Location, options: PipelineOptions) -> None:
    """Runs a pipeline to its end.

    Raises:
        InputError: one of its machines raised it.
        JobError: it failed in another way, or the runner refuses the options.
    """
    try:
        with beam.Pipeline(options=options) as pipeline:
            build(pipeline)
    except Exception as error:
        # Each runner has exceptions of its own. What went wrong on another machine stands in the log, with its place.
        what = f"{type(error).__name__}: {' '.join(str(error).split())[-_LONGEST_ERROR:]}"
        raise JobError(f"The Beam pipeline failed with {what.rstrip(': .')}.") from error
    for name in storage.names(directory):
        if name.startswith(f"{_NOTE}error-"):
            raise InputError(storage.read(join(directory, name)).decode())


def _surveys(job: GenomeJob, directory: Location, options: PipelineOptions) -> list[Survey]:
    def build(pipeline: beam.Pipeline) -> None:
        files = pipeline | "Name files" >> beam.Create(list(enumerate(job.files)))
        files | beam.Reshuffle() | "Survey" >> beam.Map(_note_survey, directory)

    _run(build, directory, options)
    notes = [_survey_note(directory, number) for number in range(len(job.files))]
    return [parse_json(Survey, storage.read(note), str(note)) for note in notes]


def _survey_note(directory: Location, number: int) -> Location:
    return join(directory, f"{_NOTE}survey-{number:05d}")


def _note_survey(file: tuple[int, Location], directory: Location) -> None:
    number, location = file
    with _errors_noted(directory), _sequence_file(location) as local:
        storage.write(_survey_note(directory, number), to_json(survey(local)).encode())


@contextlib.contextmanager
def _sequence_file(location: Location) -> Iterator[SequenceFile]:
    with local_copy(location) as path:
        if not path.is_file():
            raise InputError(f"{path} is not a file that this machine sees: name FASTA or .2bit files.")
        yield SequenceFile(path, str(location))


def _write_shards(
    plan: GenomePlan, directory: Location, options: PipelineOptions
) -> tuple[dict[str, Counts], dict[str, tuple[ShardEntry, ...]]]:
    job = plan.job
    note = join(directory, f"{_NOTE}shards")

    def build(pipeline: beam.Pipeline) -> None:
        files = pipeline | "Number files" >> beam.Create(range(len(job.files)))
        tasks = files | beam.Reshuffle() | "Read blocks" >> beam.FlatMap(_tasks, plan, directory)
        # After each reshuffle the work is spread over all machines anew; and what was cut is kept, not cut twice.
        rows = (
            tasks
            | "Spread blocks" >> beam.Reshuffle()
            | "Cut" >> beam.FlatMap(_cut, job.row_settings)
            | "Keep rows" >> beam.Reshuffle()
        )
        counts = rows | "Count" >> beam.Map(lambda made: (made.split, (made.order, made.counts)))
        blocks = beam.pvalue.AsDict(counts | "Count by split" >> beam.GroupByKey() | beam.Map(_in_order))
        stride = RecordLayout(job.row_length).stride
        entries = (
            rows
            | "Find shards" >> beam.FlatMap(_pieces, job.rows_per_shard, stride, blocks)
            | "Bring shards together" >> beam.GroupByKey()
            | "Write shards" >> beam.Map(_write_shard, directory, job.rows_per_shard, stride, blocks)
        )
        (pipeline | beam.Create([note]) | "Report" >> beam.Map(_report, blocks, beam.pvalue.AsList(entries)))

    _run(build, directory, options)
    made = json.loads(storage.read(note))
    return (
        {name: Counts(**made[name]["counts"]) for name in _SPLITS},
        {name: tuple(ShardEntry(**entry) for entry in made[name]["shards"]) for name in _SPLITS},
    )


def _tasks(number: int, plan: GenomePlan, directory: Location) -> Iterator[Task]:
    with _errors_noted(directory), _sequence_file(plan.job.files[number]) as file:
        yield from plan.tasks(number, file)


def _cut(task: Task, settings: RowSettings) -> Iterator[_BlockRows]:
    for split, made in block_rows(task, settings).items():
        yield _BlockRows(split, (*task.place, task.repetition), made.records, made.counts)


class _Blocks(NamedTuple):
    """The blocks of a split in order.

    Attributes:
        first: number in the split of the first row of each.
        total: over all of them.
    """

    first: dict[Order, int]
    total: Counts


def _in_order(counted: tuple[str, Iterable[tuple[Order, Counts]]]) -> tuple[str, _Blocks]:
    split, blocks = counted
    first: dict[Order, int] = {}
    total = Counts()
    for order, counts in sorted(blocks, key=lambda block: block[0]):
        first[order] = total.rows
        total += counts
    return split, _Blocks(first, total)


def _pieces(
    made: _BlockRows, rows_per_shard: int, stride: int, blocks: Mapping[str, _Blocks]
) -> Iterator[tuple[tuple[str, int], _Piece]]:
    """The records of a block by (split, shard)."""
    first = blocks[made.split].first[made.order]
    end = first + made.counts.rows
    borders = [first, *range(first - first % rows_per_shard + rows_per_shard, end, rows_per_shard), end]
    for start, stop in itertools.pairwise(borders):
        if start < stop:
            records = made.records[(start - first) * stride : (stop - first) * stride]
            yield (made.split, start // rows_per_shard), _Piece(start, records)


def _write_shard(
    shard: tuple[tuple[str, int], Iterable[_Piece]],
    directory: Location,
    rows_per_shard: int,
    stride: int,
    blocks: Mapping[str, _Blocks],
) -> tuple[tuple[str, int], ShardEntry]:
    (split, number), pieces = shard
    content = b"".join(piece.records for piece in sorted(pieces, key=lambda piece: piece.first))
    name = shard_name(split, number, -(-blocks[split].total.rows // rows_per_shard))
    storage.write(join(directory, name), content)
    return (split, number), ShardEntry(name, len(content) // stride, hashlib.sha256(content).hexdigest())


def _report(
    note: Location, blocks: Mapping[str, _Blocks], entries: Sequence[tuple[tuple[str, int], ShardEntry]]
) -> None:
    made = {
        name: {
            "counts": blocks[name].total.__dict__,
            "shards": [entry.__dict__ for (split, _), entry in sorted(entries) if split == name],
        }
        for name in _SPLITS
    }
    storage.write(note, json.dumps(made).encode())
