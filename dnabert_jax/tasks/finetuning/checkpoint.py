"""Keeps on disk what a fine-tuning has done, so that one that was stopped or killed can be resumed.

Beside the directory that it will write stands `NAME.unfinished`: start.json says what it began with, so that a resumed
run is known to be the same; log.jsonl has a line for each job and epoch; and each attempt (see `Fitting.run`) has its
latest checkpoint, so that what an attempt came to is known when the next one, of the jobs that collapsed, is under way.
Order, dropout and learning rate are functions of seed and step, so a checkpoint holds the state of the jobs and
figures, no more.

J jobs.
"""

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Float

from dnabert_jax import storage
from dnabert_jax.config import TaskConfig, require
from dnabert_jax.errors import JobError
from dnabert_jax.outputs import is_unused, kept_directory
from dnabert_jax.tasks.datasets.labelled import LabelledData, LabelledSplit
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.lockstep import JobsState
from dnabert_jax.tasks.measures.metrics import better
from dnabert_jax.telemetry.run_log import LOG_FILE, TENSORBOARD_DIRECTORY, RunLog
from dnabert_jax.training.checkpoints import Checkpoints
from dnabert_jax.training.run_directory import CHECKPOINTS_DIRECTORY
from dnabert_jax.training.saved_model import SavedModel
from dnabert_jax.typed_json import read_json, to_json

START_FILE = "start.json"
_STATE = "state"


class StoppedError(JobError):
    """A fine-tuning stopped as it was asked to, and can go on from the step that it saved."""

    def __init__(self, step: int):
        super().__init__(f"Stopped after step {step:,}, which is saved: resume with --resume.")


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """A model (its source, step and the digest of its weights), data (their task, a digest by split) and settings."""

    model: str
    step: int
    weights: str
    task: TaskConfig
    splits: dict[str, str]
    seeds: int
    config: FinetuneConfig

    def difference(self, before: "StartingPoint") -> str:
        """Returns the first difference from an earlier start, as part of a sentence; an empty text if there is none."""
        settings = {"seeds": self.seeds, **dataclasses.asdict(self.config)}
        for name, value in {"seeds": before.seeds, **dataclasses.asdict(before.config)}.items():
            if settings[name] != value:
                return f"was started with {name} {value}: it cannot be resumed with {settings[name]}"
        if self.weights != before.weights:
            then, now = (f"{point.model} at step {point.step}" for point in (before, self))
            return f"was started with the weights of {then}, which are not those that {now} has now"
        if self.task != before.task:
            then, now = (f"{point.task.problem}: {', '.join(point.task.labels)}" for point in (before, self))
            return f"was started with other labels ({then}) than the data have ({now})"
        names = [name for name in self.splits | before.splits if self.splits.get(name) != before.splits.get(name)]
        return f"was started with other data: the {names[0]} split differs" if names else ""


def starting_point(
    source: str, model: SavedModel, data: LabelledData, config: FinetuneConfig, seeds: int
) -> StartingPoint:
    """Returns that of a fine-tuning of `seeds` models that begin with a model read from `source`."""
    splits = {str(name): _split_digest(split) for name, split in data.splits.items()}
    return StartingPoint(source, model.step, weights_digest(model), data.task, splits, seeds, config)


def named_model(source: str, model: SavedModel) -> str:
    """Returns what results call a model: where it was read from and, for a checkpoint of a run, its step."""
    return f"{source} at step {model.step:,}" if model.step else source


_LATER_FIELDS = ("tokens", "positions", "norm", "feed_forward", "token_types", "tied_head", "token_dropout")
"""Of a network's configuration, which earlier versions did not have: DNABERT has their defaults."""


def weights_digest(model: SavedModel) -> str:
    """Returns the SHA-256 of a network's configuration and its parameters, by the names of earlier versions.

    These had DNABERT alone and called the root of the tree bert: what they have begun can be resumed.
    """
    values = ((field, getattr(model.config, field.name)) for field in dataclasses.fields(model.config))
    known = (f"{field.name}={value!r}" for field, value in values
             if field.name not in _LATER_FIELDS or value != field.default)  # fmt: skip
    digest = hashlib.sha256(f"ModelConfig({', '.join(known)})".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(model.parameters):
        name = jax.tree_util.keystr(path).replace("'backbone'", "'bert'")
        digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _split_digest(split: LabelledSplit) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(split.sequences.lengths).data)
    for number in range(len(split)):
        digest.update(split.sequences[number].data)
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()


@dataclasses.dataclass
class JobProgress:
    """A job's mean training losses and selecting figures by epoch.

    Attributes:
        start_figure: before the first epoch, where that is measured.
        best: the best epoch, counted from 1; 0 if the start is better than any.
        flat: whether the classifier said the same of everything after it.
    """

    losses: list[float] = dataclasses.field(default_factory=list)
    figures: list[float] = dataclasses.field(default_factory=list)
    start_figure: float | None = None
    best: int = 0
    flat: bool = False

    @property
    def best_figure(self) -> float | None:
        """Returns the figure of the best epoch, or of the start; None before the first is measured."""
        return self.figures[self.best - 1] if self.best else self.start_figure


@dataclasses.dataclass
class Progress:
    """What the host knows of jobs in lockstep: all that a checkpoint holds besides their state.

    Attributes:
        step_losses: of the epoch under way, for each step the losses of the jobs, and maybe of what fills the mesh.
        seconds: of wall time, when it was saved.
    """

    jobs: list[JobProgress]
    epoch: int = 0
    steps: int = 0
    step_losses: list[Any] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def losses(self) -> Float[np.ndarray, "steps J"]:
        """Returns `step_losses` of the jobs, on the host."""
        rows = [np.asarray(row)[: len(self.jobs)] for row in jax.device_get(self.step_losses)]
        return np.asarray(rows, np.float32).reshape(-1, len(self.jobs))


def unfinished_directory(out: Path) -> Path:
    """Returns where a fine-tuning that will write `out` keeps what it has."""
    return out.with_name(out.name + ".unfinished")


def check_unfinished(out: Path, resume: bool) -> None:
    """Raises InputError if there is something to go on with and it is not asked for, or something else."""
    directory = unfinished_directory(out)
    if is_unused(directory):
        return
    begun = (directory / START_FILE).is_file()
    require(begun, f"{directory} exists and is not an unfinished fine-tuning: move it away, or choose another --out.")
    require(resume, f"{directory} was not finished: give --resume to go on with it, or remove it to begin anew.")


class FittingCheckpoint(contextlib.ExitStack):
    """The unfinished directory of a fine-tuning; a context manager, inside which no other job writes it.

    Raises:
        InputError: what is there began with something else.
    """

    # Of the attempt under way.
    _log: RunLog
    _checkpoints: Checkpoints
    _names: list[str]
    _steps: int

    def __init__(self, out: Path, start: StartingPoint, metric: str, stop_requested: Callable[[], bool]):
        super().__init__()
        self.directory = unfinished_directory(out)
        self.stop_requested = stop_requested
        self._start, self._metric = start, metric
        self._steps_before = 0
        if not is_unused(self.directory):
            difference = start.difference(read_json(StartingPoint, self.directory / START_FILE))
            require(not difference, f"{self.directory} {difference}. Remove it to begin anew, or choose another --out.")

    @property
    def saved_steps(self) -> int:
        """Steps of lockstep that were made and saved, of all attempts."""
        latest: dict[Path, int] = {}
        for path in self.directory.glob(f"*/{CHECKPOINTS_DIRECTORY}/*"):
            if path.name.isdigit():
                latest[path.parent] = max(int(path.name), latest.get(path.parent, 0))
        return sum(latest.values())

    @contextlib.contextmanager
    def attempt(self, number: int, names: Sequence[str]) -> Iterator[None]:
        """Keeps, inside of the block, jobs that are trained together, after those of the attempts before them."""
        if number == 0:
            # Not before there is something to train: bad input leaves nothing behind.
            self.enter_context(kept_directory(self.directory))
            storage.write(self.directory / START_FILE, to_json(self._start).encode())
            self._log = self.enter_context(RunLog(self.directory, self.saved_steps))
        self._names = [name + (f", attempt {number + 1}" if number else "") for name in names]
        self._steps = 0
        with Checkpoints(self.directory / f"attempt-{number + 1}", keep=1) as self._checkpoints:
            yield
        self._steps_before += self._steps

    def restore(self, state: JobsState, progress: Progress) -> tuple[JobsState, Progress]:
        """Returns the latest that was saved, laid out like a fresh state; what is given, if there is nothing."""
        if not self._checkpoints.steps:
            return state, progress
        self._steps = self._checkpoints.steps[-1]
        progress = self._checkpoints.metadata(self._steps, Progress)
        saved = jax.tree.leaves(self._checkpoints.shapes(self._steps, _STATE))[0].shape[0]
        lanes = len(state.step)

        def abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
            sharding: Any = leaf.sharding
            if saved != lanes:
                # Whole jobs, whose number need not divide over the devices, but an encoder in parts stays in parts.
                sharding = NamedSharding(sharding.mesh, PartitionSpec(None, *sharding.spec[1:]))
            return jax.ShapeDtypeStruct((saved, *leaf.shape[1:]), leaf.dtype, sharding=sharding)

        restored = self._checkpoints.restore_items(self._steps, {_STATE: jax.tree.map(abstract, state)})[_STATE]
        if saved != lanes:
            # Another number of devices, which other copies of the last job fill up: they never move.
            chosen = np.minimum(np.arange(lanes), len(progress.jobs) - 1)
            restored = jax.tree.map(lambda new, old: jax.device_put(new[chosen], old.sharding), restored, state)
        return restored, progress

    def epoch_ended(self, state: JobsState, progress: Progress) -> None:
        """Logs and saves an epoch, and raises StoppedError after it if that is asked for."""
        sign = 1 if better(self._metric) == "higher" else -1
        for name, job in zip(self._names, progress.jobs, strict=True):
            if progress.epoch == 1 and job.start_figure is not None:
                start = {"epoch": 0, f"validation_{self._metric}": sign * job.start_figure}
                self._log.write(self._steps_before, name, start)
            if len(job.figures) == progress.epoch:
                figures = {"epoch": progress.epoch, "loss": job.losses[-1]}
                if np.isfinite(job.figures[-1]):
                    figures[f"validation_{self._metric}"] = sign * job.figures[-1]
                self._log.write(self._steps_before + progress.steps, name, figures)
        if self.stop_requested():
            self.stop(state, progress)
        self._save(state, progress)

    def stop(self, state: JobsState, progress: Progress) -> None:
        """Saves, and raises StoppedError."""
        self._save(state, progress)
        raise StoppedError(self._steps_before + self._steps)

    def _save(self, state: JobsState, progress: Progress) -> None:
        self._steps = progress.steps
        on_host = dataclasses.replace(progress, step_losses=progress.losses().tolist())
        self._checkpoints.save_items({_STATE: state}, progress.steps, dataclasses.asdict(on_host))

    def check_stop(self) -> None:
        """Raises StoppedError if a stop is asked for; after the training, when all steps are saved."""
        if self.stop_requested():
            raise StoppedError(self.saved_steps)

    def copy_log(self, directory: Path) -> None:
        """Ends the log and copies it to where the result is written."""
        self.close()
        shutil.copy(self.directory / LOG_FILE, directory)
        shutil.copytree(self.directory / TENSORBOARD_DIRECTORY, directory / TENSORBOARD_DIRECTORY)

    def remove(self) -> None:
        """Removes all of it, when the result is written."""
        shutil.rmtree(self.directory)
