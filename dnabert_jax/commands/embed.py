"""`dnabert-jax embed`."""

import dataclasses
from pathlib import Path
from typing import Literal

from dnabert_jax.commands.predict import reading
from dnabert_jax.commands.sequence_source import SequenceCommand
from dnabert_jax.output_file import refuse_existing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embed(SequenceCommand):
    """Write the vectors of sequences, in their order.

    Example: dnabert-jax embed --model models/dnabert6 --fasta promoters.fa --pooling mean --out vectors.npz

    Attributes:
        out: File to write; its name says what it is: .npz (arrays ids, embeddings and, for tokens and bases,
            offsets) or .parquet (columns id and embedding).
        pooling: One vector a sequence: mean (over its k-mers), cls, or pooled (by the model's pooler, of the last
            layer). Many: tokens (one a k-mer), or bases (one a base, the mean over the k-mers that cover it).
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
        each = {"tokens": "k-mer", "bases": "base"}.get(self.pooling, "sequence")
        sequences.say("Embedded", f": {width} {self.dtype} numbers for each {each}")
        print(f"Written to {self.out}, in the order of the sequences. {reading(self.out)}")
