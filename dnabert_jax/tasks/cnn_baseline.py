"""A small convolutional network on the bases themselves: the other thing that a pre-trained model has to beat.

Motif detectors slide over the sequence, and what the best place and the mean place of each say goes through one hidden
layer: DeepBind (Alipanahi et al. 2015), in the form that Zeng et al. 2016 (10.1093/bioinformatics/btw255) found best
for the 690 ENCODE sets, one wide layer of detectors. Of two strands, the better counts at each place.

Letters: N examples, B of a batch, L ids or bases, P places of a detector, C outputs.
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
from jaxtyping import Array, Float, Float32, Integer, Num, UInt8

from dnabert_jax.config import TaskConfig, require, require_in
from dnabert_jax.errors import JobError
from dnabert_jax.sequence.buckets import bucket
from dnabert_jax.sequence.kmers import AMBIGUOUS, codes_of_ids
from dnabert_jax.tasks.finetune import probabilities
from dnabert_jax.tasks.finetune_config import FinetuneConfig
from dnabert_jax.tasks.jobs import epoch_order, learning_rate
from dnabert_jax.tasks.metrics import validation_metric
from dnabert_jax.tasks.selection import gain, learnable_labels, validation_figure
from dnabert_jax.training.objectives import sequence_losses
from dnabert_jax.training.state import Parameters, stream_key

_OTHER_STRAND = (1, 0, 3, 2)
"""A and T, C and G are neighbours among the codes of bases."""


@dataclasses.dataclass(frozen=True)
class CnnBaselineConfig:
    """The network and how it is trained.

    Attributes:
        detectors: of motifs.
        width: bases of a detector.
        hidden: units of the dense layer.
        dropout: rate before the dense layer and after it.
        reverse_complement: a detector looks at both strands, so that a sequence and its reverse complement are one.
        epochs: over the training split, at most.
        batch_size: sequences a step.
        peak_learning_rate: reached at the end of the warm-up; then it falls linearly to 0 at the end of the last epoch.
        warmup_share: of all steps.
        weight_decay: decoupled, on what is no bias.
        patience: epochs without a better validation figure after which it stops.
        select_by: metric of the validation split by which the best epoch is kept; the loss, unlike a share of right
            answers, tells any two apart.
    """

    detectors: int = 64
    width: int = 24
    hidden: int = 64
    dropout: float = 0.3
    reverse_complement: bool = True
    epochs: int = 20
    batch_size: int = 64
    peak_learning_rate: float = 3e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    patience: int = 4
    select_by: str = "loss"

    def __post_init__(self) -> None:
        require_in(self, 1, math.inf, "detectors", "width", "hidden", "epochs", "batch_size", "patience")
        require_in(self, 0, 1, "warmup_share")
        require_in(self, 0, math.inf, "weight_decay")
        require(0 <= self.dropout < 1, f"dropout is {self.dropout}: it must lie in [0, 1).")
        rate = self.peak_learning_rate
        require(0 < rate < math.inf, f"peak_learning_rate is {rate}: it must be above 0.")

    @property
    def description(self) -> str:
        """In words, for tables."""
        strands = ", strands merged" if self.reverse_complement else ""
        return f"CNN, {self.detectors} detectors of {self.width} bases{strands}"


@dataclasses.dataclass(frozen=True)
class CnnBaseline:
    """A fitted baseline.

    Attributes:
        task: problem and names of the labels.
        config: of the network and its training.
        k: letters of the k-mers whose ids it takes.
        epoch: that was the best, counted from 1.
        validation: after each epoch, the metric of the validation split by which it was chosen.
        losses: mean training loss of each epoch; in regression, of targets in units of their deviation.
        parameters: of the best epoch.
        centre: of each output, and
        scale: what the network's values are multiplied by before it is added; 0 and 1 but in regression.
        length: bases to which training sequences were padded.
    """

    task: TaskConfig
    config: CnnBaselineConfig
    k: int
    epoch: int
    validation: tuple[float, ...]
    losses: tuple[float, ...]
    parameters: Parameters
    centre: Float32[np.ndarray, " C"]
    scale: Float32[np.ndarray, " C"]
    length: int

    @property
    def description(self) -> str:
        """In words, for tables."""
        return self.config.description

    def scores(self, ids: Integer[np.ndarray, "N L"]) -> Float[np.ndarray, "N C"]:
        """Probabilities of the labels, or values, as `metrics.measure` takes them."""
        codes = _padded(codes_of_ids(ids, self.k), self.length)
        network = _Network(self.config, self.task.without_names)
        return _scores(network, self.parameters, codes, self.centre, self.scale)


class _Detectors(nnx.Module):
    """The network, from codes of bases to logits or values."""

    def __init__(self, config: CnnBaselineConfig, outputs: int, *, rngs: nnx.Rngs):
        count, width = config.detectors, config.width
        self._both = config.reverse_complement
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

    def _pooled(self, codes: UInt8[Array, "B L"]) -> Float[Array, "B D2"]:
        """What each detector says at its best place, and in the mean of all.

        Places are all those where a detector sees a base; so it does not matter where in a row a sequence lies.
        """
        kernel = self.kernel[...]
        width, _, count = kernel.shape
        # An ambiguous letter is no base: all zeros. As one product of matrices this is 3 times as fast on a CPU as a
        # convolution of four channels.
        bases = jnp.pad(jax.nn.one_hot(codes, 4), ((0, 0), (width - 1, width - 1), (0, 0)))
        places = codes.shape[1] + width - 1
        seen = jnp.concatenate([bases[:, first : first + places] for first in range(width)], axis=-1)
        strands = [kernel, kernel[::-1, _OTHER_STRAND, :]] if self._both else [kernel]
        found = seen @ jnp.concatenate(strands, axis=-1).reshape(4 * width, -1)
        found = found.reshape(*found.shape[:2], len(strands), count).max(axis=2)
        inside = seen.any(axis=-1, keepdims=True)
        found = jnp.where(inside, nnx.relu(found + self.bias[...]), 0)
        mean = found.sum(axis=1) / jnp.maximum(inside.sum(axis=1), 1)
        return jnp.concatenate([found.max(axis=1), mean], axis=-1)


@dataclasses.dataclass(frozen=True)
class _Network:
    """What is compiled for: data sets whose tasks differ in nothing but names share it.

    Attributes:
        config: of the network.
        task: without its names.
    """

    config: CnnBaselineConfig
    task: TaskConfig

    def bind(self, parameters: Parameters) -> Any:
        """The module with these parameters."""
        return nnx.merge(nnx.split(nnx.eval_shape(lambda: self.make(nnx.Rngs(0))))[0], parameters)

    def make(self, rngs: nnx.Rngs) -> _Detectors:
        """The module with fresh parameters."""
        return _Detectors(self.config, len(self.task.labels), rngs=rngs)

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW but for the learning rate."""
        return optax.chain(
            optax.scale_by_adam(),
            optax.add_decayed_weights(self.config.weight_decay, lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)),
        )


def fit_cnn_baseline(
    task: TaskConfig,
    config: CnnBaselineConfig,
    k: int,
    train: tuple[Integer[np.ndarray, "N L"], Num[np.ndarray, "N ..."]],
    validation: tuple[Integer[np.ndarray, "M K"], Num[np.ndarray, "M ..."]],
    seed: int,
) -> CnnBaseline:
    """Trains on the training split and keeps the epoch that is best on the validation split.

    Args:
        task: what is to be predicted.
        config: of the network and its training.
        k: letters of the k-mers.
        train: ids of k-mers, one sequence a row, with [PAD] or other special tokens where there is none; and labels.
        validation: the same of the validation split, on which nothing is trained.
        seed: of the initial parameters, the order of sequences and dropout; with it, all is determined.

    Raises:
        InputError: an output that is always the same in the training split, labels that cannot be measured, or a metric
            that the task has not, or the validation split does not define.
        JobError: a loss that is not finite.
    """
    metric = validation_metric(task, config.select_by)
    labels = learnable_labels(task, train[1], len(train[0]))
    codes, held_out = (codes_of_ids(ids, k) for ids in (train[0], validation[0]))
    codes = _padded(codes, held_out.shape[1])
    held_out = _padded(held_out, codes.shape[1])
    targets, centre, scale = _targets(task, labels)
    schedule = FinetuneConfig(peak_learning_rate=config.peak_learning_rate, warmup_share=config.warmup_share)
    network = _Network(config, task.without_names)
    parameters = best = _initial(network, seed)
    moments = network.optimizer().init(parameters)
    steps = -(-len(codes) // config.batch_size)
    figures: list[float] = []
    losses: list[float] = []
    for epoch in range(1, config.epochs + 1):
        order = epoch_order(len(codes), seed, epoch)
        of_steps = []
        for number in range(steps):
            step = (epoch - 1) * steps + number
            chosen = order[number * config.batch_size : (number + 1) * config.batch_size]
            batch = _batch(chosen, config.batch_size, codes, targets)
            rate = learning_rate(schedule, step, steps * config.epochs)
            parameters, moments, loss = _step(network, parameters, moments, *batch, np.float32(rate), seed, step)
            of_steps.append(loss)
        losses.append(float(np.mean(jax.device_get(of_steps))))
        if not math.isfinite(losses[-1]):
            raise JobError(f"The CNN's loss is not finite in epoch {epoch}: lower peak_learning_rate.")
        scores = _scores(network, parameters, held_out, centre, scale)
        figures.append(validation_figure(task, metric, scores, validation[1]))
        gains = [gain(metric, figure) for figure in figures]
        if gains[-1] > max(gains[:-1], default=-math.inf):
            best = parameters
        if epoch - 1 - int(np.argmax(gains)) >= config.patience:
            break
    chosen_epoch = int(np.argmax(gains)) + 1
    kept = jax.device_get(best)
    return CnnBaseline(
        task, config, k, chosen_epoch, tuple(figures), tuple(losses), kept, centre, scale, codes.shape[1]
    )


def _padded(codes: UInt8[np.ndarray, "N L"], shortest: int) -> UInt8[np.ndarray, "N M"]:
    """Rows as long as one of few lengths, at least as `shortest` asks for."""
    length = max(shortest, codes.shape[1])
    return np.pad(codes, ((0, 0), (0, bucket(length, 2 * length) - codes.shape[1])), constant_values=AMBIGUOUS)


def _targets(
    task: TaskConfig, labels: Num[np.ndarray, "N ..."]
) -> tuple[Float32[np.ndarray, "N C"], Float32[np.ndarray, " C"], Float32[np.ndarray, " C"]]:
    """What is learned, and centre and scale of it: of several targets each counts alike, in whatever unit it is."""
    count = len(task.labels)
    centre, scale = np.zeros(count, np.float32), np.ones(count, np.float32)
    if task.problem == "single_label_classification":
        return np.eye(count, dtype=np.float32)[labels], centre, scale
    if task.problem == "regression":
        centre, scale = labels.mean(axis=0).astype(np.float32), labels.std(axis=0).astype(np.float32)
    return ((labels - centre) / scale).astype(np.float32), centre, scale


def _batch(
    chosen: Integer[np.ndarray, " R"], size: int, codes: UInt8[np.ndarray, "N L"], targets: Float32[np.ndarray, "N C"]
) -> tuple[UInt8[np.ndarray, "B L"], Float32[np.ndarray, "B C"], Float32[np.ndarray, " B"]]:
    """Rows, targets and the weight of each in the mean; those that fill up the last batch of an epoch have none."""
    filled = np.resize(chosen, size)
    weights = (np.arange(size) < len(chosen)) / len(chosen)
    return codes[filled], targets[filled], weights.astype(np.float32)


# The jitted functions are those of the module, so that hundreds of data sets of one shape are compiled for once.


@functools.partial(jax.jit, static_argnums=0)
def _initial(network: _Network, seed: int) -> Parameters:
    module = network.make(nnx.Rngs(params=stream_key(seed, "parameters", 0)))
    return nnx.to_pure_dict(nnx.state(module, nnx.Param))


@functools.partial(jax.jit, static_argnums=0)
def _step(
    network: _Network,
    parameters: Parameters,
    moments: optax.OptState,
    codes: UInt8[Array, "B L"],
    targets: Float[Array, "B C"],
    weights: Float[Array, " B"],
    rate: Float[Array, ""],
    seed: Integer[Array, ""],
    step: Integer[Array, ""],
) -> tuple[Parameters, optax.OptState, Float[Array, ""]]:
    def loss(parameters: Parameters) -> Array:
        logits = network.bind(parameters)(codes, stream_key(seed, "dropout", step))
        return (weights * sequence_losses(network.task, logits, targets)).sum()

    value, gradients = jax.value_and_grad(loss)(parameters)
    updates, moments = network.optimizer().update(gradients, moments, parameters)
    return jax.tree.map(lambda old, update: old - rate * update, parameters, updates), moments, value


@functools.partial(jax.jit, static_argnums=0)
def _logits(network: _Network, parameters: Parameters, codes: UInt8[Array, "B L"]) -> Float[Array, "B C"]:
    return network.bind(parameters)(codes)


def _scores(
    network: _Network,
    parameters: Parameters,
    codes: UInt8[np.ndarray, "N L"],
    centre: Float32[np.ndarray, " C"],
    scale: Float32[np.ndarray, " C"],
) -> Float[np.ndarray, "N C"]:
    size = network.config.batch_size
    batches = []
    for first in range(0, len(codes), size):
        rows = codes[first : first + size]
        filler = np.full((size - len(rows), rows.shape[1]), AMBIGUOUS, np.uint8)
        batches.append(_logits(network, parameters, np.concatenate([rows, filler])))
    logits = np.concatenate(jax.device_get(batches))[: len(codes)]
    return probabilities(network.task, logits * scale + centre)
