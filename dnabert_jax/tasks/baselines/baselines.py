"""Fits baselines by name: regressions on k-mers (`linear.py`), and a small convolutional network on the bases.

They see the very splits that a model is fine-tuned and measured on, which has to beat them.

The network follows DeepBind (Alipanahi et al. 2015): motif detectors slide over the sequence, and what the best place
and the mean place of each say goes through one hidden layer. Of detectors it has one wide layer, which Zeng et al. 2016
(10.1093/bioinformatics/btw255) found best for the 690 ENCODE sets. Of two strands, the better counts at each place.

It has a training loop of its own: that of `tasks/finetuning` is for encoders of token ids, in lockstep, with
checkpoints and restarts.

Letters: N examples, B of a batch, L bases, C outputs.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Float32, Integer, UInt8

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import JobError
from dnabert_jax.model.binding import bind, random_parameters
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.sequence.buckets import bucket
from dnabert_jax.tasks.baselines.linear import (
    KmerBaselineConfig,
    LabelledRows,
    fit_kmer_baseline,
    kmer_features,
    learnable_labels,
    model_scores,
)
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.datasets.labels import label_matrix
from dnabert_jax.tasks.datasets.layout import SPLITS
from dnabert_jax.tasks.datasets.sequences import Sequences
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.encoding import epoch_order
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.training.state import Parameters, stream_key

_LONGEST = 1 << 30
"""No sequence is too long for detectors."""

_OTHER_STRAND = np.array([1, 0, 3, 2])
"""A and T, C and G are neighbours among the codes of bases."""


@dataclasses.dataclass(frozen=True)
class CnnBaselineConfig:
    """The network and how it is trained.

    Attributes:
        dropout: rate before the dense layer and after it.
        epochs: over the training split, at most, and
        least_steps: updates there is time for, however small the split: the loss falls only when a detector has found a
            motif, on 2,000 sequences of CEBPB after some 400.
        peak_learning_rate: reached at the end of the warm-up; then it falls linearly to 0 at the end of the last epoch.
        weight_decay: decoupled, on what is no bias.
        patience: epochs without a better validation figure after which it stops, if they are
        patience_steps: updates or more.
    """

    detectors: int = 64
    width: int = 24
    hidden: int = 64
    dropout: float = 0.3
    epochs: int = 20
    least_steps: int = 1500
    batch_size: int = 32
    peak_learning_rate: float = 3e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    patience: int = 3
    patience_steps: int = 700

    def description(self, _: TaskConfig) -> str:
        """Returns what is fitted, in words for tables."""
        return f"CNN, {self.detectors} detectors of {self.width} bases, strands merged"


class MotifCnn(nnx.Module):
    """Motif detectors, the best and the mean place of each, and one hidden layer."""

    def __init__(self, config: CnnBaselineConfig, outputs: int, *, rngs: nnx.Rngs):
        count, width = config.detectors, config.width
        self._count = count
        self.kernel = nnx.Param(nnx.initializers.lecun_normal(in_axis=(0, 1))(rngs.params(), (width, 4, count)))
        self.bias = nnx.Param(jnp.zeros(count))
        self.hidden = nnx.Linear(2 * count, config.hidden, rngs=rngs)
        self.output = nnx.Linear(config.hidden, outputs, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    def __call__(self, codes: UInt8[Array, "B L"], key: Array | None = None) -> Float[Array, "B C"]:
        """Without a key nothing is dropped out."""
        rngs = None if key is None else nnx.Rngs(dropout=key)
        drop = functools.partial(self.dropout, deterministic=key is None, rngs=rngs)
        return self.output(drop(nnx.relu(self.hidden(drop(self._pooled(codes))))))

    def _pooled(self, codes: UInt8[Array, "B L"]) -> Float[Array, "B {2*self._count}"]:
        """What each detector says at its best place, and in the mean of all.

        Places are all those where a detector sees a base; so it does not matter where in a row a sequence lies.
        """
        kernel = self.kernel[...]
        width, _, count = kernel.shape
        # An ambiguous letter is no base: all zeros. Both strands are one product of matrices.
        bases = jnp.pad(jax.nn.one_hot(codes, 4), ((0, 0), (width - 1, width - 1), (0, 0)))
        places = codes.shape[1] + width - 1
        seen = jnp.concatenate([bases[:, first : first + places] for first in range(width)], axis=-1)
        strands = jnp.concatenate([kernel, kernel[::-1, _OTHER_STRAND, :]], axis=-1)
        matches = seen @ strands.reshape(4 * width, -1)
        matches = matches.reshape(*matches.shape[:2], 2, count).max(axis=2)
        inside = seen.any(axis=-1, keepdims=True)
        matches = jnp.where(inside, nnx.relu(matches + self.bias[...]), 0)
        mean = matches.sum(axis=1) / jnp.maximum(inside.sum(axis=1), 1)
        return jnp.concatenate([matches.max(axis=1), mean], axis=-1)


@dataclasses.dataclass(frozen=True)
class CnnBaseline:
    """A fitted baseline.

    Attributes:
        task: without names, so that one compiled program serves all data sets of its shape.
        epoch: that was the best, counted from 1.
        validation: after each epoch, the loss on the validation split.
        centre: of each output, and
        scale: what the network's values are multiplied by before it is added; 0 and 1 but in regression.
        length: bases to which training sequences were padded.
    """

    config: CnnBaselineConfig
    task: TaskConfig
    epoch: int
    validation: tuple[float, ...]
    parameters: Parameters
    centre: Float32[np.ndarray, " C"]
    scale: Float32[np.ndarray, " C"]
    length: int

    @fixed_settings()
    def scores(self, codes: UInt8[np.ndarray, "N L"]) -> Float[np.ndarray, "N C"]:
        """Returns probabilities of the labels, or values, as `metrics.measure` takes them."""
        scores = _scores(self.config, self.task, self.parameters, _padded(codes, self.length))
        return scores * self.scale + self.centre


@fixed_settings()
def fit_cnn_baseline(
    task: TaskConfig, config: CnnBaselineConfig, train: LabelledRows, validation: LabelledRows, seed: int
) -> CnnBaseline:
    """Trains on the training split and keeps the epoch of the least loss on the validation split.

    The loss, unlike the share of right answers, tells any two epochs apart.

    Args:
        train: codes of bases, a sequence per row, padded with AMBIGUOUS on any side; and labels.
        validation: the same of the validation split, on which nothing is trained.

    Raises:
        InputError: an output that is always the same in the training split, or labels that cannot be measured.
        JobError: a loss that is not finite.
    """
    labels = learnable_labels(task, train[1], len(train[0]))
    codes = _padded(train[0], validation[0].shape[1])
    held_out = _padded(validation[0], codes.shape[1])
    centre, scale = np.zeros(len(task.labels), np.float32), np.ones(len(task.labels), np.float32)
    if not task.kind.has_classes:  # of several targets each counts alike, in whatever unit it is
        centre, scale = labels.mean(axis=0).astype(np.float32), labels.std(axis=0).astype(np.float32)
        labels = (labels - centre) / scale
    targets = label_matrix(labels, len(task.labels))
    schedule = FinetuneConfig(peak_learning_rate=config.peak_learning_rate, warmup_share=config.warmup_share)
    nameless, size = task.without_names, config.batch_size
    parameters = best = _initial(config, nameless, seed)
    moments = _optimizer(config, 0.0).init(parameters)
    steps = -(-len(codes) // size)
    epochs = max(config.epochs, -(-config.least_steps // steps))
    patience = max(config.patience, -(-config.patience_steps // steps))
    figures: list[Any] = []
    for epoch in range(epochs):
        order, losses = epoch_order(len(codes), seed, epoch + 1), []
        for number in range(steps):
            step = epoch * steps + number
            rows = order[number * size : (number + 1) * size]
            # The last batch of an epoch is filled up with rows of no weight.
            weights = ((np.arange(size) < len(rows)) / len(rows)).astype(np.float32)
            rows = np.resize(rows, size)
            rate = np.float32(schedule.learning_rate(step, steps * epochs))
            batch = codes[rows], targets[rows], weights
            parameters, moments, loss = _step(config, nameless, parameters, moments, batch, rate, seed, step)
            losses.append(loss)
        if not math.isfinite(np.mean(jax.device_get(losses))):
            raise JobError(f"The CNN's loss is not finite in epoch {epoch + 1}: lower peak_learning_rate.")
        scores = _scores(config, nameless, parameters, held_out) * scale + centre
        # The loss is always defined.
        figures.append(measure(task, scores, validation[1], resamples=0).values["loss"].value)
        best_epoch = int(np.argmin(figures))
        if best_epoch == epoch:
            best = parameters
        elif epoch - best_epoch >= patience:
            break
    return CnnBaseline(
        config, nameless, best_epoch + 1, tuple(figures), jax.device_get(best), centre, scale, codes.shape[1]
    )


def _padded(codes: UInt8[np.ndarray, "N L"], shortest: int) -> UInt8[np.ndarray, "N M"]:
    """Returns rows as long as one of few lengths, at least as `shortest` asks for."""
    length = max(shortest, codes.shape[1])
    return np.pad(codes, ((0, 0), (0, bucket(length, _LONGEST) - codes.shape[1])), constant_values=AMBIGUOUS)


def _optimizer(config: CnnBaselineConfig, rate: Float[Array, ""] | float) -> optax.GradientTransformation:
    decayed = functools.partial(jax.tree.map, lambda parameter: parameter.ndim > 1)
    return optax.adamw(rate, weight_decay=config.weight_decay, mask=decayed)


# The jitted functions are those of the module, so that hundreds of data sets of one shape are compiled for once.
_jit = functools.partial(jax.jit, static_argnums=(0, 1))


@_jit
def _initial(config: CnnBaselineConfig, task: TaskConfig, seed: Integer[Array, ""]) -> Parameters:
    return random_parameters(MotifCnn, stream_key(seed, "parameters", 0), config, len(task.labels))


@_jit
def _step(
    config: CnnBaselineConfig,
    task: TaskConfig,
    parameters: Parameters,
    moments: optax.OptState,
    batch: tuple[UInt8[Array, "B L"], Float[Array, "B C"], Float[Array, " B"]],
    rate: Float[Array, ""],
    seed: Integer[Array, ""],
    step: Integer[Array, ""],
) -> tuple[Parameters, optax.OptState, Float[Array, ""]]:
    """Returns the next parameters and moments, and the loss; a row counts by its weight."""
    codes, targets, weights = batch

    def loss(parameters: Parameters) -> Array:
        network: Any = bind(MotifCnn, parameters, config, len(task.labels))
        logits = network(codes, stream_key(seed, "dropout", step))
        return (weights * task.kind.losses(logits, targets)).sum()

    value, gradients = jax.value_and_grad(loss)(parameters)
    updates, moments = _optimizer(config, rate).update(gradients, moments, parameters)
    return optax.apply_updates(parameters, updates), moments, value


@_jit
def _batch_scores(
    config: CnnBaselineConfig, task: TaskConfig, parameters: Parameters, codes: UInt8[Array, "B L"]
) -> Float[Array, "B C"]:
    network: Any = bind(MotifCnn, parameters, config, len(task.labels))
    return task.kind.probabilities(network(codes))


def _scores(
    config: CnnBaselineConfig, task: TaskConfig, parameters: Parameters, codes: UInt8[np.ndarray, "N L"]
) -> Float[np.ndarray, "N C"]:
    """Returns probabilities, or values in units of the targets' deviation."""
    size = config.batch_size
    batches = np.resize(np.arange(len(codes)), (-(-len(codes) // size), size))
    scores = [_batch_scores(config, task, parameters, codes[rows]) for rows in batches]
    return np.concatenate(jax.device_get(scores))[: len(codes)]


BASELINES: dict[str, KmerBaselineConfig | CnnBaselineConfig] = {
    "kmer": KmerBaselineConfig(longest=6),
    "gapped-kmer": KmerBaselineConfig(),
    "cnn": CnnBaselineConfig(),
}
"""What `baseline_scores` fits, by name."""


def baseline_scores(name: str, data: LabelledData, seed: int) -> Float[np.ndarray, "n C"]:
    """Fits a baseline to the training split, chooses by the validation split, and returns scores of the test split.

    Args:
        data: with the splits train, validation and test, of sequences of whatever length.
        seed: has no effect on logistic and ridge regression, where nothing is random.

    Raises:
        JobError: a fit that does not come out.
    """
    config = BASELINES[name]
    splits = (data.splits[split] for split in SPLITS)
    train, validation, (test, _) = ((_rows_of_codes(rows.sequences), rows.labels) for rows in splits)
    if isinstance(config, CnnBaselineConfig):
        return fit_cnn_baseline(data.task, config, train, validation, seed).scores(test)
    models = fit_kmer_baseline(data.task, config, train, validation)
    return model_scores(data.task, models, kmer_features(test, config))


def _rows_of_codes(sequences: Sequences) -> UInt8[np.ndarray, "n L"]:
    """Returns the codes of the bases of each sequence in a row, with AMBIGUOUS around them."""
    # At least one on either side, as [CLS] and [SEP] were once, so that the CNN's sums round as they always have.
    codes = np.full((len(sequences), sequences.lengths.max() + 2), AMBIGUOUS, np.uint8)
    for row in range(len(sequences)):
        codes[row, 1 : 1 + sequences.lengths[row]] = sequences[row]
    return codes
