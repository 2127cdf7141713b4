"""Fine-tuning on the host's side: epochs, early stopping, the best epoch, and jobs that begin anew.

J jobs, B sequences, L tokens, C labels.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Int32

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import JobError
from dnabert_jax.tasks.finetuning.checkpoint import FittingCheckpoint, GroupCheckpoint, JobProgress, Progress
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.encoding import batch_shape
from dnabert_jax.tasks.finetuning.jobs import (
    EncodedSplit,
    Job,
    epoch_order,
    epoch_strands,
    learning_rate,
    smoothed,
    total_steps,
)
from dnabert_jax.tasks.finetuning.lockstep import JOB, Batch, JobsState, Lockstep, Turn, jobs_mesh
from dnabert_jax.tasks.finetuning.trainable import split_trainable, stacked, whole_model, with_fresh_heads
from dnabert_jax.training.state import Parameters


@runtime_checkable
class FittingObserver(Protocol):
    """Shows what happens, such as by a progress bar."""

    def stepped(self, done: int, total: int) -> None:
        """`done` more steps of lockstep are made, of `total` at most; many at once where a run is resumed."""

    def epoch_ended(self, job: str, epoch: int, loss: float, figure: float) -> None:
        """A job made an epoch; epoch 0, which has no loss, is where it starts, if that is measured."""

    def restarted(self, job: str, seed: int) -> None:
        """A job collapsed and restarts with another seed."""

    def advanced(self, what: str, done: int, total: int) -> None:
        """Part of what follows the training was done, of `total`: sequences predicted, or resamples measured."""


EVALUATED_TOGETHER = 4
"""Batches of fine-tuning in one of prediction, which keeps nothing for a backward pass; fewer of many windows."""


@dataclasses.dataclass
class Fitted:
    """A job that was trained.

    Attributes:
        seed: that it ended with.
        parameters: of the best epoch, the whole model, on the host.
        epoch: that was the best, counted from 1; 0 for the start.
        figure: of that one.
        losses: mean training loss of each epoch.
        figures: the selecting figure of the validation split after each epoch.
        collapsed: how many times it did, and began anew.
        seconds: of wall time, all attempts; jobs in lockstep have equal shares of theirs.
    """

    name: str
    seed: int
    parameters: Parameters
    epoch: int
    figure: float
    losses: list[float]
    figures: list[float]
    collapsed: int
    seconds: float


Score = Callable[[Float[np.ndarray, "n C"], Float[np.ndarray, "n C"]], float]
"""(logits, targets) of the validation split to a figure that is the better, the higher it is."""

Collapsed = Callable[[Float[np.ndarray, "n C"], Float[np.ndarray, "n C"]], bool]
"""(logits, targets): whether the classifier says the same of everything."""

Advance = Callable[[int], object]
"""Is called with the number of sequences that were predicted since the last call."""


@dataclasses.dataclass(frozen=True)
class Fitting:
    """Fine-tunes jobs that share a model, a task and a configuration.

    Attributes:
        parameters: to begin with; parts that the task needs and that are not there start at random.
    """

    model: ModelConfig
    parameters: Parameters
    task: TaskConfig
    config: FinetuneConfig
    score: Score
    collapsed: Collapsed
    devices: Sequence[jax.Device]

    def run(
        self, jobs: Sequence[Job], observer: FittingObserver, checkpoint: FittingCheckpoint | None = None
    ) -> list[Fitted]:
        """Trains all jobs in lockstep, and those that collapse once more.

        Raises:
            JobError: a loss is not finite, or a checkpoint cannot be written.
            StoppedError: the checkpoint was asked to stop.
        """
        fitted: dict[int, Fitted] = {}
        waiting = dict(enumerate(jobs))
        for attempt in range(self.config.restarts + 1):
            group = list(waiting.values())
            with checkpoint.attempt(attempt, group) if checkpoint else contextlib.nullcontext() as kept:
                runs = _Group(self, group).run(observer, kept)
            collapsed = {}
            for (number, job), (result, has_collapsed) in zip(waiting.items(), runs, strict=True):
                result.collapsed = attempt + has_collapsed
                result.seconds += fitted[number].seconds if number in fitted else 0
                fitted[number] = result
                if has_collapsed and attempt < self.config.restarts:
                    # Seeds of other jobs are near: this one is far from them.
                    collapsed[number] = dataclasses.replace(job, seed=job.seed + 1_000_003)
                    observer.restarted(job.name, collapsed[number].seed)
            waiting = collapsed
            if not waiting:
                break
        return [fitted[number] for number in range(len(jobs))]

    def predict(
        self, models: Sequence[Parameters], splits: Sequence[EncodedSplit], advance: Advance = lambda _: None
    ) -> list[Float[np.ndarray, "n C"]]:
        """Returns the logits, or values, that whole models give, each for the sequences of its split; in lockstep."""
        return _Group(self, [Job("", split, split, 0) for split in splits]).predict(models, splits, advance)


class _Group:
    """Jobs that are trained together, once."""

    def __init__(self, fitting: Fitting, jobs: list[Job]):
        self._fitting, self._jobs, self._config = fitting, jobs, fitting.config
        model, task = fitting.model, fitting.task
        if (rate := self._config.dropout) is not None:
            model = dataclasses.replace(model, dropout=rate, attention_dropout=rate)
            task = dataclasses.replace(task, dropout=rate)
        mesh = jobs_mesh(fitting.devices, len(jobs), self._config.batch_size)
        self._lockstep = Lockstep(model, task, self._config.of_a_step, mesh)
        # Jobs that fill up the mesh repeat the last one, and never move.
        self._lanes = [*range(len(jobs)), *[len(jobs) - 1] * (-len(jobs) % mesh.shape[JOB])]
        self._both_strands = task.strands == "both"
        self._row_weights = [self._label_weights(job.train) for job in jobs]
        self._step, self._predict = self._lockstep.train_step(), self._lockstep.predict()
        self._keep_best = self._lockstep.keep_best()

    def run(self, observer: FittingObserver, kept: GroupCheckpoint | None) -> list[tuple[Fitted, bool]]:
        frozen, state = self._start()
        validation = [job.validation for job in self._jobs]
        progress = Progress([JobProgress() for _ in self._jobs])
        if kept is not None:
            state, progress = kept.restore(state, progress)
            observer.stepped(progress.steps, max(total_steps(self._config, len(job.train)) for job in self._jobs))
        begin = time.monotonic() - progress.seconds
        if progress.steps == 0 and all(job.classifier is not None for job in self._jobs):
            start = self._logits(frozen, state.trainable, validation)
            for job, figure in zip(
                self._jobs, self._improved(progress, [True] * len(self._jobs), start)[0], strict=True
            ):
                observer.epoch_ended(job.name, 0, np.nan, figure)
        while any(running := [self._goes_on(*each) for each in zip(self._jobs, progress.jobs, strict=True)]):
            state = self._train_epoch(frozen, state, progress, running, observer, kept)
            logits = self._logits(frozen, state.trainable, validation)
            figures, improved = self._improved(progress, running, logits)
            for number in np.flatnonzero(running).tolist():
                job, so_far = self._jobs[number], progress.jobs[number]
                observer.epoch_ended(job.name, progress.epoch, so_far.losses[-1], figures[number])
            state = self._keep_best(state, self._lockstep.place(improved))
            if kept is not None:
                kept.epoch_ended(state, progress)
        best, shared = jax.device_get(state.best), jax.device_get(frozen)
        results, seconds = [], (time.monotonic() - begin) / len(self._jobs)
        for number, (job, so_far) in enumerate(zip(self._jobs, progress.jobs, strict=True)):
            trained = jax.tree.map(lambda leaf, number=number: leaf[number], best)
            parameters = jax.tree.map(np.asarray, whole_model(shared, trained, self._config))
            best_figure = -np.inf if so_far.best_figure is None else so_far.best_figure
            fitted = Fitted(
                job.name, job.seed, parameters, so_far.best, best_figure, so_far.losses, so_far.figures, 0, seconds
            )
            results.append((fitted, so_far.flat))
        return results

    def _improved(
        self, progress: Progress, running: list[bool], logits: list[np.ndarray]
    ) -> tuple[list[float], Int32[np.ndarray, " lanes"]]:
        """Returns the figure of each job, and 1 for those for which it is the best so far, which is noted."""
        figures, improved = [-np.inf] * len(self._jobs), np.zeros(len(self._lanes), np.int32)
        for number in np.flatnonzero(running).tolist():
            so_far, targets = progress.jobs[number], self._jobs[number].validation.targets
            figures[number] = figure = self._fitting.score(logits[number], targets)
            # An epoch that ranks well but says the same of everything is not the best as long as there is another. What
            # starts from a probe never collapses, and is held to its figure alone.
            flat = self._jobs[number].classifier is None and self._fitting.collapsed(logits[number], targets)
            if so_far.best_figure is None or (flat, -figure) < (so_far.flat, -so_far.best_figure):
                improved[number], so_far.best, so_far.flat = 1, progress.epoch, flat
            if progress.epoch:
                so_far.figures.append(figure)
            else:
                so_far.start_figure = figure
        return figures, improved

    def _goes_on(self, job: Job, so_far: JobProgress) -> bool:
        made, patience = len(so_far.figures), self._config.patience
        return self._steps(job, made + 1) > 0 and not (patience and made - so_far.best >= patience)

    def predict(
        self, models: Sequence[Parameters], splits: Sequence[EncodedSplit], advance: Advance
    ) -> list[np.ndarray]:
        together = self._lockstep.place(stacked([models[lane] for lane in self._lanes]))
        return self._logits({}, together, splits, advance)

    def _start(self) -> tuple[Parameters, JobsState]:
        frozen: Parameters = {}
        trainable = []
        for lane in self._lanes:
            seed = self._jobs[lane].seed
            parameters = with_fresh_heads(self._fitting.parameters, self._fitting.model, self._fitting.task, seed)
            if self._jobs[lane].classifier is not None:
                parameters["classifier"] = self._jobs[lane].classifier
            frozen, trained = split_trainable(parameters, self._config, seed)
            trainable.append(trained)
        return self._lockstep.share(frozen), self._lockstep.start(stacked(trainable))

    def _train_epoch(
        self,
        frozen: Parameters,
        state: JobsState,
        progress: Progress,
        running: list[bool],
        observer: FittingObserver,
        kept: GroupCheckpoint | None,
    ) -> JobsState:
        """Makes the rest of an epoch, and notes it in the progress."""
        epoch, losses = progress.epoch + 1, progress.step_losses
        steps = [self._steps(job, epoch) if runs else 0 for job, runs in zip(self._jobs, running, strict=True)]
        longest = max(steps)
        before = [(epoch - 1) * -(-len(job.train) // self._config.batch_size) for job in self._jobs]
        in_all = [total_steps(self._config, len(job.train)) for job in self._jobs]
        orders = [epoch_order(len(job.train), job.seed, epoch) for job in self._jobs]
        turned = [epoch_strands(len(job.train), job.seed, epoch) & self._both_strands for job in self._jobs]
        for number in range(len(losses), longest):
            active = [number < count for count in steps]
            batch = self._batch(orders, turned, number, active)
            rates = [
                learning_rate(self._config, past + number, total) for past, total in zip(before, in_all, strict=True)
            ]
            turn = (
                np.array([rates[lane] for lane in self._lanes], np.float32),
                np.array([self._jobs[lane].seed for lane in self._lanes], np.int32),
                np.array([*active, *[False] * (len(self._lanes) - len(active))], np.int32),
            )
            state, loss = self._step(frozen, state, batch, Turn(*map(self._lockstep.place, turn)))
            losses.append(loss)
            # The host runs one step ahead, no further.
            jax.block_until_ready(losses[-2:-1])
            progress.steps += 1
            observer.stepped(1, max(in_all))
            # Not after the last: the epoch is made whole first.
            if kept is not None and number + 1 < longest and kept.stop_requested():
                self._finite_losses(progress, steps)
                kept.stop(state, progress)
        for job, of_epoch in zip(progress.jobs, self._finite_losses(progress, steps), strict=True):
            if len(of_epoch):
                job.losses.append(float(of_epoch.mean()))
        progress.epoch, progress.step_losses = epoch, []
        return state

    def _finite_losses(self, progress: Progress, steps: list[int]) -> list[np.ndarray]:
        """Returns, for each job, the losses of its steps in the epoch under way."""
        values = progress.losses()
        by_job = [values[:count, number] for number, count in enumerate(steps)]
        for job, losses in zip(self._jobs, by_job, strict=True):
            if not np.isfinite(losses).all():
                step = f"step {int(np.argmin(np.isfinite(losses))) + 1} in epoch {progress.epoch + 1}"
                raise JobError(f"{job.name}: the loss of {step} is not finite; lower peak_learning_rate.")
        return by_job

    def _steps(self, job: Job, epoch: int) -> int:
        """Returns the steps of a job in an epoch: 0 after its last."""
        count = -(-len(job.train) // self._config.batch_size)
        return max(0, min(count, total_steps(self._config, len(job.train)) - (epoch - 1) * count))

    def _batch(self, orders: list[np.ndarray], turned: list[np.ndarray], number: int, active: list[bool]) -> Batch:
        size = self._config.batch_size
        chosen = [order[number * size : (number + 1) * size] for order in orders]
        taking = [lane for lane, takes in enumerate(active) if takes]
        longest = max(int(self._jobs[lane].train.lengths[chosen[lane]].max()) for lane in taking)
        shape = batch_shape(self._fitting.task, longest, self._fitting.model.max_positions)
        labels = self._jobs[0].train.targets.shape[1]
        jobs = len(self._lanes)
        input_ids = np.zeros((jobs, size, *shape), np.int32)
        targets = np.zeros((jobs, size, labels), np.float32)
        weights = np.zeros((jobs, size), np.float32)
        for lane in taking:
            split, rows = self._jobs[lane].train, chosen[lane]
            smooth = smoothed(self._fitting.task, split.targets[rows], self._config.label_smoothing)
            counted = self._row_weights[lane][rows]
            input_ids[lane, : len(rows)], targets[lane, : len(rows)] = split.rows(rows, shape), smooth
            if (other := turned[lane][rows]).any():
                input_ids[lane, : len(rows)][other] = split.other_strand.rows(rows[other], shape)
            weights[lane, : len(rows)] = counted / counted.sum()
        return Batch(*(self._lockstep.place(part, rows=True) for part in (input_ids, targets, weights)))

    def _label_weights(self, split: EncodedSplit) -> np.ndarray:
        if self._config.class_weights == "none":
            return np.ones(len(split), np.float32)
        frequency = split.targets.mean(axis=0)
        return (split.targets / np.maximum(frequency, 1e-12)).sum(axis=1).astype(np.float32)

    def _logits(
        self,
        frozen: Parameters,
        trainable: Parameters,
        splits: Sequence[EncodedSplit],
        advance: Advance = lambda _: None,
    ) -> list[np.ndarray]:
        """Returns those of all sequences of each job's split; of both strands the mean."""
        strands = [splits, [split.other_strand for split in splits]] if self._both_strands else [splits]
        size = self._config.batch_size * max(1, EVALUATED_TOGETHER // self._fitting.task.split)
        gathered: list[list[np.ndarray]] = [[] for _ in splits]
        by_length = [np.argsort(-split.lengths, kind="stable") for split in splits]
        for first in range(0, max(len(split) for split in splits), size):
            chosen = [order[first : first + size] for order in by_length]
            longest = max(int(split.lengths[rows].max(initial=1)) for split, rows in zip(splits, chosen, strict=True))
            shape = batch_shape(self._fitting.task, longest, self._fitting.model.max_positions)
            logits = np.zeros((len(self._lanes), size, len(self._fitting.task.labels)), np.float32)
            for strand in strands:
                ids = np.zeros((len(self._lanes), size, *shape), np.int32)
                for lane, (split, rows) in enumerate(zip(strand, chosen, strict=True)):
                    ids[lane, : len(rows)] = split.rows(rows, shape)
                computed = self._predict(frozen, trainable, self._lockstep.place(ids, rows=True))
                logits += np.asarray(computed) / np.float32(len(strands))
            for lane, rows in enumerate(chosen):
                gathered[lane].append(logits[lane, : len(rows)])
            advance(sum(map(len, chosen)))
        return [np.concatenate(parts)[np.argsort(order)] for parts, order in zip(gathered, by_length, strict=True)]
