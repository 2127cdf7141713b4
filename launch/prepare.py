"""`dnabert-jax prepare genome`."""

import dataclasses
from pathlib import Path
from typing import Literal

from data_prep.genome import GenomeJob, prepare_genome
from dnabert_jax.data.manifest import Manifest
from dnabert_jax.data.packing import SPECIAL_PER_SEQUENCE
from launch.progress import progress_bar


@dataclasses.dataclass(frozen=True)
class PrepareGenome:
    """Cut genomes into windows of k-mers and write them as packed TFRecord rows for pre-training.

    Example: dnabert-jax prepare genome --fasta hg38.fa.gz --heldout-records chr21 chr22 --k 6 --out data/hg38-k6

    Attributes:
        fasta: FASTA files, plain, gzip or bgzip.
        out: Directory to make; must not exist.
        k: Letters of a k-mer, 1 to 7; must be that of the model.
        seed: Of the windows; the same input and seed give the same bytes.
        heldout_fasta: FASTA files to hold out for evaluation.
        heldout_records: Names of records in --fasta to hold out whole.
        heldout_fraction: Share of every other record, at its end, to hold out; 0.01 if nothing else is held out, 0
            holds out nothing.
        lower_case: Soft-masked bases: read as upper case, or drop them.
        rows: Several sequences a row, or one sequence a row.
        row_length: Tokens of a row.
        rows_per_shard: Of a TFRecord file.
    """

    fasta: tuple[Path, ...]
    out: Path
    k: int = 6
    seed: int = 0
    heldout_fasta: tuple[Path, ...] = ()
    heldout_records: tuple[str, ...] = ()
    heldout_fraction: float | None = None
    lower_case: Literal["upper", "drop"] = "upper"
    rows: Literal["packed", "single"] = "packed"
    row_length: int = 512
    rows_per_shard: int = 65_536

    def run(self) -> None:
        """Prepares and says what was made."""
        job = GenomeJob(
            fasta=self.fasta,
            out=self.out,
            k=self.k,
            seed=self.seed,
            heldout_fasta=self.heldout_fasta,
            heldout_records=self.heldout_records,
            heldout_fraction=self.heldout_fraction,
            drop_lower_case=self.lower_case == "drop",
            packed=self.rows == "packed",
            row_length=self.row_length,
            rows_per_shard=self.rows_per_shard,
        )
        with progress_bar("prepare", "base", unit_scale=True) as bar:
            manifest = prepare_genome(job, bar.update)
        print(describe(manifest))
        print(f"Written to {self.out}. Next: dnabert-jax pretrain --data {self.out} --preset ... --out RUN")


def describe(manifest: Manifest) -> str:
    """What a data directory holds and what was left out, in a few lines."""
    lines = []
    for name, split in manifest.splits.items():
        filled = (split.kmers + SPECIAL_PER_SEQUENCE * split.sequences) / (split.rows * manifest.row_length)
        lines.append(
            f"{name}: {split.sequences:,} sequences of {split.kmers:,} {manifest.k}-mers from {split.bases:,} bases, "
            f"in {split.rows:,} rows of {manifest.row_length} tokens ({filled:.1%} filled, "
            f"{split.sequences / split.rows:.2f} sequences a row)"
        )
    lines.append(f"held out: {manifest.policies['heldout']}")
    dropped = manifest.dropped
    lines.append(
        f"left out: {dropped['ambiguous_bases']:,} ambiguous bases, {dropped['lower_case_bases']:,} in lower case, "
        f"{dropped['uncut_bases']:,} in pieces too short for a cut window"
    )
    return "\n".join(lines)
