"""`dnabert-jax prepare`: genomes for pre-training, labelled sets for fine-tuning, and their verification."""

import dataclasses
import itertools
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from dnabert_jax.commands.console import Bars, command, progress_bar
from dnabert_jax.commands.flags import parse
from dnabert_jax.commands.signals import EXIT_FAILED
from dnabert_jax.config import require
from dnabert_jax.data.manifest import FILE_NAME, Manifest
from dnabert_jax.data.rows import read_source
from dnabert_jax.data_prep.derived.derive import DerivedManifest, derive
from dnabert_jax.data_prep.derived.suite import SUITE_FILE, SuiteRecord, prepare_suite
from dnabert_jax.data_prep.derived.table import TABLE
from dnabert_jax.data_prep.derived.tasks import Promoters, PromotersJob, Splice, SpliceJob, Task, Tfbs, TfbsJob
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.data_prep.verify import verify_directory
from dnabert_jax.errors import InputError
from dnabert_jax.extras import require_extra
from dnabert_jax.families import PRESETS, closest_preset
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.peak_index import INDEX_FILE
from dnabert_jax.io.text import first_few, valid_unicode
from dnabert_jax.storage import Location, is_url, join

_NAMED, _SHOWN = 3, 10
"""Names that a line lists at most, and files whose failures are printed."""


@dataclasses.dataclass(frozen=True)
class PrepareGenome:
    """Cut genomes into windows of tokens and write them as packed TFRecord rows for pre-training.

    Example: dnabert-jax prepare genome --fasta hg38.fa.gz --heldout-records chr21 chr22 --k 6 --out data/hg38-k6

    Attributes:
        processes: How many work at once; the result does not depend on it. All processors, if not given.
    """

    job: Annotated[GenomeJob, tyro.conf.arg(name="")]
    processes: int | None = None

    def run(self) -> None:
        """Prepares and says what was made."""
        job = self.job
        with preparation_bars() as bar:
            manifest = prepare_genome(job, _process_count(self.processes), bar.advanced)
        _tell(job, manifest)


def _process_count(given: int | None) -> int:
    count = len(os.sched_getaffinity(0)) if given is None else given
    require(count >= 1, f"{given} processes cannot work: at least 1 is needed.")
    return count


def _tell(job: GenomeJob, manifest: Manifest) -> None:
    print(describe(manifest))
    preset = closest_preset(manifest.tokenizer)
    model = PRESETS[preset].model
    flags = f"--preset {preset}" + f" --model.k {manifest.k}" * (model.k != manifest.k)
    if manifest.row_length > model.max_positions:
        flags += f" --model.max-positions {manifest.row_length}"
    print(f"Written to {job.out}. Next: {command('pretrain', '--data', job.out)} {flags} --out RUN")


def preparation_bars(written: str = "base") -> Bars:
    """Returns the bars of a preparation, whose phase "write" counts this unit."""
    units = {"survey": "base", "read": "base", "write": written, "sets": "set"}
    return Bars(dict.fromkeys(("download", "annotation", "upload"), "B") | units, unit_scale=True)


@dataclasses.dataclass(frozen=True)
class PrepareGenomeBeam:
    """As `prepare genome`, with the same result to the byte, as an Apache Beam pipeline over many machines.

    Example: dnabert-jax prepare genome-beam --fasta gs://b/hg38.fa.gz --out gs://b/hg38-k6 -- --runner DataflowRunner
    --project P --region us-central1 --temp_location gs://b/tmp --sdk_container_image IMAGE

    What follows a lone -- are Beam's own options; without any, Beam runs the pipeline in this process. The files and
    the output must be where all machines see them. They need this package: by an image, or by --setup_file.
    """

    job: Annotated[GenomeJob, tyro.conf.arg(name="")]
    beam_options: tyro.conf.Suppress[tuple[str, ...]] = ()

    def run(self) -> None:
        """Prepares and says what was made."""
        # Runners log how the job goes; Beam warns, as it is imported, of what this needs not.
        named = any(option.startswith("--runner") for option in self.beam_options)
        logging.basicConfig(level=logging.INFO if named else logging.ERROR)
        require_extra("beam", "prepare genome-beam", "apache_beam")
        from dnabert_jax.data_prep.genome_beam import prepare_genome_on_beam

        say = lambda phase: print(f"Beam: {phase} ...", file=sys.stderr)  # noqa: E731
        _tell(self.job, prepare_genome_on_beam(self.job, self.beam_options, say))


def parse_genome_beam(arguments: Sequence[str]) -> PrepareGenomeBeam:
    """Reads the flags, and leaves to Beam what follows a lone --."""
    border = arguments.index("--") if "--" in arguments else len(arguments)
    job = parse(PrepareGenomeBeam, "prepare genome-beam", arguments[:border])
    return dataclasses.replace(job, beam_options=tuple(arguments[border + 1 :]))


def describe(manifest: Manifest) -> str:
    """Returns what a directory that `prepare genome` made holds and what was left out, in a few lines."""
    text = ""
    for name, split in manifest.splits.items():
        sequences, kmers = split.sequences or 0, split.kmers or 0
        filled = (kmers + manifest.tokenizer.specials * sequences) / (split.rows * manifest.row_length)
        text += (
            f"{name}: {sequences:,} sequences of {kmers:,} {manifest.tokenizer.unit} from {split.bases:,} bases, "
            f"in {split.rows:,} rows of {manifest.row_length} tokens ({filled:.1%} filled, "
            f"{sequences / split.rows:.2f} sequences a row)\n"
        )
    dropped = manifest.dropped
    return (
        f"{text}held out: {manifest.policies['heldout']}\n"
        f"left out: {dropped['ambiguous_bases']:,} ambiguous bases, {dropped['lower_case_bases']:,} in lower case, "
        f"{dropped['uncut_bases']:,} in pieces too short for a cut window"
    )


@dataclasses.dataclass(frozen=True)
class PrepareVerify:
    """Check a data directory against its manifest: every byte, id, sequence and count. Reports all that is wrong.

    Example: dnabert-jax prepare verify data/hg38-k6

    Attributes:
        directory: Made by `dnabert-jax prepare`, local or the URL of one, or a TFDS data set of such rows in
            array_record files.
    """

    directory: Annotated[Location, tyro.conf.Positional]

    def run(self) -> None:
        """Verifies; exits with status 1 if anything is wrong."""
        rows = sum(split.rows for split in read_source(self.directory)[0].splits.values())
        problems = 0
        with progress_bar("verify", "row", rows, unit_scale=True) as bar:
            for problem in verify_directory(self.directory, bar.update):
                problems += 1
                tqdm.write(problem, sys.stdout)
        if problems:
            print(f"{self.directory}: {problems:,} problem{'s' * (problems > 1)}: make it anew.", file=sys.stderr)
            sys.exit(EXIT_FAILED)
        print(f"{self.directory} is sound: {rows:,} rows are what its metadata say.")


@dataclasses.dataclass(frozen=True)
class PreparePromoters:
    """Promoters, with and without TATA box, and negatives, from a genome and its annotation.

    Example: dnabert-jax prepare promoters --fasta hg38.fa.gz --gtf gencode.v44.annotation.gtf.gz --out data/prom-300

    The table has one row an example: split, coordinates, label, group (TATA or non-TATA), origin and sequence.
    """

    job: Annotated[PromotersJob, tyro.conf.arg(name="")]

    def run(self) -> None:
        """Prepares and says what was made."""
        _run(Promoters(self.job))


@dataclasses.dataclass(frozen=True)
class PrepareSplice:
    """Splice donors, acceptors and neither, from a genome and its annotation.

    Example: dnabert-jax prepare splice --fasta hg38.fa.gz --gtf gencode.v44.annotation.gtf.gz --out data/splice

    The table has one row an example: split, coordinates, label, origin and sequence.
    """

    job: Annotated[SpliceJob, tyro.conf.arg(name="")]

    def run(self) -> None:
        """Prepares and says what was made."""
        _run(Splice(self.job))


@dataclasses.dataclass(frozen=True)
class PrepareTfbs:
    """Windows at the summits of ChIP-seq peaks, and background, from a genome and narrowPeak files.

    Example: dnabert-jax prepare tfbs --fasta hg38.fa.gz --peaks CTCF.narrowPeak.gz --blacklist hg38-blacklist.bed.gz
    --validation-contigs chr7 --test-contigs chr8 chr9 --out data/ctcf

    The table has one row an example: split, coordinates, label, origin and sequence.

    Example of a suite: dnabert-jax prepare tfbs --fasta hg19.fa.gz --peaks wgEncodeAwgTfbsUniform/ --protocol zeng-tfbs
    --out data/tfbs690

    Each file of the folder becomes a set, the directory --out/NAME, which is what the command makes of that file alone.
    The genome is read once. A bad file is reported and stops no other. The same command again resumes. With UCSC's
    files.txt in the folder, the MD5 of each file is checked, and files that are missing are listed.

    Attributes:
        processes: How many sets of a folder are made at once; the result does not depend on it. All processors, if
            not given.
    """

    job: Annotated[TfbsJob, tyro.conf.arg(name="")]
    processes: int | None = None

    def run(self) -> None:
        """Prepares and says what was made."""
        if is_url(self.job.peaks) or not Path(self.job.peaks).is_dir():
            _run(Tfbs(self.job))
            return
        with preparation_bars() as bar:
            record, before = prepare_suite(self.job, _process_count(self.processes), bar.advanced)
        out = self.job.out
        if not record.sets:
            raise InputError(
                f"No set could be made of {self.job.peaks}; {join(out, SUITE_FILE)} has every reason. The first: "
                f"{next(iter(record.failed.values()))}"
            )
        print("\n".join(_described_suite(record, before)))
        print(f"Written to {out}: a directory for each set; and every choice, count and failure, in {SUITE_FILE}.")
        print(f"Next: {command('evaluate', 'suite', '--data', out, '--model', 'MODEL', '--out', 'RESULTS')}")


def _described_suite(record: SuiteRecord, before: int) -> Iterator[str]:
    """Returns a line each on the sets, on those that failed or look wrong, and on files that are absent."""
    examples, left_out = Counter[str](), Counter[str]()
    for made in record.sets.values():
        examples.update(made.splits)
        left_out.update(made.left_out)
    there = f" (there before: {before:,})" if before else ""
    yield f"sets: {len(record.sets):,}{there}, with {examples.total():,} examples: {_listed(examples)}"
    yield from LeftOut(left_out).sentences()
    remarks = [f"{name}: {remark}" for name, made in record.sets.items() for remark in made.remarks]
    yield from remarks[:_SHOWN]
    if len(remarks) > _SHOWN:
        yield f"and {len(remarks) - _SHOWN:,} more remarks on sets, in {SUITE_FILE}"
    if beyond := [name for name, made in record.sets.items() if made.beyond]:
        yield (
            f"sets of which most windows reach beyond the ends of their contigs: {len(beyond):,} "
            f"({first_few(beyond, _NAMED)}). Are these peaks of another build than the genome?"
        )
    if record.absent:
        absent = first_few(record.absent, _NAMED)
        yield f"files that {INDEX_FILE} lists and that are not there: {len(record.absent):,} ({absent})"
    if record.failed:
        yield f"files that gave no set: {len(record.failed):,}. Mend them, then the same command again adds their sets."
        yield from (f"  {name}: {reason}" for name, reason in itertools.islice(record.failed.items(), _SHOWN))
        yield from ["  ..."] * (len(record.failed) > _SHOWN)


def _run(task: Task) -> None:
    with preparation_bars("example") as bar:
        manifest = derive(task, bar.advanced)
    print("\n".join(_described(manifest)))
    print(
        f"Written to {task.job.out}: the table {join(task.job.out, TABLE)}; the same for "
        f"tfds.builder_from_directory({str(task.job.out)!r}); and every choice and count, in {FILE_NAME}."
    )
    print(f"Next: {command('finetune', '--model', 'MODEL', '--data', task.job.out, '--out', 'RUN')}")


def _described(manifest: DerivedManifest) -> Iterator[str]:
    """Returns a line each on the size of a data set, what was left out, and oddities of its sources."""
    yield "annotation: " + _listed(manifest.read)
    if renamed := manifest.contigs["renamed"]:
        listed = ", ".join(f"{name} is {contig}" for name, contig in renamed.items())
        yield f"contigs by another name in the sequence: {valid_unicode(listed)}"
    if manifest.assembly:
        figures = manifest.assembly
        yield f"of the introns in it, {figures['GT share']:.1%} begin with GT and {figures['AG share']:.1%} end with AG"
    yield from LeftOut(Counter(manifest.left_out), manifest.left_out_examples, list(manifest.remarks)).sentences()
    if manifest.missing:
        yield "negatives that were not found: " + _listed(manifest.missing)
    for name, counts in manifest.splits.items():
        yield f"{name}: " + "; ".join(_listed(own) for own in counts.values() if len(own) > 1)
    yield "mean GC content: " + ", ".join(f"{origin} {share:.3f}" for origin, share in manifest.gc_content.items())
    yield f"loci: {manifest.loci['number']:,}, the largest with {manifest.loci['largest share']:.2%} of the examples"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
