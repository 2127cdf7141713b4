"""Which sequences a command reads: FASTA, BED with its genome, or a table; and what is said about them."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dnabert_jax.errors import InputError
from launch.flags import InputPath

if TYPE_CHECKING:  # loads Arrow
    from dnabert_jax.config import TrainingLengths
    from dnabert_jax.tasks.datasets.intervals import Intervals
    from dnabert_jax.tasks.datasets.unlabelled import NamedSequence


@dataclasses.dataclass(frozen=True)
class SequenceSource:
    """Where the sequences come from: exactly one of fasta, bed and table; each may be - or a pipe.

    Attributes:
        fasta: FASTA (plain, gzip, bgzip) or .2bit file; each record is a sequence.
        bed: BED, narrowPeak, broadPeak or gappedPeak file, plain or gzip; each interval is a sequence, which is
            reverse-complemented on the - strand.
        genome: FASTA or .2bit file with the genome of --bed.
        width: Bases to which the intervals of --bed are brought, around their middle; 0 keeps them as they are.
        summit: Centre the intervals of --bed on the summit of the peak, where it has one. Without --width, they are as
            long as the sequences that the model was trained on.
        table: CSV, TSV or Parquet file, plain or gzip; each row is a sequence.
        sequence: Column of --table with raw DNA or k-mers; found by its name if not given.
        id: Column of --table that names the rows; found by its name if not given. Without one, rows are numbered from
            0.
    """

    fasta: InputPath | None = None
    bed: InputPath | None = None
    genome: InputPath | None = None
    width: int = 0
    summit: bool = False
    table: InputPath | None = None
    sequence: str = ""
    id: str = ""

    def check(self) -> None:
        """Raises InputError unless one source is named with all that belongs to it, and the files exist."""
        named = [f"--{name}" for name in ("fasta", "bed", "table") if getattr(self, name) is not None]
        if len(named) != 1:
            raise InputError(
                "Give one source of sequences: --fasta, --bed with --genome, or --table."
                + (f" You gave {' and '.join(named)}." if named else "")
            )
        if self.bed is not None and self.genome is None:
            raise InputError(f"--bed {self.bed} needs --genome, the FASTA or .2bit file of its genome.")
        for flag in ("genome", "width", "summit"):
            if getattr(self, flag) and self.bed is None:
                raise InputError(f"--{flag} needs --bed.")
        if (self.sequence or self.id) and self.table is None:
            raise InputError("--sequence and --id are columns of --table, which is not given.")
        for path in (self.fasta, self.bed, self.genome, self.table):
            if path is not None and not path.is_file():
                raise InputError(f"{path} {'is a directory' if path.is_dir() else 'does not exist'}.")

    @contextlib.contextmanager
    def open(
        self, k: int, lengths: "TrainingLengths | None" = None, keep: Sequence[str] = ()
    ) -> Iterator["OpenSource"]:
        """Gives the sequences to a model.

        Args:
            k: of the model.
            lengths: of the sequences that the model was trained on, if they are known.
            keep: columns of --table to carry along; all if none is named.
        """
        from dnabert_jax.io.genome import read_blocks
        from dnabert_jax.io.tables import ID_NAMES, find_column, open_table
        from dnabert_jax.tasks.datasets.intervals import BED_COLUMNS, Recentring, open_intervals
        from dnabert_jax.tasks.datasets.unlabelled import fasta_sequences, kept_columns, table_sequences

        if keep and self.table is None:
            raise InputError("--keep names columns of --table, which is not given.")
        if self.fasta is not None:
            records = fasta_sequences(read_blocks(self.fasta), str(self.fasta), k)
            yield OpenSource(records, None, by_id=True, lengths=lengths)
        elif self.table is not None:
            table = open_table(self.table)
            columns = kept_columns(table, keep or table.names, self.sequence, self.id)
            rows = table_sequences(table, k, self.sequence, self.id, columns)
            by_id = find_column(table, self.id, ID_NAMES, "names") is None
            yield OpenSource(rows, table.known_rows(), tuple(columns), by_id, lengths=lengths)
        elif self.bed is not None and self.genome is not None:
            width = self.width
            if self.summit and not width:
                if lengths is None:
                    raise InputError("--summit needs --width: the model does not say how long its sequences were.")
                width = lengths.median
            with open_intervals(self.bed, self.genome, k, Recentring(width, self.summit)) as intervals:
                renamed = intervals.genome.renamed()
                notes = [f"Contigs by another name in the genome: {', '.join(renamed)}."] if renamed else []
                notes += intervals.left_out.sentences()
                found = intervals.sequences()
                yield OpenSource(found, intervals.count, BED_COLUMNS, False, tuple(notes), intervals, lengths)


class OpenSource:
    """The sequences, counted as they pass.

    Attributes:
        total: how many there will be, where that is known.
        columns: names of the columns by which the sequences are known: those that they carry along, and id before
            these where the names of the sequences are not among them.
        notes: sentences to print before the work.
        intervals: where the sequences lie in a genome, if they do.
        passed: how many there were so far.
        ambiguous: how many of them had letters such as N.
        unlike: how many of them are much shorter or longer than the sequences that the model was trained on.
    """

    def __init__(
        self,
        sequences: Iterator["NamedSequence"],
        total: int | None,
        columns: tuple[str, ...] = (),
        by_id: bool = False,
        notes: tuple[str, ...] = (),
        intervals: "Intervals | None" = None,
        lengths: "TrainingLengths | None" = None,
    ):
        self._sequences, self.total, self.notes = sequences, total, notes
        self._by_id, self.columns = by_id, ("id", *columns) if by_id else columns
        self.intervals, self._lengths = intervals, lengths
        self.passed = self.ambiguous = self.unlike = 0

    def __iter__(self) -> Iterator["NamedSequence"]:
        from dnabert_jax.sequence.kmers import AMBIGUOUS

        lengths = self._lengths
        for sequence in self._sequences:
            self.passed += 1
            self.ambiguous += bool((sequence.codes == AMBIGUOUS).any())
            if lengths is not None:
                self.unlike += lengths.unlike(len(sequence.codes))
            yield sequence

    def values(self, sequence: "NamedSequence") -> tuple[str, ...]:
        """Returns the values of `columns` for a sequence."""
        return (sequence.name, *sequence.fields) if self._by_id else sequence.fields

    def summary(self) -> str:
        """Returns a phrase that counts what passed."""
        doubt = f", {self.ambiguous:,} of them with letters such as N, whose k-mers are [UNK]" if self.ambiguous else ""
        return f"{self.passed:,} sequences{doubt}"

    def warnings(self) -> Iterator[str]:
        """Yields a sentence if sequences were much shorter or longer than those that the model was trained on."""
        lengths = self._lengths
        if lengths is not None and self.unlike:
            advice = f" Bring intervals to that length with --width {lengths.median}." if self.intervals else ""
            yield (
                f"Warning: {self.unlike:,} of {self.passed:,} sequences are much shorter or longer than those that the "
                f"model was trained on, of {lengths}, so their predictions may mean little.{advice}"
            )
