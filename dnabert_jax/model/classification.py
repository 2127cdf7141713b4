"""The encoder with its pooler, and with a classifier on the pooled vector.

A row is one sequence, [CLS] kmers [SEP] [PAD]. B batch, L tokens, H hidden, P pooled, C labels.
"""

from typing import NamedTuple

from flax import nnx
from jaxtyping import Array, Float, Int

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.backbone import PLAIN, Backbone, Execution
from dnabert_jax.model.dropout import RowKeys, dropout, fold_in
from dnabert_jax.model.heads import Pooler, pooled_size
from dnabert_jax.model.layers import Dense
from dnabert_jax.model.segments import read_segments


class Pooled(NamedTuple):
    """What the encoder says of sequences.

    Attributes:
        hidden: last hidden state of each token, in the compute dtype.
        vector: of each sequence, in float32.
    """

    hidden: Float[Array, "B L H"]
    vector: Float[Array, "B P"]


class PooledBackbone(nnx.Module):
    """The encoder and the pooler of a task; without a task, transformers' BertModel."""

    def __init__(self, config: ModelConfig, task: TaskConfig | None = None, *, rngs: nnx.Rngs):
        self.backbone = Backbone(config, rngs=rngs)
        self.pooler = Pooler(config, task.pooling if task else "cls", rngs=rngs)

    def pooled(self, input_ids: Int[Array, "B L"], keys: RowKeys | None = None, execution: Execution = PLAIN) -> Pooled:
        """Hidden states and pooled vectors.

        Args:
            input_ids: one sequence a row.
            keys: of each row, for dropout in training; none for inference.
            execution: how to compute it.
        """
        hidden = self.backbone(input_ids, read_segments(input_ids), keys, execution)
        return Pooled(hidden, self.pooler(hidden, input_ids))


class SequenceClassifier(PooledBackbone):
    """Dropout and a dense layer on the pooled vector; with the pooling cls, transformers' class of this name."""

    def __init__(self, config: ModelConfig, task: TaskConfig, *, rngs: nnx.Rngs):
        super().__init__(config, task, rngs=rngs)
        self.classifier = classifier(config, task, rngs=rngs)
        self.first_key, self.dropout_rate = first_key(config), task.dropout

    def __call__(
        self, input_ids: Int[Array, "B L"], keys: RowKeys | None = None, execution: Execution = PLAIN
    ) -> Float[Array, "B C"]:
        """Logits, or predicted numbers, in float32; the arguments are those of `pooled`."""
        return self.classify(self.pooled(input_ids, keys, execution).vector[:, None], keys)

    def classify(self, vectors: Float[Array, "B 1 P"], keys: RowKeys | None = None) -> Float[Array, "B C"]:
        """The same from the pooled vector of each sequence, its only piece."""
        return self.classifier(drop_features(vectors[:, 0], self.dropout_rate, keys, self.first_key))


def classifier(config: ModelConfig, task: TaskConfig, *, rngs: nnx.Rngs) -> Dense:
    """Returns the last layer, from a pooled vector to a number for each label.

    On BERT's pooler it starts at random, as BERT's does; elsewhere at zero, so that the encoder is left alone until the
    head has learned something (the gradient of the encoder is zero at first).
    """
    scale = config.initializer_range if task.pooling == "cls" else 0.0
    return Dense(("pooled", pooled_size(config, task.pooling)), ("label", len(task.labels)), scale, rngs=rngs)


def first_key(config: ModelConfig) -> int:
    """The first number to fold into the keys of a row that the encoder does not use: embeddings 0, then the layers."""
    return config.num_layers + 1


def drop_features(x: Float[Array, "B H"], rate: float, keys: RowKeys | None, place: int) -> Float[Array, "B H"]:
    """Dropout on a vector a row.

    Args:
        keys: of each row; none mean no dropout.
        place: a number for each use of the keys.
    """
    return dropout(x[:, None], rate, keys and fold_in(keys, place))[:, 0]
