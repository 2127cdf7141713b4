"""`dnabert-jax predict`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dnabert_jax.errors import InputError
from dnabert_jax.output_file import refuse_existing
from launch.progress import progress_bar
from launch.sequence_source import SequenceSource
from launch.signals import importing, sigterm_as_sigint


@dataclasses.dataclass(frozen=True)
class Predict:
    """Write what a classifier or a regression says of sequences, one row each, in their order.

    Example: dnabert-jax predict --model runs/promoters --bed peaks.bed --genome hg38.fa.gz --out predictions.tsv

    The columns are id, prediction, and the probability of each label as p_LABEL (docs/prediction.md).

    Attributes:
        model: Run directory of `dnabert-jax finetune`, model directory, Hugging Face directory, or OWNER/NAME on its
            hub.
        out: Table to write; its name says what it is: .tsv, .csv, .tsv.gz, .csv.gz or .parquet.
        strands: forward, the sequence as it is; both, the mean over it and its reverse complement.
        step: Checkpoint of a run; the latest if not given.
        compute_dtype: Of activations; bfloat16 is for accelerators.
        source: Where the sequences come from.
    """

    model: str
    out: Path
    strands: Literal["forward", "both"] = "forward"
    step: int | None = None
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    source: Annotated[SequenceSource, tyro.conf.arg(name="")] = dataclasses.field(default_factory=SequenceSource)

    def run(self) -> None:
        """Predicts, writes, and says what came of it."""
        self.source.check()
        with importing():
            from dnabert_jax.io.output_table import check_table_name

        check_table_name(self.out)
        refuse_existing(self.out)
        with importing():
            from dnabert_jax.pretrained import DNABERT
            from dnabert_jax.tasks.prediction.prediction_table import write_predictions

        model = DNABERT.from_pretrained(self.model, self.step, self.compute_dtype)
        if model.task is None:
            raise InputError(
                f"{self.model} has no classifier: `dnabert-jax finetune` makes one; `dnabert-jax embed` needs none."
            )
        with sigterm_as_sigint(), self.source.open(model.config.k) as sequences:
            for note in sequences.notes:
                print(note)
            with progress_bar("predict", " sequences", sequences.total) as bar:
                predictions = model.predictions(sequences, self.strands, bar.update)
                counts = write_predictions(self.out, model.task, predictions)
        print(f"Predicted {sequences.summary()}.")
        if counts:
            print("Labels: " + ", ".join(f"{label} {count:,}" for label, count in counts.items()) + ".")
        print(f"Written to {self.out}, a row for each sequence in its order. To read it in Python:")
        print(f"  {reading(self.out)}")


def reading(table: Path) -> str:
    """The line of Python that reads a table."""
    if table.suffix == ".parquet":
        return f"pandas.read_parquet({str(table)!r})"
    separator = r', sep="\t"' if ".tsv" in table.suffixes else ""
    return f"pandas.read_csv({str(table)!r}{separator})"
