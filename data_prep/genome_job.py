"""What `prepare genome` is asked to do; contradictions fail here."""

import dataclasses
import math
from collections.abc import Collection
from typing import Literal

from data_prep.rows import RowSettings
from data_prep.sources import Survey
from data_prep.windows import MIN_KMERS
from dnabert_jax.config import require
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import SPECIAL_PER_SEQUENCE
from dnabert_jax.storage import Location

_DEFAULT_HELDOUT_FRACTION = 0.01


@dataclasses.dataclass(frozen=True)
class GenomeJob:
    """What to prepare, and how; the command line takes its flags and their help from here.

    Attributes:
        fasta: Sequence files to train on: FASTA, plain, gzip or bgzip, or .2bit; local, or URLs such as gs://...
        out: Directory to make, local or the URL of one; must not exist.
        k: Letters of a k-mer, 1 to 7; must be that of the model.
        seed: Of the windows; the same input and seed give the same bytes.
        weights: Share of the training bases that each file of --fasta gives; they sum to 1. As they come, if not
            given. A file that is short for its weight is cut several times, differently each time; each at least once.
        heldout_fasta: Sequence files to hold out for evaluation.
        heldout_records: Names of records in --fasta to hold out whole; FILE:NAME for that file's alone.
        heldout_fraction: Share of each 1 Mi bases, at their end, to hold out. If not given, 0.01 where nothing
            else is held out, else 0.
        lower_case: Soft-masked bases: read as upper case, or drop them.
        reverse_complement: Turn each training window to the other strand with probability 1/2.
        rows: Several sequences packed into a row, or one sequence a row.
        row_length: Tokens of a row.
        rows_per_shard: Of a TFRecord file.
    """

    fasta: tuple[Location, ...]
    out: Location
    k: int = 6
    seed: int = 0
    weights: tuple[float, ...] = ()
    heldout_fasta: tuple[Location, ...] = ()
    heldout_records: tuple[str, ...] = ()
    heldout_fraction: float | None = None
    lower_case: Literal["upper", "drop"] = "upper"
    reverse_complement: bool = False
    rows: Literal["packed", "single"] = "packed"
    row_length: int = 512
    rows_per_shard: int = 65_536

    def __post_init__(self) -> None:
        _ = KmerTokenizer(self.k).vocabulary_size  # which refuses an impossible k
        weights, files = self.weights, len(self.fasta)
        require(files > 0, "No sequence file is named: name at least one.")
        require(0 <= self.fraction < 1, f"The held-out fraction is {self.fraction}: it must be at least 0, below 1.")
        require(self.row_length >= MIN_KMERS + SPECIAL_PER_SEQUENCE, f"A row of {self.row_length} tokens is too short.")
        require(self.rows_per_shard > 0, f"A shard of {self.rows_per_shard} rows is impossible: at least 1 is needed.")
        require(self.seed >= 0, f"The seed is {self.seed}: it must not be negative.")
        if weights:
            require(len(weights) == files, f"{len(weights)} weights are given for {files} files: give one for each.")
            require(min(weights) > 0, "Every weight must be above 0: leave out what has none.")
            is_one = math.isclose(sum(weights), 1, abs_tol=1e-6)
            require(is_one, f"The weights sum to {sum(weights):g}: they must sum to 1.")

    @property
    def fraction(self) -> float:
        """The held-out fraction in force."""
        if self.heldout_fraction is not None:
            return self.heldout_fraction
        return 0.0 if self.heldout_fasta or self.heldout_records else _DEFAULT_HELDOUT_FRACTION

    @property
    def row_settings(self) -> RowSettings:
        return RowSettings(
            self.k,
            self.row_length,
            self.rows == "packed",
            self.seed,
            self.lower_case == "drop",
            self.reverse_complement,
        )

    @property
    def files(self) -> tuple[Location, ...]:
        """All files, those to train on first."""
        return (*self.fasta, *self.heldout_fasta)

    def holds_out(self, file: Survey, record: str, names: Collection[str] | None = None) -> bool:
        """Whether `heldout_records`, or `names` instead, name a record: NAME, or FILE:NAME with or without its path."""
        names = self.heldout_records if names is None else names
        return not {record, f"{file.name}:{record}", f"{file.location}:{record}"}.isdisjoint(names)
