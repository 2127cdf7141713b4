"""A small convolutional network on the bases themselves: the other thing that a pre-trained model has to beat.

Motif detectors slide over the sequence, and what the best place and the mean place of each say goes through one hidden
layer: DeepBind (Alipanahi et al. 2015), in the form that Zeng et al. 2016 (10.1093/bioinformatics/btw255) found best
for the 690 ENCODE sets, one wide layer of detectors. Of two strands, the better counts at each place.

Letters: N examples, B of a batch, L ids or bases, C outputs.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Array, Float, Float32, Integer, Num, UInt8

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import JobError
from dnabert_jax.model.binding import bind, random_parameters
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.sequence.buckets import bucket
from dnabert_jax.sequence.kmers import AMBIGUOUS, codes_of_ids
from dnabert_jax.tasks.baselines.motif_cnn import CnnBaselineConfig, MotifCnn
from dnabert_jax.tasks.baselines.selection import gain, learnable_labels, validation_figure
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.jobs import epoch_order, learning_rate
from dnabert_jax.tasks.measures.metrics import validation_metric
from dnabert_jax.training.objectives import sequence_losses
from dnabert_jax.training.state import Parameters, stream_key

_LONGEST = 1 << 30
"""No sequence is too long for detectors."""


@dataclasses.dataclass(frozen=True)
class CnnBaseline:
    """A fitted baseline.

    Attributes:
        k: letters of the k-mers whose ids it takes.
        epoch: that was the best, counted from 1.
        validation: after each epoch, the metric of the validation split by which it was chosen.
        losses: mean training loss of each epoch; in regression, of targets in units of their deviation.
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

    @fixed_settings()
    def scores(self, ids: Integer[np.ndarray, "N L"]) -> Float[np.ndarray, "N C"]:
        """Probabilities of the labels, or values, as `metrics.measure` takes them."""
        codes = _padded(codes_of_ids(ids, self.k), self.length)
        network = _Network(self.config, self.task.without_names)
        return _scores(network, self.parameters, codes, self.centre, self.scale)


@dataclasses.dataclass(frozen=True)
class _Network:
    """The shapes and settings of a compiled program; data sets whose tasks differ only in names share it."""

    config: CnnBaselineConfig
    task: TaskConfig

    def bind(self, parameters: Parameters) -> Any:
        """The module with these parameters."""
        return bind(MotifCnn, parameters, self.config, len(self.task.labels))

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW but for the learning rate."""
        return optax.chain(
            optax.scale_by_adam(),
            optax.add_decayed_weights(self.config.weight_decay, lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)),
        )


@fixed_settings()
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
        train: ids of k-mers, one sequence a row, with [PAD] or other special tokens where there is none; and labels.
        validation: the same of the validation split, on which nothing is trained.

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
    epochs = max(config.epochs, -(-config.least_steps // steps))
    patience = max(config.patience, -(-config.patience_steps // steps))
    for epoch in range(1, epochs + 1):
        order = epoch_order(len(codes), seed, epoch)
        of_steps = []
        for number in range(steps):
            step = (epoch - 1) * steps + number
            chosen = order[number * config.batch_size : (number + 1) * config.batch_size]
            batch = _batch(chosen, config.batch_size, codes, targets)
            rate = learning_rate(schedule, step, steps * epochs)
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
        if epoch - 1 - int(np.argmax(gains)) >= patience:
            break
    chosen_epoch = int(np.argmax(gains)) + 1
    kept = jax.device_get(best)
    return CnnBaseline(
        task, config, k, chosen_epoch, tuple(figures), tuple(losses), kept, centre, scale, codes.shape[1]
    )


def _padded(codes: UInt8[np.ndarray, "N L"], shortest: int) -> UInt8[np.ndarray, "N M"]:
    """Rows as long as one of few lengths, at least as `shortest` asks for."""
    length = max(shortest, codes.shape[1])
    return np.pad(codes, ((0, 0), (0, bucket(length, _LONGEST) - codes.shape[1])), constant_values=AMBIGUOUS)


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
def _initial(network: _Network, seed: Integer[Array, ""]) -> Parameters:
    key = stream_key(seed, "parameters", 0)
    return random_parameters(MotifCnn, key, network.config, len(network.task.labels))


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
def _answers(network: _Network, parameters: Parameters, codes: UInt8[Array, "B L"]) -> Float[Array, "B C"]:
    """Probabilities, or values in units of the targets' deviation."""
    logits = network.bind(parameters)(codes)
    if network.task.problem == "regression":
        return logits
    single = network.task.problem == "single_label_classification"
    return jax.nn.softmax(logits) if single else jax.nn.sigmoid(logits)


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
        batches.append(_answers(network, parameters, np.concatenate([rows, filler])))
    return np.concatenate(jax.device_get(batches))[: len(codes)] * scale + centre
