"""Fine-tuning on the host's side: epochs, early stopping, the best epoch, and jobs that begin anew.

J jobs, B sequences, L tokens, C labels.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import JobError
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.tasks.encoding import batch_shape
from dnabert_jax.tasks.finetune_config import FinetuneConfig
from dnabert_jax.tasks.jobs import EncodedSplit, Job, epoch_order, learning_rate, smoothed, total_steps
from dnabert_jax.tasks.lockstep import JOB, Batch, JobsState, Lockstep, Turn, jobs_mesh
from dnabert_jax.tasks.trainable import split_trainable, stacked, whole_model
from dnabert_jax.training.state import Parameters, stream_key

_EVALUATED_TOGETHER = 4
"""Batches of fine-tuning in one of prediction, which keeps nothing for a backward pass; fewer of many windows."""


@dataclasses.dataclass
class Fitted:
    """A job that was trained.

    Attributes:
        name: of the job.
        seed: that it ended with.
        parameters: of the best epoch, the whole model, on the host.
        epoch: that was the best, counted from 1.
        losses: mean training loss of each epoch.
        figures: the selecting figure of the validation split after each epoch.
        collapsed: how many times it did, and began anew.
        seconds: of wall time, shared by the jobs that ran with it.
    """

    name: str
    seed: int
    parameters: Parameters
    epoch: int
    losses: list[float]
    figures: list[float]
    collapsed: int
    seconds: float


Score = Callable[[Float[np.ndarray, "n C"], Float[np.ndarray, "n C"]], float]
"""(logits, targets) of the validation split to a figure that is the better, the higher it is."""

Collapsed = Callable[[Float[np.ndarray, "n C"], Float[np.ndarray, "n C"]], bool]
"""(logits, targets): whether the classifier says the same of everything."""


@runtime_checkable
class FittingObserver(Protocol):
    """Is told what happens, for a progress bar."""

    def stepped(self, done: int, total: int) -> None:
        """`done` more steps of lockstep are made, of `total` at most."""

    def epoch_ended(self, job: str, epoch: int, loss: float, figure: float) -> None:
        """A job made an epoch."""

    def restarted(self, job: str, seed: int) -> None:
        """A job collapsed and begins anew with another seed."""


@dataclasses.dataclass(frozen=True)
class Fitting:
    """Fine-tunes jobs that share a model, a task and a configuration.

    Attributes:
        model: of the network.
        parameters: to begin with; parts that the task needs and that are not there start at random.
        task: what is predicted.
        config: how.
        score: of an epoch.
        collapsed: of a trained job.
        devices: to use.
    """

    model: ModelConfig
    parameters: Parameters
    task: TaskConfig
    config: FinetuneConfig
    score: Score
    collapsed: Collapsed
    devices: Sequence[jax.Device]

    def run(self, jobs: Sequence[Job], observer: FittingObserver) -> list[Fitted]:
        """Trains all jobs in lockstep, and those that collapse once more.

        Raises:
            JobError: a loss is not finite.
        """
        fitted: dict[int, Fitted] = {}
        waiting = dict(enumerate(jobs))
        for attempt in range(self.config.restarts + 1):
            runs = _Group(self, list(waiting.values())).run(observer)
            collapsed = {}
            for (number, job), (result, has_collapsed) in zip(waiting.items(), runs, strict=True):
                result.collapsed = attempt + has_collapsed
                fitted[number] = result
                if has_collapsed and attempt < self.config.restarts:
                    # Seeds of other jobs are near: this one is far from them.
                    collapsed[number] = dataclasses.replace(job, seed=job.seed + 1_000_003)
                    observer.restarted(job.name, collapsed[number].seed)
            waiting = collapsed
            if not waiting:
                break
        return [fitted[number] for number in range(len(jobs))]

    def predict(self, models: Sequence[Parameters], splits: Sequence[EncodedSplit]) -> list[Float[np.ndarray, "n C"]]:
        """Logits, or values, that whole models give, each for the sequences of its split; in lockstep."""
        return _Group(self, [Job("", split, split, 0) for split in splits]).predict(models, splits)


class _Group:
    """Jobs that are trained together, once."""

    def __init__(self, fitting: Fitting, jobs: list[Job]):
        self._fitting, self._jobs, self._config = fitting, jobs, fitting.config
        model, task = fitting.model, fitting.task
        if self._config.dropout is not None:
            rate = self._config.dropout
            model = dataclasses.replace(model, dropout=rate, attention_dropout=rate)
            task = dataclasses.replace(task, dropout=rate)
        mesh = jobs_mesh(fitting.devices, len(jobs), self._config.batch_size)
        self._lockstep = Lockstep(model, task, self._config, mesh)
        along = mesh.shape[JOB]
        # Jobs that fill up the mesh repeat the last one, and never move.
        self._places = [*range(len(jobs)), *[len(jobs) - 1] * (-len(jobs) % along)]
        self._step, self._predict = self._lockstep.train_step(), self._lockstep.predict()
        self._keep_best = self._lockstep.keep_best()

    def run(self, observer: FittingObserver) -> list[tuple[Fitted, bool]]:
        begin = time.monotonic()
        frozen, state = self._start()
        results = [Fitted(job.name, job.seed, {}, 0, [], [], 0, 0.0) for job in self._jobs]
        best_logits: list[np.ndarray] = [np.empty(0)] * len(self._jobs)
        running = [True] * len(self._jobs)
        for epoch in range(1, self._config.epochs + 1):
            state = self._train_epoch(frozen, state, epoch, running, results, observer)
            logits = self._logits(frozen, state.trainable, [job.validation for job in self._jobs])
            improved = np.zeros(len(self._places), np.int32)
            for number, (job, result) in enumerate(zip(self._jobs, results, strict=True)):
                if not running[number]:
                    continue
                figure = self._fitting.score(logits[number], job.validation.targets)
                if not result.figures or figure > max(result.figures):
                    improved[number], result.epoch, best_logits[number] = 1, epoch, logits[number]
                result.figures.append(figure)
                observer.epoch_ended(job.name, epoch, result.losses[-1], figure)
                impatient = self._config.patience and epoch - result.epoch >= self._config.patience
                running[number] = self._steps(job, epoch + 1) > 0 and not impatient
            state = self._keep_best(state, self._lockstep.place(improved))
            if not any(running):
                break
        best, shared = jax.device_get(state.best), jax.device_get(frozen)
        for number, result in enumerate(results):
            own = jax.tree.map(lambda leaf, number=number: leaf[number], best)
            result.parameters = jax.tree.map(np.asarray, whole_model(shared, own, self._config))
            result.seconds = time.monotonic() - begin
        verdicts = [
            self._fitting.collapsed(logits, job.validation.targets)
            for logits, job in zip(best_logits, self._jobs, strict=True)
        ]
        return list(zip(results, verdicts, strict=True))

    def predict(self, models: Sequence[Parameters], splits: Sequence[EncodedSplit]) -> list[np.ndarray]:
        together = self._lockstep.place(stacked([models[place] for place in self._places]))
        return self._logits({}, together, list(splits))

    def _start(self) -> tuple[Parameters, JobsState]:
        frozen: Parameters = {}
        trainable = []
        for place in self._places:
            seed = self._jobs[place].seed
            parameters = with_fresh_heads(self._fitting.parameters, self._fitting.model, self._fitting.task, seed)
            frozen, own = split_trainable(parameters, self._config, seed)
            trainable.append(own)
        return self._lockstep.share(frozen), self._lockstep.start(stacked(trainable))

    def _train_epoch(
        self,
        frozen: Parameters,
        state: JobsState,
        epoch: int,
        running: list[bool],
        results: list[Fitted],
        observer: FittingObserver,
    ) -> JobsState:
        steps = [self._steps(job, epoch) if runs else 0 for job, runs in zip(self._jobs, running, strict=True)]
        longest = max(steps)
        before = [(epoch - 1) * -(-len(job.train) // self._config.batch_size) for job in self._jobs]
        in_all = [total_steps(self._config, len(job.train)) for job in self._jobs]
        orders = [epoch_order(len(job.train), job.seed, epoch) for job in self._jobs]
        losses = []
        for number in range(longest):
            active = [number < count for count in steps]
            batch = self._batch(orders, number, active)
            rates = [
                learning_rate(self._config, past + number, total) for past, total in zip(before, in_all, strict=True)
            ]
            moves = [*active, *[False] * (len(self._places) - len(active))]
            turn = (
                np.array([rates[place] for place in self._places], np.float32),
                np.array([self._jobs[place].seed for place in self._places], np.int32),
                np.array(moves, np.int32),
            )
            state, loss = self._step(frozen, state, batch, Turn(*map(self._lockstep.place, turn)))
            losses.append(loss)
            # The host runs one step ahead, no further.
            jax.block_until_ready(losses[-2:-1])
            observer.stepped(1, max(in_all))
        values = np.asarray(jax.device_get(losses))
        for number, count in enumerate(steps):
            if count:
                own = values[:count, number]
                if not np.isfinite(own).all():
                    bad = int(np.argmax(~np.isfinite(own))) + 1
                    raise JobError(
                        f"{self._jobs[number].name}: the loss of step {bad} in epoch {epoch} is not finite; lower "
                        "peak_learning_rate."
                    )
                results[number].losses.append(float(own.mean()))
        return state

    def _steps(self, job: Job, epoch: int) -> int:
        """Of a job, in an epoch: none after its last."""
        count = -(-len(job.train) // self._config.batch_size)
        return max(0, min(count, total_steps(self._config, len(job.train)) - (epoch - 1) * count))

    def _batch(self, orders: list[np.ndarray], number: int, active: list[bool]) -> Batch:
        size = self._config.batch_size
        chosen = [order[number * size : (number + 1) * size] for order in orders]
        taking = [place for place, takes in enumerate(active) if takes]
        longest = max(int(self._jobs[place].train.lengths[chosen[place]].max()) for place in taking)
        shape = batch_shape(self._fitting.task, longest, self._fitting.model.max_positions)
        labels = self._jobs[0].train.targets.shape[1]
        jobs = len(self._places)
        input_ids = np.zeros((jobs, size, *shape), np.int32)
        targets = np.zeros((jobs, size, labels), np.float32)
        weights = np.zeros((jobs, size), np.float32)
        for place in taking:
            split, rows = self._jobs[place].train, chosen[place]
            smooth = smoothed(self._fitting.task, split.targets[rows], self._config.label_smoothing)
            counted = self._label_weights(split)[rows]
            input_ids[place, : len(rows)], targets[place, : len(rows)] = split.rows(rows, shape), smooth
            weights[place, : len(rows)] = counted / counted.sum()
        return Batch(*(self._lockstep.place(part, rows=True) for part in (input_ids, targets, weights)))

    def _label_weights(self, split: EncodedSplit) -> np.ndarray:
        if self._config.class_weights == "none":
            return np.ones(len(split), np.float32)
        frequency = split.targets.mean(axis=0)
        return (split.targets / np.maximum(frequency, 1e-12)).sum(axis=1).astype(np.float32)

    def _logits(self, frozen: Parameters, trainable: Parameters, splits: list[EncodedSplit]) -> list[np.ndarray]:
        """Of all sequences of each job's split."""
        size = self._config.batch_size * max(1, _EVALUATED_TOGETHER // self._fitting.task.split)
        found: list[list[np.ndarray]] = [[] for _ in splits]
        by_length = [np.argsort(-split.lengths, kind="stable") for split in splits]
        for first in range(0, max(len(split) for split in splits), size):
            chosen = [order[first : first + size] for order in by_length]
            longest = max(int(split.lengths[rows].max(initial=1)) for split, rows in zip(splits, chosen, strict=True))
            shape = batch_shape(self._fitting.task, longest, self._fitting.model.max_positions)
            ids = np.zeros((len(self._places), size, *shape), np.int32)
            for place, (split, rows) in enumerate(zip(splits, chosen, strict=True)):
                ids[place, : len(rows)] = split.rows(rows, shape)
            logits = np.asarray(self._predict(frozen, trainable, self._lockstep.place(ids, rows=True)))
            for place, rows in enumerate(chosen):
                found[place].append(logits[place, : len(rows)])
        in_order = []
        for parts, order in zip(found, by_length, strict=True):
            together = np.concatenate(parts)
            restored = np.empty_like(together)
            restored[order] = together
            in_order.append(restored)
        return in_order


def with_fresh_heads(parameters: Parameters, model: ModelConfig, task: TaskConfig, seed: int) -> Parameters:
    """The parts of a task's network: those that are given, and the others at random."""

    @jax.jit
    def fresh(key: jax.Array) -> Parameters:
        network = sequence_classifier(model, task, rngs=nnx.Rngs(params=key))
        parts = nnx.to_pure_dict(nnx.state(network, nnx.Param))
        return {part: tree for part, tree in parts.items() if part not in parameters}

    needed = abstract_parts(model, task)
    given = {part: tree for part, tree in parameters.items() if part in needed}
    return given | jax.device_get(fresh(stream_key(seed, "parameters", 0)))


def abstract_parts(model: ModelConfig, task: TaskConfig) -> set[str]:
    """The parts that the network of a task has."""
    network = nnx.eval_shape(lambda: sequence_classifier(model, task, rngs=nnx.Rngs(params=0)))
    return set(nnx.to_pure_dict(nnx.state(network, nnx.Param)))
