"""`dnabert-jax predict` and `embed`."""

import dataclasses
import itertools
from pathlib import Path
from typing import Literal

from dnabert_jax.commands.sequence_source import SequenceCommand
from dnabert_jax.errors import InputError
from dnabert_jax.outputs import refuse_existing

_BED = ".bed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict(SequenceCommand):
    """Apply a fine-tuned model to FASTA records, BED intervals or a table, and write one row for each, in their order.

    Example: dnabert-jax predict --model runs/promoters --bed peaks.bed --genome hg38.fa.gz --out predictions.tsv

    The table has the columns of the input (id for FASTA; chrom, start, end, name and strand for BED), then prediction,
    and the probability of each label as p_LABEL (docs/prediction.md).

    Attributes:
        out: File to write, named for what it is: a table (.tsv, .csv, .tsv.gz, .csv.gz or .parquet) or, with --bed and
            a model with two classes, .bed for genome browsers (score: 1,000 times the probability of the second).
        keep: Columns of --table to keep; all if not given.
        strands: forward predicts the sequence as it is; both averages the logits over it and its reverse complement; if
            not given, as the model was fine-tuned.
    """

    out: Path
    keep: tuple[str, ...] = ()
    strands: Literal["forward", "both"] | None = None

    def run(self) -> None:
        """Predicts, writes, and says what was written."""
        self.source.check()
        from dnabert_jax.io.output_table import check_table_name

        if self.out.suffix != _BED:
            check_table_name(self.out, f", or {_BED}")
        elif self.source.bed is None:
            raise InputError(f"{self.out} holds intervals, so it needs --bed and --genome. Give --out another name.")
        refuse_existing(self.out)
        from dnabert_jax.tasks.prediction import write_predictions

        model = self.load()
        if model.task is None:
            raise InputError(
                f"{self.model} has no classifier. Make one with `finetune`, or use `embed`, which needs none."
            )
        with self.open(model, "predict", keep=self.keep) as (sequences, bar):
            # A few thousand sequences are read ahead of their results.
            read, waiting = itertools.tee(sequences)
            results = model.predictions(read, self.strands, bar.update)
            rows = ((sequence.fields, scores) for (_, scores), sequence in zip(results, waiting, strict=True))
            counts = write_predictions(self.out, model.task, sequences.columns, rows)
        sequences.say("Predicted")
        if counts:
            print("Labels: " + ", ".join(f"{label} {count:,}" for label, count in counts.items()) + ".")
        in_python = "" if self.out.suffix == _BED else f" {reading(self.out)}"
        print(f"Written to {self.out}, one row per sequence, in input order.{in_python}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embed(SequenceCommand):
    """Write the vectors of sequences, in their order.

    Example: dnabert-jax embed --model models/dnabert6 --fasta promoters.fa --pooling mean --out vectors.npz

    Attributes:
        out: File to write; its name says what it is: .npz (arrays ids, embeddings and, for tokens and bases,
            offsets) or .parquet (columns id and embedding).
        pooling: One vector a sequence: mean (over its tokens), cls, or pooled (by the model's pooler, of the last
            layer). Many: tokens (one per token), or bases (one per base, the mean over the tokens that cover it).
        layer: Whose hidden states: 0 are the embeddings, 1 the first layer, -1 the last.
        dtype: Of the numbers in the file.
    """

    out: Path
    pooling: Literal["mean", "cls", "pooled", "tokens", "bases"] = "mean"
    layer: int = -1
    dtype: Literal["float32", "float16"] = "float32"

    def run(self) -> None:
        """Embeds, writes, and says how to read it."""
        self.source.check()
        from dnabert_jax.tasks.prediction import check_embedding_name, write_embeddings

        check_embedding_name(self.out)
        refuse_existing(self.out)
        from dnabert_jax.pretrained import BY_POSITION

        model = self.load()
        width, by_position = model.config.hidden_size, self.pooling in BY_POSITION
        with self.open(model, "embed") as (sequences, bar):
            embeddings = model.embeddings(sequences, self.pooling, self.layer, bar.update)
            write_embeddings(self.out, embeddings, width, by_position, self.dtype)
        each = {"tokens": "token", "bases": "base"}.get(self.pooling, "sequence")
        sequences.say("Embedded", f": {width} {self.dtype} numbers for each {each}")
        print(f"Written to {self.out}, in the order of the sequences. {reading(self.out)}")


def reading(path: Path) -> str:
    """Returns how to read a table or an .npz file in Python."""
    readers = {".npz": "numpy.load", ".parquet": "pandas.read_parquet"}
    separator = r', sep="\t"' if ".tsv" in path.suffixes else ""
    return f"To read it in Python:\n  {readers.get(path.suffix, 'pandas.read_csv')}({str(path)!r}{separator})"
