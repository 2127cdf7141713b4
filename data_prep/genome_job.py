"""What `prepare genome` is asked to do; contradictions fail here."""

import dataclasses
import math
from collections.abc import Collection
from pathlib import Path

from data_prep.rows import RowSettings
from data_prep.windows import MIN_KMERS
from dnabert_jax.data.packing import SPECIAL_PER_SEQUENCE
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import check_k

_DEFAULT_HELDOUT_FRACTION = 0.01


@dataclasses.dataclass(frozen=True)
class GenomeJob:
    """What to prepare, and how. See `launch/prepare.py` for the words of the command line.

    Attributes:
        fasta: FASTA or .2bit files whose records are trained on, unless held out.
        out: the directory to make.
        k: letters of a k-mer.
        seed: of the windows.
        weights: the share of the training k-mers that each file of `fasta` gives; none means as they come. A file
            that is short for its weight is cut several times, differently each time; every file at least once.
        heldout_fasta: files whose records are all held out.
        heldout_records: names of records in `fasta` that are held out whole; FILE:NAME for that file's alone.
        heldout_fraction: share of the certain bases of each block (1 Mi letters) of every other record, at its end,
            that is held out. None means 0.01 if nothing else is held out, else 0.
        drop_lower_case: treat soft-masked bases as ambiguous; otherwise case is ignored.
        reverse_complement: turn each training window to the other strand with probability 1/2.
        packed: several sequences a row, or one.
        row_length: tokens of a row.
        rows_per_shard: of a TFRecord file.
        processes: that cut blocks; the result does not depend on it.
    """

    fasta: tuple[Path, ...]
    out: Path
    k: int = 6
    seed: int = 0
    weights: tuple[float, ...] = ()
    heldout_fasta: tuple[Path, ...] = ()
    heldout_records: tuple[str, ...] = ()
    heldout_fraction: float | None = None
    drop_lower_case: bool = False
    reverse_complement: bool = False
    packed: bool = True
    row_length: int = 512
    rows_per_shard: int = 1 << 16
    processes: int = 1

    def __post_init__(self) -> None:
        check_k(self.k)
        for fails, message in (
            (not self.fasta, "No sequence file is named: name at least one."),
            (not 0 <= self.fraction < 1, f"The held-out fraction is {self.fraction}: it must be at least 0, below 1."),
            (self.row_length < MIN_KMERS + SPECIAL_PER_SEQUENCE, f"A row of {self.row_length} tokens is too short."),
            (self.rows_per_shard < 1, f"A shard of {self.rows_per_shard} rows is impossible: at least 1 is needed."),
            (self.seed < 0, f"The seed is {self.seed}: it must not be negative."),
            (self.processes < 1, f"{self.processes} processes cannot work: at least 1 is needed."),
            (
                self.weights and len(self.weights) != len(self.fasta),
                f"{len(self.weights)} weights are given for {len(self.fasta)} files: give one for each.",
            ),
            (any(weight <= 0 for weight in self.weights), "Every weight must be above 0: leave out what has none."),
            (
                self.weights and not math.isclose(sum(self.weights), 1, abs_tol=1e-6),
                f"The weights sum to {sum(self.weights):g}: they must sum to 1.",
            ),
        ):
            if fails:
                raise InputError(message)

    @property
    def fraction(self) -> float:
        """The held-out fraction in force."""
        if self.heldout_fraction is not None:
            return self.heldout_fraction
        return 0.0 if self.heldout_fasta or self.heldout_records else _DEFAULT_HELDOUT_FRACTION

    @property
    def row_settings(self) -> RowSettings:
        return RowSettings(
            self.k, self.row_length, self.packed, self.seed, self.drop_lower_case, self.reverse_complement
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, those to train on first."""
        return (*self.fasta, *self.heldout_fasta)

    def holds_out(self, path: Path, record: str, names: Collection[str] | None = None) -> bool:
        """Whether `heldout_records`, or `names` instead, name a record, as NAME or as FILE:NAME."""
        names = self.heldout_records if names is None else names
        return record in names or f"{path.name}:{record}" in names
