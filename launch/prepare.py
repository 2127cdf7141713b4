"""`dnabert-jax prepare genome` and `prepare genome-beam`."""

import dataclasses
import logging
import os
import sys
from typing import Annotated

import tyro

from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from dnabert_jax.data.manifest import Manifest
from dnabert_jax.data.packing import SPECIAL_PER_SEQUENCE
from dnabert_jax.errors import InputError
from dnabert_jax.presets import PRESETS
from launch.program import command
from launch.progress import Bars

_OTHER_K = "dnabert6"
"""The preset to start from for a k that has none."""


@dataclasses.dataclass(frozen=True)
class PrepareGenome:
    """Cut genomes into windows of k-mers and write them as packed TFRecord rows for pre-training.

    Example: dnabert-jax prepare genome --fasta hg38.fa.gz --heldout-records chr21 chr22 --k 6 --out data/hg38-k6

    Attributes:
        processes: How many work at once; the result does not depend on it. All processors, if not given.
    """

    job: Annotated[GenomeJob, tyro.conf.arg(name="")]
    processes: int | None = None

    def run(self) -> None:
        """Prepares and says what was made."""
        job = self.job
        processes = len(os.sched_getaffinity(0)) if self.processes is None else self.processes
        with preparation_bars() as bar:
            manifest = prepare_genome(job, processes, bar.advanced)
        _tell(job, manifest)


def _tell(job: GenomeJob, manifest: Manifest) -> None:
    print(describe(manifest))
    preset, positions = f"dnabert{manifest.k}", PRESETS[_OTHER_K].model.max_positions
    flags = f"--preset {preset}" if preset in PRESETS else f"--preset {_OTHER_K} --model.k {manifest.k}"
    if manifest.row_length > positions:
        flags += f" --model.max-positions {manifest.row_length}"
    print(f"Written to {job.out}. Next: {command('pretrain', '--data', job.out)} {flags} --out RUN")


def preparation_bars(written: str = "base") -> Bars:
    """Returns the bars of a preparation, whose phase "write" counts this unit."""
    units = {"survey": "base", "read": "base", "write": written}
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
        try:
            from data_prep.genome_beam import prepare_genome_on_beam
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] != "apache_beam":
                raise
            raise InputError("Apache Beam is not installed: pip install apache-beam (the extra beam).") from error
        manifest = prepare_genome_on_beam(
            self.job, self.beam_options, lambda phase: print(f"Beam: {phase} ...", file=sys.stderr)
        )
        _tell(self.job, manifest)


def describe(manifest: Manifest) -> str:
    """What a data directory holds and what was left out, in a few lines."""
    lines = []
    for name, split in manifest.splits.items():
        rows = f"{split.rows:,} rows of {manifest.row_length} tokens"
        if split.sequences is None or split.kmers is None or split.bases is None:
            lines.append(f"{name}: {rows}; sequences, k-mers and bases are not recorded")
            continue
        filled = (split.kmers + SPECIAL_PER_SEQUENCE * split.sequences) / (split.rows * manifest.row_length)
        lines.append(
            f"{name}: {split.sequences:,} sequences of {split.kmers:,} {manifest.k}-mers from {split.bases:,} bases, "
            f"in {rows} ({filled:.1%} filled, {split.sequences / split.rows:.2f} sequences a row)"
        )
    if manifest.policies:
        lines.append(f"held out: {manifest.policies['heldout']}")
    if dropped := manifest.dropped:
        lines.append(
            f"left out: {dropped['ambiguous_bases']:,} ambiguous bases, {dropped['lower_case_bases']:,} in lower case, "
            f"{dropped['uncut_bases']:,} in pieces too short for a cut window"
        )
    return "\n".join(lines)
