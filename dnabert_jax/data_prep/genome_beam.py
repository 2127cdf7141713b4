"""`prepare genome-beam`: the same windows and rows, to the byte, as an Apache Beam pipeline over many machines.

Two pipelines, so that all that is wrong with the files is known before anything is cut: one surveys each file, the
other reads the blocks, cuts them anywhere, and brings the records of each shard together. A record's shard follows from
how many rows the blocks before its own have. Each pipeline ends in one file, a report, for the process that started it
and waits for it, and that writes the manifest. The other machines only need the files, the output directory and this
package.

What is wrong with a file is a result of the survey: an exception would be tried again, and reach the process that
started the pipeline wrapped by each runner in its own way.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from dnabert_jax import storage
from dnabert_jax.data.manifest import FILE_NAME, HELDOUT, TRAIN, Manifest, ShardEntry, shard_name
from dnabert_jax.data.tfrecord import RecordLayout
from dnabert_jax.data_prep.genome_job import Counts, GenomeJob, GenomePlan, Task, block_rows
from dnabert_jax.data_prep.sources import Survey, sequence_files, survey
from dnabert_jax.data_prep.tfds_metadata import tfds_metadata
from dnabert_jax.errors import InputError, JobError, StoreError
from dnabert_jax.outputs import shared_output_directory
from dnabert_jax.storage import Location, join
from dnabert_jax.typed_json import parse_json, to_json

_UNKNOWN_OPTIONS_ARE_REFUSED_BY = (None, "DirectRunner", "DataflowRunner")
"""The others hand what Beam's Python does not know to the job server that they submit to."""

_LONGEST_ERROR = 400
"""Letters of an error, from its end: some runners put a whole traceback before the message."""

_SPLITS = (TRAIN, HELDOUT)
Order = tuple[int, int, int]
"""File, part and repetition: the order of the parts in the output."""

Progress = Callable[[str], object]
"""Is told of a phase, "survey" or "write", when it begins."""


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
class _Report:
    """Holds what a pipeline made, the shards by split; or, if the input is bad, sentences about it."""

    errors: tuple[str, ...] = ()
    surveys: tuple[Survey, ...] = ()
    counts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    shards: dict[str, tuple[ShardEntry, ...]] = dataclasses.field(default_factory=dict)


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
    options = _checked_options(beam_options)
    with shared_output_directory(job.out, FILE_NAME) as (directory, check_claim):
        progress("survey")
        plan = GenomePlan(job, _surveyed(job, directory, options))
        progress("write")
        check_claim()
        made = _written(plan, directory, options)
        manifest = plan.manifest({name: Counts(counts) for name, counts in made.counts.items()}, made.shards)
        listed = {shard.name for shard in manifest.shards}
        for name in storage.names(directory):
            # A machine that failed, and was replaced, may have left a shard half-written.
            if name.endswith(".partial") and name.split(".partial")[0].rpartition(".")[0] in listed:
                storage.remove(join(directory, name))
        for name, content in tfds_metadata(manifest).items():
            storage.write(join(directory, name), content)
        check_claim()
        storage.write(join(directory, FILE_NAME), manifest.text.encode())
    return manifest


def _checked_options(arguments: Sequence[str]) -> PipelineOptions:
    """Returns Beam's options; raises InputError if one is unknown, or would not let us wait for the end."""
    for argument, before in zip(arguments, ("", *arguments), strict=False):
        if not argument.startswith("-") and not (before.startswith("--") and "=" not in before):
            raise InputError(f"The Beam option {argument!r} is no option and no value of one: check its spelling.")
    options = PipelineOptions(list(arguments))
    known = options.get_all_options()
    unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
    if unknown and known["runner"] in _UNKNOWN_OPTIONS_ARE_REFUSED_BY:
        raise InputError(f"Beam does not know the option --{min(unknown)}: check its spelling.")
    if "--no_wait_until_finish" in arguments:
        raise InputError("The pipelines are waited for, as the manifest is written at the end: no_wait_until_finish.")
    return options


def _run(build: Callable[[beam.Pipeline], object], options: PipelineOptions, report: Location) -> _Report:
    """Runs a pipeline to its end, and cancels it if interrupted; returns its report, whose file is removed.

    Raises:
        InputError: the report tells of bad input; the sentence is that of the first file.
        JobError: the pipeline failed.
    """
    try:
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        result = pipeline.run()
        try:
            state = result.wait_until_finish()
        except KeyboardInterrupt:
            result.cancel()
            raise
    except StoreError:
        raise
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        # Each runner has exceptions of its own, without a common base. None is swallowed: it is the cause of the
        # JobError, and what went wrong on another machine stands in the runner's log, with its place.
        what = f"{type(error).__name__}: {' '.join(str(error).split())[-_LONGEST_ERROR:]}"
        raise JobError(f"The Beam pipeline failed with {what.rstrip(': .')}.") from error
    if state != beam.runners.runner.PipelineState.DONE:
        raise JobError(f"The Beam pipeline ended in the state {state}: look into the runner's log.")
    made = parse_json(_Report, storage.read(report), str(report))
    storage.remove(report)
    if made.errors:
        raise InputError(made.errors[0])
    return made


def _surveyed(job: GenomeJob, directory: Location, options: PipelineOptions) -> tuple[Survey, ...]:
    report = join(directory, "surveys.json")

    def build(pipeline: beam.Pipeline) -> None:
        files = pipeline | "Name files" >> beam.Create(list(enumerate(job.files)))
        surveys = files | beam.Reshuffle() | "Survey" >> beam.Map(_survey, job.lower_case == "drop")
        pipeline | beam.Create([report]) | "Report" >> beam.Map(_report_surveys, beam.pvalue.AsList(surveys))

    return _run(build, options, report).surveys


def _survey(numbered: tuple[int, Location], drop_lower_case: bool) -> tuple[int, Survey | str]:
    number, location = numbered
    try:
        with sequence_files([location]) as [file]:
            return number, survey(file, drop_lower_case)
    except StoreError:
        raise
    except (InputError, OSError) as error:
        return number, str(error)


def _report_surveys(report: Location, surveys: Sequence[tuple[int, Survey | str]]) -> None:
    results = [result for _, result in sorted(surveys, key=lambda numbered: numbered[0])]
    errors = tuple(result for result in results if isinstance(result, str))
    made = _Report(errors, tuple(result for result in results if isinstance(result, Survey)))
    storage.write(report, to_json(made).encode())


def _written(plan: GenomePlan, directory: Location, options: PipelineOptions) -> _Report:
    job = plan.job
    report = join(directory, "shards.json")

    def build(pipeline: beam.Pipeline) -> None:
        files = pipeline | "Number files" >> beam.Create(range(len(job.files)))
        tasks = files | beam.Reshuffle() | "Read" >> beam.FlatMap(_tasks, plan)
        # After each reshuffle the work is spread over all machines anew; and what was cut is kept, not cut twice.
        cut = tasks | "Spread blocks" >> beam.Reshuffle() | "Cut" >> beam.FlatMap(_cut, job)
        rows = cut | "Keep rows" >> beam.Reshuffle()
        counts = rows | "Count" >> beam.Map(lambda made: (made.split, (made.order, made.counts)))
        blocks = beam.pvalue.AsDict(counts | "Count by split" >> beam.GroupByKey() | beam.Map(_in_order))
        stride = RecordLayout(job.row_length).stride
        shards = (
            rows
            | "Find shards" >> beam.FlatMap(_pieces, job.rows_per_shard, stride, blocks)
            | "Bring shards together" >> beam.GroupByKey()
            | "Write shards" >> beam.Map(_write_shard, directory, job.rows_per_shard, stride, blocks)
        )
        pipeline | beam.Create([report]) | "Report" >> beam.Map(_report_shards, blocks, beam.pvalue.AsList(shards))

    return _run(build, options, report)


def _tasks(number: int, plan: GenomePlan) -> Iterator[Task]:
    with sequence_files([plan.job.files[number]]) as [file]:
        yield from plan.tasks(number, file)


def _cut(task: Task, job: GenomeJob) -> Iterator[_BlockRows]:
    for split, (records, counts) in block_rows(task, job).items():
        yield _BlockRows(split, (*task.place, task.repetition), records, counts)


def _in_order(counted: tuple[str, Iterable[tuple[Order, Counts]]]) -> tuple[str, _Blocks]:
    split, blocks = counted
    first: dict[Order, int] = {}
    total = Counts()
    for order, counts in sorted(blocks, key=lambda block: block[0]):
        first[order] = total["rows"]
        total += counts
    return split, _Blocks(first, total)


def _pieces(
    made: _BlockRows, rows_per_shard: int, stride: int, blocks: Mapping[str, _Blocks]
) -> Iterator[tuple[tuple[str, int], _Piece]]:
    """Yields the records of a block by (split, shard)."""
    first = blocks[made.split].first[made.order]
    end = first + made.counts["rows"]
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
    name = shard_name(split, number, -(-blocks[split].total["rows"] // rows_per_shard))
    storage.write(join(directory, name), content)
    return (split, number), ShardEntry(name, len(content) // stride, hashlib.sha256(content).hexdigest())


def _report_shards(
    report: Location, blocks: Mapping[str, _Blocks], shards: Sequence[tuple[tuple[str, int], ShardEntry]]
) -> None:
    ordered = sorted(shards, key=lambda shard: shard[0])
    made = _Report(
        counts={name: dict(blocks[name].total) if name in blocks else {} for name in _SPLITS},
        shards={name: tuple(entry for (split, _), entry in ordered if split == name) for name in _SPLITS},
    )
    storage.write(report, to_json(made).encode())
