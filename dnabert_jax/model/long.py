"""Models for sequences of more than 512 tokens: pieces through the encoder, then one head over all.

Pieces are windows (`dnabert_jax.sequence.windows`), which may overlap, or the original's pieces. Windows that a
sequence does not have are masked out: its logits are the same alone and beside longer ones. The original knows no such
mask: the padding that fills a sequence up to `split` pieces goes through its encoder and its head like any piece, and
with weights that are imported (`TaskConfig.window` = 0) it does here.

The original's are BertForLongSequenceClassification (`dnalong`) and BertForLongSequenceClassificationCat
(`dnalongcat`) in src/transformers/modeling_bert.py of github.com/jerryji1993/DNABERT, whose weights are taken. Each
piece is a sequence of its own, [CLS] kmers [SEP] [PAD] (`dnabert_jax.sequence.windows`).

Attention does not see padding. In the original it does since its commit 1fcc2cc (June 2021; issue 102 there): a score
is raised by 1 for each token and by 0, rather than lowered by 10,000, for padding. So logits of its present code agree
where no piece has padding, and those of its code up to then agree everywhere.
B batch, T pieces, L tokens of a piece, H hidden, I inputs, A width of attention, C labels.
"""

import abc

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from dnabert_jax.config import ModelConfig, TaskConfig, require
from dnabert_jax.model.backbone import PLAIN, Execution
from dnabert_jax.model.classification import (
    PooledBackbone,
    SequenceClassifier,
    classifier,
    drop_features,
    first_key,
)
from dnabert_jax.model.dropout import RowKeys, dropout, fold_in
from dnabert_jax.model.heads import NEVER, masked_max, pooled_size
from dnabert_jax.model.layers import Dense
from dnabert_jax.sequence.vocabulary import PAD


def _lstm(_: Array, memory: Array, from_input: Array, from_state: Array) -> tuple[Array, Array]:
    entry, forget, candidate, output = jnp.split(from_input + from_state, 4, axis=-1)
    memory = jax.nn.sigmoid(forget) * memory + jax.nn.sigmoid(entry) * jnp.tanh(candidate)
    return jax.nn.sigmoid(output) * jnp.tanh(memory), memory


def _gru(hidden: Array, _: Array, from_input: Array, from_state: Array) -> tuple[Array, Array]:
    (reset, update, candidate), (state_reset, state_update, state_candidate) = (
        jnp.split(gates, 3, axis=-1) for gates in (from_input, from_state)
    )
    candidate = jnp.tanh(candidate + jax.nn.sigmoid(reset + state_reset) * state_candidate)
    update = jax.nn.sigmoid(update + state_update)
    hidden = (1 - update) * candidate + update * hidden
    return hidden, hidden


_CELLS = {"lstm": (4, _lstm), "gru": (3, _gru)}
"""Number of gates, and the step: the state, and the memory apart from it in an LSTM, after one more input."""


_ATTENTION_WIDTH = 128
"""Of the layer that scores windows: L of Ilse et al., section 4 and their code."""


class _PiecewiseClassifier(PooledBackbone):
    """The pooled vector of every piece, and a head over all."""

    def __init__(self, config: ModelConfig, task: TaskConfig, *, rngs: nnx.Rngs):
        super().__init__(config, task, rngs=rngs)
        self.first_key, self.dropout_rate, self.windows = first_key(config), task.dropout, task.window > 0

    def __call__(
        self, input_ids: Int[Array, "B T L"], keys: RowKeys | None = None, execution: Execution = PLAIN
    ) -> Float[Array, "B C"]:
        """Logits, or predicted numbers, in float32.

        Args:
            input_ids: the pieces of each sequence; for a concatenation as many as the task's `split`, else any number.
            keys: of each sequence, for dropout in training; none for inference.
            execution: how to compute it.
        """
        present = input_ids[:, :, 0] != PAD if self.windows else None
        return self.classify(self.pooled_pieces(input_ids, keys, execution), keys, present)

    def classify(
        self, vectors: Float[Array, "B T H"], keys: RowKeys | None = None, present: Bool[Array, "B T"] | None = None
    ) -> Float[Array, "B C"]:
        """The same from the pooled vectors of the pieces, of which those that are not present change nothing."""
        present = jnp.ones(vectors.shape[:2], bool) if present is None else present
        return self._of_vectors(vectors, present, keys)

    @abc.abstractmethod
    def _of_vectors(
        self, vectors: Float[Array, "B T H"], present: Bool[Array, "B T"], keys: RowKeys | None
    ) -> Float[Array, "B C"]:
        """Logits of each sequence."""

    def pooled_pieces(
        self, input_ids: Int[Array, "B T L"], keys: RowKeys | None = None, execution: Execution = PLAIN
    ) -> Float[Array, "B T H"]:
        batch, pieces, length = input_ids.shape
        if keys is not None:
            own = fold_in(RowKeys(*(word[:, None] for word in keys)), jnp.arange(pieces, dtype=jnp.int32))
            keys = RowKeys(*(word.reshape(-1) for word in own))
        return self.pooled(input_ids.reshape(-1, length), keys, execution).vector.reshape(batch, pieces, -1)


class RecurrentClassifier(_PiecewiseClassifier):
    """A bidirectional LSTM or GRU reads the pooled vectors; the last states of its layers and directions are summed."""

    def __init__(self, config: ModelConfig, task: TaskConfig, *, rngs: nnx.Rngs):
        super().__init__(config, task, rngs=rngs)
        self.rnn = Recurrence(pooled_size(config, task.pooling), task, self.first_key + 1, rngs=rngs)
        self.classifier = classifier(config, task, rngs=rngs)

    def _of_vectors(
        self, vectors: Float[Array, "B T H"], present: Bool[Array, "B T"], keys: RowKeys | None
    ) -> Float[Array, "B C"]:
        state = self.rnn(vectors, present, keys)
        return self.classifier(drop_features(state, self.dropout_rate, keys, self.first_key))


class ConcatenationClassifier(_PiecewiseClassifier):
    """The pooled vectors side by side through two dense layers, dropout before each and ReLU between them."""

    def __init__(self, config: ModelConfig, task: TaskConfig, *, rngs: nnx.Rngs):
        super().__init__(config, task, rngs=rngs)
        size = pooled_size(config, task.pooling)
        self.classifier1 = Dense(("pieces", task.split * size), ("pooled", size), config.initializer_range, rngs=rngs)
        self.classifier2 = classifier(config, task, rngs=rngs)

    def _of_vectors(
        self, vectors: Float[Array, "B T H"], present: Bool[Array, "B T"], keys: RowKeys | None
    ) -> Float[Array, "B C"]:
        x = jnp.where(present[:, :, None], vectors, 0).reshape(len(vectors), -1)
        x = self.classifier1(drop_features(x, self.dropout_rate, keys, self.first_key))
        return self.classifier2(drop_features(jax.nn.relu(x), self.dropout_rate, keys, self.first_key + 1))


class WindowClassifier(_PiecewiseClassifier):
    """The mean or the maximum of the pooled vectors, or their sum with weights from a small network (attention)."""

    def __init__(self, config: ModelConfig, task: TaskConfig, *, rngs: nnx.Rngs):
        super().__init__(config, task, rngs=rngs)
        self.long = task.long
        if task.long == "attention":
            self.window_attention = WindowAttention(pooled_size(config, task.pooling), rngs=rngs)
        self.classifier = classifier(config, task, rngs=rngs)

    def _of_vectors(
        self, vectors: Float[Array, "B T H"], present: Bool[Array, "B T"], keys: RowKeys | None
    ) -> Float[Array, "B C"]:
        if self.long == "max":
            pooled = masked_max(vectors, present)
        else:
            scores = self.window_attention(vectors) if self.long == "attention" else jnp.zeros(present.shape)
            weights = jax.nn.softmax(jnp.where(present, scores, NEVER), axis=1)
            pooled = jnp.einsum("BT,BTH->BH", weights, vectors)
        return self.classifier(drop_features(pooled, self.dropout_rate, keys, self.first_key))


class WindowAttention(nnx.Module):
    """The score of each window: a dense layer and tanh, times a learned query (equation 8 of Ilse et al.)."""

    def __init__(self, size: int, *, rngs: nnx.Rngs):
        width = _ATTENTION_WIDTH
        self.dense = Dense(("pooled", size), ("attention", width), (2 / (size + width)) ** 0.5, rngs=rngs)
        self.query = nnx.Param(width**-0.5 * jax.random.normal(rngs.params(), (width,)), axes=("attention",))

    def __call__(self, vectors: Float[Array, "B T H"]) -> Float[Array, "B T"]:
        return jnp.tanh(self.dense(vectors)) @ self.query[...]


class Recurrence(nnx.Module):
    """Layers of a bidirectional LSTM or GRU, as torch.nn.LSTM and torch.nn.GRU compute them, from a zero state.

    Kernels start as the original's do, by Xavier's normal distribution; biases start at zero.

    Args:
        size: of the input and of the state in one direction.
        task: kind, number of layers, and dropout between them.
        place: the first number to fold into the keys of a row.
    """

    def __init__(self, size: int, task: TaskConfig, place: int, *, rngs: nnx.Rngs):
        self.dropout_rate, self.place, self.count = task.rnn_dropout, place, task.num_rnn_layer
        for number in range(self.count):
            inputs = size if number == 0 else 2 * size
            for way in ("forward", "reverse"):
                setattr(self, f"{way}_{number}", _Direction(inputs, size, task.long, rngs=rngs))

    def __call__(
        self, x: Float[Array, "B T H"], present: Bool[Array, "B T"], keys: RowKeys | None
    ) -> Float[Array, "B H"]:
        """The sum of the last states of all layers and directions; what is not present leaves a state as it is."""
        total = jnp.zeros_like(x[:, 0])
        for number in range(self.count):
            if number > 0:
                x = dropout(x, self.dropout_rate, keys and fold_in(keys, self.place + number))
            forward, reverse = (getattr(self, f"{way}_{number}") for way in ("forward", "reverse"))
            ahead, back = forward(x, present), reverse(x[:, ::-1], present[:, ::-1])
            total = total + ahead[:, -1] + back[:, -1]
            x = jnp.concatenate([ahead, back[:, ::-1]], axis=-1)
        return total


class _Direction(nnx.Module):
    """One layer in one direction. The gates lie side by side in PyTorch's order: i, f, g, o or r, z, n."""

    def __init__(self, inputs: int, size: int, kind: str, *, rngs: nnx.Rngs):
        self.kind = kind
        gates = _CELLS[kind][0] * size
        of_input, of_state = ((2 / (fan_in + gates)) ** 0.5 for fan_in in (inputs, size))
        self.input = Dense(("pooled", inputs), ("gates", gates), of_input, rngs=rngs)
        self.state = Dense(("recurrent", size), ("gates", gates), of_state, rngs=rngs)

    def __call__(self, x: Float[Array, "B T I"], present: Bool[Array, "B T"]) -> Float[Array, "B T H"]:
        """The state after each piece."""
        zero = jnp.zeros((len(x), self.state.kernel.shape[0]), x.dtype)

        def step(carry: tuple[Array, Array], piece: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
            from_input, present = piece
            moved = _CELLS[self.kind][1](*carry, from_input, self.state(carry[0]))
            hidden, memory = (jnp.where(present[:, None], new, old) for new, old in zip(moved, carry, strict=True))
            return (hidden, memory), hidden

        _, states = jax.lax.scan(step, (zero, zero), (self.input(x).swapaxes(0, 1), present.T))
        return states.swapaxes(0, 1)


Classifier = SequenceClassifier | RecurrentClassifier | ConcatenationClassifier | WindowClassifier


def sequence_classifier(config: ModelConfig, task: TaskConfig, *, rngs: nnx.Rngs) -> Classifier:
    """The network of a task, with random weights. One for long sequences takes pieces, [B, T, L], others [B, L].

    Raises:
        InputError: windows are longer than the network takes.
    """
    most = config.longest
    require(
        task.window <= most, f"window is {task.window} tokens: the model takes at most {most}, without [CLS] and [SEP]."
    )
    if task.long == "none":
        return SequenceClassifier(config, task, rngs=rngs)
    if task.long == "concatenation":
        return ConcatenationClassifier(config, task, rngs=rngs)
    if task.long in ("lstm", "gru"):
        return RecurrentClassifier(config, task, rngs=rngs)
    return WindowClassifier(config, task, rngs=rngs)
