"""What a command reads: a model, and sequences of a FASTA file, of BED with its genome, or of a table."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tqdm import tqdm

from dnabert_jax.commands.console import progress_bar
from dnabert_jax.commands.flags import InputPath
from dnabert_jax.config import TrainingLengths, require
from dnabert_jax.errors import InputError
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.sequence.tokenizer import Tokenizer

if TYPE_CHECKING:  # loads Arrow
    from dnabert_jax.pretrained import DNAModel
    from dnabert_jax.tasks.datasets.unlabelled import Intervals, NamedSequence


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
        """Raises InputError unless one source is named with all that belongs to it."""
        named = [f"--{name}" for name in ("fasta", "bed", "table") if getattr(self, name) is not None]
        if len(named) != 1:
            raise InputError(
                "Give one source of sequences: --fasta, --bed with --genome, or --table."
                + (f" You gave {' and '.join(named)}." if named else "")
            )
        complete = self.bed is None or self.genome is not None
        require(complete, f"--bed {self.bed} needs --genome, the FASTA or .2bit file of its genome.")
        for flag in ("genome", "width", "summit", "sequence", "id"):
            source = "table" if flag in ("sequence", "id") else "bed"
            require(not getattr(self, flag) or getattr(self, source) is not None, f"--{flag} needs --{source}.")

    @contextlib.contextmanager
    def open(
        self, tokenizer: Tokenizer, lengths: TrainingLengths | None = None, keep: Sequence[str] = ()
    ) -> Iterator["OpenSource"]:
        """Gives the sequences to a model."""
        from dnabert_jax.io.tables import open_table
        from dnabert_jax.tasks.datasets.unlabelled import BED_COLUMNS, fasta_sequences, open_intervals, table_sequences

        require(not keep or self.table is not None, "--keep names columns of --table, which is not given.")
        left_out = LeftOut()
        if self.fasta is not None:
            records = fasta_sequences(read_blocks(self.fasta), str(self.fasta), tokenizer, left_out)
            yield OpenSource(tokenizer, records, None, ("id",), left_out, f"records of {self.fasta}", lengths)
        elif self.table is not None:
            table = open_table(self.table)
            columns, rows = table_sequences(table, tokenizer, left_out, self.sequence, self.id, keep)
            yield OpenSource(tokenizer, rows, table.known_rows(), columns, left_out, f"rows of {self.table}", lengths)
        elif self.bed is not None and self.genome is not None:
            width = self.width
            if self.summit and not width:
                if lengths is None:
                    raise InputError("--summit needs --width: the model does not say how long its sequences were.")
                width = lengths.median
            with open_intervals(self.bed, self.genome, tokenizer.shortest, width, self.summit) as intervals:
                if renamed := intervals.genome.renamed():
                    print(f"Contigs by another name in the genome: {', '.join(renamed)}.")
                for sentence in intervals.left_out.sentences():
                    print(sentence)
                rows, what = intervals.sequences(), f"intervals of {self.bed}"
                yield OpenSource(tokenizer, rows, intervals.count, BED_COLUMNS, left_out, what, lengths, intervals)


@dataclasses.dataclass
class OpenSource:
    """The sequences, counted as they pass.

    Attributes:
        columns: names of the fields that the sequences carry along.
        left_out: takes up sequences that cannot be used, as they pass.
        lengths: of the sequences that the model was trained on, if they are known.
        intervals: where the sequences lie in a genome, if they do.
        passed: how many there were so far.
        ambiguous: how many of them had letters such as N.
        unlike: how many of them are much shorter or longer than the sequences that the model was trained on.
    """

    tokenizer: "Tokenizer"
    sequences: Iterator["NamedSequence"]
    total: int | None
    columns: tuple[str, ...]
    left_out: LeftOut
    what: str
    lengths: TrainingLengths | None = None
    intervals: "Intervals | None" = None
    passed: int = 0
    ambiguous: int = 0
    unlike: int = 0

    def __iter__(self) -> Iterator["NamedSequence"]:
        """Yields the sequences; raises InputError at the end if there were none."""
        for sequence in self.sequences:
            self.passed += 1
            self.ambiguous += bool((sequence.codes == AMBIGUOUS).any())
            self.unlike += self.lengths is not None and self.lengths.unlike(len(sequence.codes))
            yield sequence
        self.left_out.check_some_left(self.passed, self.what)

    def say(self, what_was_done: str, suffix: str = "") -> None:
        """Prints what became of the sequences: how many there were, which were left out, and what is doubtful."""
        letters = f", {self.ambiguous:,} of them with letters such as N, {self.tokenizer.ambiguous}"
        doubt = letters if self.ambiguous else ""
        print(f"{what_was_done} {self.passed:,} sequences{doubt}{suffix}.")
        for sentence in self.left_out.sentences():
            print(sentence)
        if self.lengths is not None and self.unlike:
            advice = f" Bring intervals to that length with --width {self.lengths.median}." if self.intervals else ""
            print(
                f"Warning: {self.unlike:,} of {self.passed:,} sequences are much shorter or longer than those that the "
                f"model was trained on, of {self.lengths}, so results for them may mean little.{advice}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCommand:
    """A command that applies a model.

    Attributes:
        model: Run directory of `dnabert-jax pretrain` or `finetune`, model directory, Hugging Face directory, or
            OWNER/NAME on its hub.
        step: Checkpoint of a run; the latest if not given.
        compute_dtype: Precision of activations; bfloat16 is for accelerators.
    """

    model: str
    step: int | None = None
    compute_dtype: Literal["float32", "bfloat16"] = "float32"

    def load(self) -> "DNAModel":
        """Returns the model."""
        from dnabert_jax.pretrained import DNAModel

        return DNAModel.from_pretrained(self.model, self.step, self.compute_dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceCommand(ModelCommand):
    """A command that applies a model to sequences.

    Attributes:
        source: Where the sequences come from.
    """

    source: Annotated[SequenceSource, tyro.conf.arg(name="")] = dataclasses.field(default_factory=SequenceSource)

    @contextlib.contextmanager
    def open(
        self, model: "DNAModel", what: str, variants: bool = False, keep: Sequence[str] = ()
    ) -> Iterator[tuple[OpenSource, tqdm]]:
        """Yields the sequences, and a progress bar over them, or over variants of them, whose number is not known."""
        with self.source.open(model.tokenizer, model.training_lengths, keep) as sequences:
            unit, total = (" variants", None) if variants else (" sequences", sequences.total)
            with progress_bar(what, unit, total) as bar:
                yield sequences, bar
