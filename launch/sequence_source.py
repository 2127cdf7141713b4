"""Which sequences a command reads: FASTA, BED with its genome, or a table; and what it says of them."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dnabert_jax.errors import InputError

if TYPE_CHECKING:  # loads Arrow
    from dnabert_jax.tasks.datasets.intervals import IntervalCount
    from dnabert_jax.tasks.datasets.unlabelled import NamedSequence


@dataclasses.dataclass(frozen=True)
class SequenceSource:
    """Where the sequences come from: exactly one of fasta, bed and table.

    Attributes:
        fasta: FASTA (plain, gzip, bgzip) or .2bit file; a sequence for each record.
        bed: BED or narrowPeak file, gzip or not; a sequence for each interval, on the - strand in its own direction.
        genome: FASTA or .2bit file of the genome that --bed is of.
        table: CSV, TSV or Parquet file, gzip or not; a sequence for each row.
        sequence: Column of --table with raw DNA or k-mers; found by its name if not given.
        id: Column of --table that names the rows; found by its name if not given; without one they are numbered from 0.
    """

    fasta: Path | None = None
    bed: Path | None = None
    genome: Path | None = None
    table: Path | None = None
    sequence: str = ""
    id: str = ""

    def check(self) -> None:
        """Raises InputError unless one source is named, and all that belongs to it, by files that are there."""
        named = [f"--{name}" for name in ("fasta", "bed", "table") if getattr(self, name) is not None]
        if len(named) != 1:
            raise InputError(
                "Give one source of sequences, --fasta, --bed with --genome, or --table"
                + (f": {' and '.join(named)} are {len(named)}." if named else ".")
            )
        if self.bed is not None and self.genome is None:
            raise InputError(f"--bed {self.bed} needs --genome, the FASTA or .2bit file that its intervals are of.")
        if self.genome is not None and self.bed is None:
            raise InputError(f"--genome {self.genome} goes with --bed, which is not given.")
        if (self.sequence or self.id) and self.table is None:
            raise InputError("--sequence and --id are columns of --table, which is not given.")
        for path in (self.fasta, self.bed, self.genome, self.table):
            if path is not None and not path.is_file():
                raise InputError(f"{path} is not a file on disk.")

    @contextlib.contextmanager
    def open(self, k: int) -> Iterator["OpenSource"]:
        """Gives the sequences for a model of this k."""
        from dnabert_jax.io.genome import read_blocks
        from dnabert_jax.io.tables import open_table
        from dnabert_jax.tasks.datasets.intervals import interval_sequences
        from dnabert_jax.tasks.datasets.unlabelled import fasta_sequences, table_sequences

        if self.fasta is not None:
            yield OpenSource(fasta_sequences(read_blocks(self.fasta), str(self.fasta), k), None, ())
        elif self.table is not None:
            table = open_table(self.table)
            yield OpenSource(table_sequences(table, k, self.sequence, self.id), table.known_rows(), ())
        elif self.bed is not None and self.genome is not None:
            blocks = read_blocks(self.genome)
            with interval_sequences(self.bed, blocks, str(self.genome), k, beyond="leave out") as (count, found):
                notes = []
                if count.renamed:
                    renamed = ", ".join(f"{a} is {b}" for a, b in count.renamed.items())
                    notes.append(f"Records by another name in the genome: {renamed}.")
                if count.beyond:
                    notes.append(f"Intervals left out, as they reach beyond the end of their record: {count.beyond:,}.")
                yield OpenSource(found, count.kept, tuple(notes), count)


class OpenSource:
    """The sequences, counted as they pass.

    Attributes:
        total: how many there will be, where that is known.
        notes: what is to be said before.
        intervals: where they lie in the genome, if they do.
        passed: how many there were so far.
        ambiguous: how many of them had letters such as N.
    """

    def __init__(
        self,
        sequences: Iterator["NamedSequence"],
        total: int | None,
        notes: tuple[str, ...],
        intervals: "IntervalCount | None" = None,
    ):
        self._sequences, self.total, self.notes, self.intervals = sequences, total, notes, intervals
        self.passed = self.ambiguous = 0

    def __iter__(self) -> Iterator["NamedSequence"]:
        from dnabert_jax.sequence.kmers import AMBIGUOUS

        for sequence in self._sequences:
            self.passed += 1
            self.ambiguous += bool((sequence.codes == AMBIGUOUS).any())
            yield sequence

    def summary(self) -> str:
        """What passed."""
        doubt = f", {self.ambiguous:,} of them with letters such as N, whose k-mers are [UNK]" if self.ambiguous else ""
        return f"{self.passed:,} sequences{doubt}"
