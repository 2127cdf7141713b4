"""Fine-tuning on the host's side: epochs, early stopping, the best epoch, and jobs that begin anew.

J jobs, B sequences, L tokens, C labels.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Float, Int32

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import JobError
from dnabert_jax.tasks.finetuning import lockstep
from dnabert_jax.tasks.finetuning.checkpoint import FittingCheckpoint, JobProgress, Progress
from dnabert_jax.tasks.finetuning.config import FinetuneConfig, FittingObserver
from dnabert_jax.tasks.finetuning.encoding import EncodedSplit, batch_shape, epoch_order, epoch_strands
from dnabert_jax.tasks.finetuning.lockstep import JobsState, Lockstep
from dnabert_jax.tasks.finetuning.trainable import split_trainable, stacked, whole_model, with_fresh_heads
from dnabert_jax.tasks.measures.metrics import better, has_collapsed, measure, validation_metric
from dnabert_jax.training.state import Parameters

EVALUATED_TOGETHER = 4
"""Batches of fine-tuning in one of prediction, which keeps nothing for a backward pass; fewer of many windows."""

Advance = Callable[[int], object]
"""Is called with the number of sequences that were predicted since the last call."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One data set and one seed.

    Attributes:
        name: for the progress bar and results.
        seed: of everything that is random in it.
        classifier: what the last layer starts from, if not fresh; then the model as it starts may be the best.
    """

    name: str
    train: EncodedSplit
    validation: EncodedSplit
    seed: int
    classifier: Parameters | None = None


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
    devices: Sequence[jax.Device]

    def judge(self, logits: Float[np.ndarray, "n C"], targets: Float[np.ndarray, "n C"]) -> tuple[float, bool]:
        """Returns the figure of a validation split, of which more is better, and whether the classifier collapsed."""
        scores = self.task.kind.probabilities(logits)
        labels = targets.argmax(axis=1) if self.task.kind.exclusive else targets
        key = validation_metric(self.task, self.config.select_by)
        value = measure(self.task, scores, labels, resamples=0).values[key].value
        figure = -np.inf if value is None else value if better(key) == "higher" else -value
        return figure, has_collapsed(self.task, scores, labels)

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
            with checkpoint.attempt(attempt, [job.name for job in group]) if checkpoint else contextlib.nullcontext():
                results = _Group(self, group, observer, checkpoint).run()
            collapsed = {}
            for (number, job), result in zip(waiting.items(), results, strict=True):
                if result.collapsed and attempt < self.config.restarts:
                    # Seeds of other jobs are near: this one is far from them.
                    collapsed[number] = dataclasses.replace(job, seed=job.seed + 1_000_003)
                    observer.restarted(job.name, collapsed[number].seed)
                result.collapsed += attempt
                result.seconds += fitted[number].seconds if number in fitted else 0
                fitted[number] = result
            waiting = collapsed
            if not waiting:
                break
        return [fitted[number] for number in range(len(jobs))]

    def predict(
        self, models: Sequence[Parameters], splits: Sequence[EncodedSplit], advance: Advance = lambda _: None
    ) -> list[Float[np.ndarray, "n C"]]:
        """Returns the logits, or values, that whole models give, each for the sequences of its split; in lockstep."""
        group = _Group(self, [Job("", split, split, 0) for split in splits], FittingObserver(), None)
        return group.predict(models, advance)


class _Group:
    """Jobs that are trained together, once."""

    def __init__(
        self, fitting: Fitting, jobs: list[Job], observer: FittingObserver, checkpoint: FittingCheckpoint | None
    ):
        self._fitting, self._jobs, self._config = fitting, jobs, fitting.config
        self._observer, self._checkpoint = observer, checkpoint
        self._progress = Progress([JobProgress() for _ in jobs])
        model, task = fitting.model, fitting.task
        if (rate := self._config.dropout) is not None:
            model = dataclasses.replace(model, dropout=rate, attention_dropout=rate)
            task = dataclasses.replace(task, dropout=rate)
        mesh = lockstep.jobs_mesh(fitting.devices, len(jobs), self._config.batch_size)
        self._lockstep = Lockstep(model, task, self._config.of_a_step, mesh)
        # Jobs that fill up the mesh repeat the last one, and never move.
        self._lanes = [*range(len(jobs)), *[len(jobs) - 1] * (-len(jobs) % mesh.shape[lockstep.JOB])]
        self._updates = [-(-len(job.train) // self._config.batch_size) for job in jobs]
        """Of an epoch."""
        self._total = [self._config.total_steps(len(job.train)) for job in jobs]
        self._row_weights = [self._label_weights(job.train) for job in jobs]

    def run(self) -> list[Fitted]:
        frozen, state = self._start()
        if self._checkpoint is not None:
            state, self._progress = self._checkpoint.restore(state, self._progress)
            self._observer.stepped(self._progress.steps, max(self._total))
        self._begin = time.monotonic() - self._progress.seconds
        if self._progress.steps == 0 and all(job.classifier is not None for job in self._jobs):
            self._evaluate(frozen, state, range(len(self._jobs)))
        while any(steps := [self._steps(number) for number in range(len(self._jobs))]):
            state = self._train_epoch(frozen, state, steps)
            improved = self._evaluate(frozen, state, np.flatnonzero(steps).tolist())
            state = lockstep.keep_best(state, self._lockstep.place(improved))
            self._progress.seconds = time.monotonic() - self._begin
            if self._checkpoint is not None:
                self._checkpoint.epoch_ended(state, self._progress)
        best, shared = jax.device_get(state.best), jax.device_get(frozen)
        results, seconds = [], (time.monotonic() - self._begin) / len(self._jobs)
        for number, (job, so_far) in enumerate(zip(self._jobs, self._progress.jobs, strict=True)):
            trained = jax.tree.map(lambda leaf, number=number: leaf[number], best)
            parameters = jax.tree.map(np.asarray, whole_model(shared, trained, self._config))
            figure = -np.inf if so_far.best_figure is None else so_far.best_figure
            losses, figures, flat = so_far.losses, so_far.figures, int(so_far.flat)
            results.append(Fitted(job.name, job.seed, parameters, so_far.best, figure, losses, figures, flat, seconds))
        return results

    def _evaluate(self, frozen: Parameters, state: JobsState, numbers: Sequence[int]) -> Int32[np.ndarray, " lanes"]:
        """Notes the figures of some jobs, and returns 1 for those for which it is the best so far, else 0."""
        logits, epoch = self._logits(frozen, state.trainable), self._progress.epoch
        improved = np.zeros(len(self._lanes), np.int32)
        for number in numbers:
            job, so_far = self._jobs[number], self._progress.jobs[number]
            figure, flat = self._fitting.judge(logits[number], job.validation.targets)
            # An epoch that ranks well but says the same of everything is not the best as long as there is another. What
            # starts from a probe never collapses, and is held to its figure alone.
            flat &= job.classifier is None
            if so_far.best_figure is None or (flat, -figure) < (so_far.flat, -so_far.best_figure):
                improved[number], so_far.best, so_far.flat = 1, epoch, flat
            if epoch:
                so_far.figures.append(figure)
            else:
                so_far.start_figure = figure
            self._observer.epoch_ended(job.name, epoch, so_far.losses[-1] if epoch else np.nan, figure)
        return improved

    def _steps(self, number: int) -> int:
        """Returns the steps of a job in its next epoch: 0 after its last, or when patience with it is at an end."""
        so_far, patience, updates = self._progress.jobs[number], self._config.patience, self._updates[number]
        made = len(so_far.figures)
        if patience and made - so_far.best >= patience:
            return 0
        return max(0, min(updates, self._total[number] - made * updates))

    def predict(self, models: Sequence[Parameters], advance: Advance) -> list[np.ndarray]:
        together = self._lockstep.place_parameters(stacked([models[lane] for lane in self._lanes]), lockstep.JOB)
        return self._logits({}, together, advance)

    def _start(self) -> tuple[Parameters, JobsState]:
        frozen: Parameters = {}
        trainable = []
        for job in (self._jobs[lane] for lane in self._lanes):
            parameters = with_fresh_heads(self._fitting.parameters, self._fitting.model, self._fitting.task, job.seed)
            if job.classifier is not None:
                parameters["classifier"] = job.classifier
            frozen, trained = split_trainable(parameters, self._config, job.seed)
            trainable.append(trained)
        return self._lockstep.place_parameters(frozen), self._lockstep.start(stacked(trainable))

    def _train_epoch(self, frozen: Parameters, state: JobsState, steps: list[int]) -> JobsState:
        """Makes the rest of an epoch, and notes it in the progress."""
        progress, train_step = self._progress, self._lockstep.train_step()
        epoch, losses = progress.epoch + 1, progress.step_losses
        orders = [epoch_order(len(job.train), job.seed, epoch) for job in self._jobs]
        turned = [epoch_strands(len(job.train), job.seed, epoch) for job in self._jobs]
        seeds = np.array([self._jobs[lane].seed for lane in self._lanes], np.int32)
        for number in range(len(losses), max(steps)):
            active = [number < count for count in steps]
            made = [(epoch - 1) * updates + number for updates in self._updates]
            rates = [self._config.learning_rate(made[lane], self._total[lane]) for lane in self._lanes]
            rate = np.array(rates, np.float32)
            moving = np.array([*active, *[False] * (len(self._lanes) - len(active))], np.int32)
            turn = lockstep.Turn(*map(self._lockstep.place, (rate, seeds, moving)))
            state, loss = train_step(frozen, state, self._batch(orders, turned, number, active), turn)
            losses.append(loss)
            # The host runs one step ahead, no further.
            jax.block_until_ready(losses[-2:-1])
            progress.steps, progress.seconds = progress.steps + 1, time.monotonic() - self._begin
            self._observer.stepped(1, max(self._total))
            # Not after the last: the epoch is made whole first.
            if self._checkpoint is not None and number + 1 < max(steps) and self._checkpoint.stop_requested():
                self._finite_losses(steps)
                self._checkpoint.stop(state, progress)
        for job, of_epoch in zip(progress.jobs, self._finite_losses(steps), strict=True):
            if len(of_epoch):
                job.losses.append(float(of_epoch.mean()))
        progress.epoch, progress.step_losses = epoch, []
        return state

    def _finite_losses(self, steps: list[int]) -> list[np.ndarray]:
        """Returns, for each job, the losses of its steps in the epoch under way."""
        values = self._progress.losses()
        by_job = [values[:count, number] for number, count in enumerate(steps)]
        for job, losses in zip(self._jobs, by_job, strict=True):
            if not np.isfinite(losses).all():
                step = f"step {int(np.argmin(np.isfinite(losses))) + 1} in epoch {self._progress.epoch + 1}"
                raise JobError(f"{job.name}: the loss of {step} is not finite; lower peak_learning_rate.")
        return by_job

    def _batch(
        self, orders: list[np.ndarray], turned: list[np.ndarray], number: int, active: list[bool]
    ) -> lockstep.Batch:
        size, task = self._config.batch_size, self._fitting.task
        chosen = [order[number * size : (number + 1) * size] for order in orders]
        taking = np.flatnonzero(active).tolist()
        longest = max(int(self._jobs[lane].train.lengths[chosen[lane]].max()) for lane in taking)
        shape = batch_shape(task, longest, self._fitting.model)
        jobs = len(self._lanes)
        input_ids = np.zeros((jobs, size, *shape), np.int32)
        targets = np.zeros((jobs, size, self._jobs[0].train.targets.shape[1]), np.float32)
        weights = np.zeros((jobs, size), np.float32)
        for lane in taking:
            split, rows = self._jobs[lane].train, chosen[lane]
            input_ids[lane, : len(rows)] = split.rows(rows, shape)
            if task.strands == "both" and (other := turned[lane][rows]).any():
                input_ids[lane, : len(rows)][other] = split.other_strand.rows(rows[other], shape)
            targets[lane, : len(rows)] = _smoothed(task, split.targets[rows], self._config.label_smoothing)
            counted = self._row_weights[lane][rows]
            weights[lane, : len(rows)] = counted / counted.sum()
        return lockstep.Batch(*(self._lockstep.place(part, lockstep.ROWS) for part in (input_ids, targets, weights)))

    def _label_weights(self, split: EncodedSplit) -> np.ndarray:
        if self._config.class_weights == "none":
            return np.ones(len(split), np.float32)
        frequency = split.targets.mean(axis=0)
        return (split.targets / np.maximum(frequency, 1e-12)).sum(axis=1).astype(np.float32)

    def _logits(self, frozen: Parameters, trainable: Parameters, advance: Advance = lambda _: None) -> list[np.ndarray]:
        """Returns those of all sequences of each job's validation split; of both strands the mean."""
        task, splits = self._fitting.task, [job.validation for job in self._jobs]
        strands = [splits, [split.other_strand for split in splits]] if task.strands == "both" else [splits]
        size = self._config.batch_size * max(1, EVALUATED_TOGETHER // task.split)
        predict = self._lockstep.predict()
        results = [np.zeros((len(split), len(task.labels)), np.float32) for split in splits]
        by_length = [np.argsort(-split.lengths, kind="stable") for split in splits]
        for first in range(0, max(len(split) for split in splits), size):
            chosen = [order[first : first + size] for order in by_length]
            longest = max(int(split.lengths[rows].max(initial=1)) for split, rows in zip(splits, chosen, strict=True))
            shape = batch_shape(task, longest, self._fitting.model)
            logits = np.zeros((len(self._lanes), size, len(task.labels)), np.float32)
            for strand in strands:
                ids = np.zeros((len(self._lanes), size, *shape), np.int32)
                for lane, (split, rows) in enumerate(zip(strand, chosen, strict=True)):
                    ids[lane, : len(rows)] = split.rows(rows, shape)
                computed = predict(frozen, trainable, self._lockstep.place(ids, lockstep.ROWS))
                logits += np.asarray(computed) / np.float32(len(strands))
            for lane, rows in enumerate(chosen):
                results[lane][rows] = logits[lane, : len(rows)]
            advance(sum(map(len, chosen)))
        return results


def _smoothed(task: TaskConfig, targets: Float[np.ndarray, "m C"], share: float) -> Float[np.ndarray, "m C"]:
    """Returns targets with some of each spread over all labels, or over yes and no of each of several."""
    if share == 0 or not task.kind.has_classes:
        return targets
    return targets * (1 - share) + share / (targets.shape[1] if task.kind.exclusive else 2)
