"""`prepare genome-beam`: the same windows and rows, to the byte, as an Apache Beam pipeline over many machines.

Two pipelines, so that all that is wrong with the files is known before anything is cut: one surveys each file, the
other reads the blocks, cuts them anywhere, and brings the records of each shard together. A record's shard follows from
how many rows the blocks before its own have. Each pipeline ends in one file, a report, for the process that started it
and waits for it, and that writes the manifest. The other machines only need the files, the output directory and this
package.

Bad input is a result, an element like any other: an exception would be tried again, and reach the process that started
the pipeline wrapped by each runner in its own way.
"""

import contextlib
import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import TaggedOutput

from data_prep.beam_run import checked_options, run_to_end
from data_prep.genome_job import GenomeJob
from data_prep.genome_plan import GenomePlan
from data_prep.rows import Counts, RowSettings, Task, block_rows
from data_prep.sources import SequenceFile, Survey, survey
from data_prep.tfds_metadata import tfds_metadata
from dnabert_jax import storage
from dnabert_jax.data.manifest import FILE_NAME, HELDOUT, TRAIN, Manifest, ShardEntry, shard_name
from dnabert_jax.data.tfrecord import RecordLayout
from dnabert_jax.errors import InputError, StoreError
from dnabert_jax.output_directory import shared_output_directory
from dnabert_jax.storage import Location, join, local_copy
from dnabert_jax.typed_json import parse_json, to_json

_SPLITS = (TRAIN, HELDOUT)
_ERRORS: Final = "errors"
Order = tuple[int, int, int]
"""File, part and repetition: the order of the parts in the output."""

Progress = Callable[[str], object]
"""Is told of a phase, "survey" or "write", when it begins."""


_Error = TaggedOutput[Literal["errors"], tuple[int, str]]
"""The number of a file and a sentence about it."""


class _BlockRows(NamedTuple):
    """The records of one block for one split."""

    split: str
    order: Order
    records: bytes
    counts: Counts


_Piece = tuple[int, bytes]
"""Consecutive records of one shard, after the number of the first of them in the split."""


class _Blocks(NamedTuple):
    """The blocks of a split in order.

    Attributes:
        first: number in the split of the first row of each.
    """

    first: dict[Order, int]
    total: Counts


@dataclasses.dataclass(frozen=True)
class _Surveys:
    """The report of the first pipeline: sentences about bad input, and the surveys in the order of the files."""

    errors: tuple[str, ...]
    surveys: tuple[Survey, ...]


@dataclasses.dataclass(frozen=True)
class _Shards:
    """The report of the second pipeline: sentences about bad input, and what was written, by split."""

    errors: tuple[str, ...]
    counts: dict[str, Counts]
    shards: dict[str, tuple[ShardEntry, ...]]


def prepare_genome_on_beam(
    job: GenomeJob, beam_options: Sequence[str] = (), progress: Progress = lambda _: None
) -> Manifest:
    """Makes the data directory `job.out` and returns its manifest: the files of `prepare_genome`, to the byte.

    Args:
        job: what to do. Its files and its output must be where all machines of the runner see them.
        beam_options: as on the command line of any Beam pipeline, such as --runner=DataflowRunner --project=...

    Raises:
        InputError: as `prepare_genome`; also options that Beam does not know.
        JobError: the runner failed.
    """
    options = checked_options(beam_options)
    with shared_output_directory(job.out, FILE_NAME) as (directory, check_claim):
        progress("survey")
        plan = GenomePlan(job, _surveyed(job, directory, options))
        progress("write")
        check_claim()
        made = _written(plan, directory, options)
        manifest = plan.manifest(made.counts, made.shards)
        listed = {shard.name for shard in manifest.shards}
        for name in storage.names(directory):
            # A machine that failed, and was replaced, may have left a shard half-written.
            if name.endswith(".partial") and name.split(".partial")[0].rpartition(".")[0] in listed:
                storage.remove(join(directory, name))
        for name, content in tfds_metadata(manifest).items():
            storage.write(join(directory, name), content)
        check_claim()
        storage.write(join(directory, FILE_NAME), to_json(manifest).encode())
    return manifest


def _read_report(cls: type[Any], location: Location) -> Any:
    """A report, which is removed; raises InputError if it tells of bad input: the first in the order of the files."""
    report = parse_json(cls, storage.read(location), str(location))
    storage.remove(location)
    if report.errors:
        raise InputError(report.errors[0])
    return report


def _surveyed(job: GenomeJob, directory: Location, options: PipelineOptions) -> tuple[Survey, ...]:
    report = join(directory, "surveys.json")

    def build(pipeline: beam.Pipeline) -> None:
        files = pipeline | "Name files" >> beam.Create(list(enumerate(job.files)))
        surveys = files | beam.Reshuffle() | "Survey" >> beam.Map(_survey, job.lower_case == "drop")
        pipeline | beam.Create([report]) | "Report" >> beam.Map(_report_surveys, beam.pvalue.AsList(surveys))

    run_to_end(build, options)
    surveys: tuple[Survey, ...] = _read_report(_Surveys, report).surveys
    return surveys


def _survey(file: tuple[int, Location], drop_lower_case: bool) -> tuple[int, Survey | str]:
    number, location = file
    try:
        with _sequence_file(location) as local:
            return number, survey(local, drop_lower_case)
    except StoreError:
        raise
    except (InputError, OSError) as error:
        return number, str(error)


def _report_surveys(report: Location, surveys: Sequence[tuple[int, Survey | str]]) -> None:
    found = [result for _, result in sorted(surveys, key=lambda numbered: numbered[0])]
    errors = tuple(result for result in found if isinstance(result, str))
    made = _Surveys(errors, tuple(result for result in found if isinstance(result, Survey)))
    storage.write(report, to_json(made).encode())


@contextlib.contextmanager
def _sequence_file(location: Location) -> Iterator[SequenceFile]:
    with local_copy(location) as path:
        if not path.is_file():
            raise InputError(f"{path} is not a file that this machine sees: name FASTA or .2bit files.")
        yield SequenceFile(path, str(location))


def _written(plan: GenomePlan, directory: Location, options: PipelineOptions) -> _Shards:
    job = plan.job
    report = join(directory, "shards.json")

    def build(pipeline: beam.Pipeline) -> None:
        files = pipeline | "Number files" >> beam.Create(range(len(job.files)))
        read = files | beam.Reshuffle() | "Read" >> beam.FlatMap(_tasks, plan).with_outputs(_ERRORS, main="tasks")
        # After each reshuffle the work is spread over all machines anew; and what was cut is kept, not cut twice.
        cut = (
            read.tasks
            | "Spread blocks" >> beam.Reshuffle()
            | "Cut" >> beam.FlatMap(_cut, job.row_settings).with_outputs(_ERRORS, main="rows")
        )
        rows = cut.rows | "Keep rows" >> beam.Reshuffle()
        counts = rows | "Count" >> beam.Map(lambda made: (made.split, (made.order, made.counts)))
        blocks = beam.pvalue.AsDict(counts | "Count by split" >> beam.GroupByKey() | beam.Map(_in_order))
        stride = RecordLayout(job.row_length).stride
        shards = (
            rows
            | "Find shards" >> beam.FlatMap(_pieces, job.rows_per_shard, stride, blocks)
            | "Bring shards together" >> beam.GroupByKey()
            | "Write shards" >> beam.Map(_write_shard, directory, job.rows_per_shard, stride, blocks)
        )
        errors = (read[_ERRORS], cut[_ERRORS]) | beam.Flatten()
        (
            pipeline
            | beam.Create([report])
            | "Report" >> beam.Map(_report_shards, blocks, beam.pvalue.AsList(shards), beam.pvalue.AsList(errors))
        )

    run_to_end(build, options)
    made: _Shards = _read_report(_Shards, report)
    return made


def _tasks(number: int, plan: GenomePlan) -> Iterator[Task | _Error]:
    try:
        with _sequence_file(plan.job.files[number]) as file:
            yield from plan.tasks(number, file)
    except StoreError:
        raise
    except InputError as error:
        yield TaggedOutput(_ERRORS, (number, str(error)))


def _cut(task: Task, settings: RowSettings) -> Iterator[_BlockRows | _Error]:
    try:
        made_by_split = block_rows(task, settings)
    except InputError as error:
        yield TaggedOutput(_ERRORS, (task.place[0], str(error)))
        return
    for split, made in made_by_split.items():
        yield _BlockRows(split, (*task.place, task.repetition), made.records, made.counts)


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
            yield (made.split, start // rows_per_shard), (start, records)


def _write_shard(
    shard: tuple[tuple[str, int], Iterable[_Piece]],
    directory: Location,
    rows_per_shard: int,
    stride: int,
    blocks: Mapping[str, _Blocks],
) -> tuple[tuple[str, int], ShardEntry]:
    (split, number), pieces = shard
    content = b"".join(records for _, records in sorted(pieces))
    name = shard_name(split, number, -(-blocks[split].total.rows // rows_per_shard))
    storage.write(join(directory, name), content)
    return (split, number), ShardEntry(name, len(content) // stride, hashlib.sha256(content).hexdigest())


def _report_shards(
    report: Location,
    blocks: Mapping[str, _Blocks],
    shards: Sequence[tuple[tuple[str, int], ShardEntry]],
    errors: Sequence[tuple[int, str]],
) -> None:
    ordered = sorted(shards, key=lambda shard: shard[0])
    made = _Shards(
        errors=tuple(sentence for _, sentence in sorted(errors)),
        counts={name: blocks[name].total if name in blocks else Counts() for name in _SPLITS},
        shards={name: tuple(entry for (split, _), entry in ordered if split == name) for name in _SPLITS},
    )
    storage.write(report, to_json(made).encode())
