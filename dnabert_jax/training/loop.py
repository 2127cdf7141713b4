"""The loop of pre-training: it feeds the step, evaluates, saves and reports; all effects of a run begin here."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from dnabert_jax.config import ModelConfig, PretrainConfig
from dnabert_jax.data.manifest import HELDOUT, TRAIN, Manifest, checked_manifest
from dnabert_jax.data.pipeline import training_batches
from dnabert_jax.data.rows import Rows, open_rows
from dnabert_jax.errors import InputError
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.outputs import kept_directory
from dnabert_jax.parallel.mesh import RowPlacement, check_global_batch, make_mesh
from dnabert_jax.telemetry.run_log import RunLog
from dnabert_jax.telemetry.speed import Phases, Profiler, Speed, step_flops
from dnabert_jax.training.checkpoints import CheckpointMetadata, Checkpoints, LastEvaluation
from dnabert_jax.training.evaluation import Evaluation, evaluate, evaluation_rows, network_predictor
from dnabert_jax.training.masking import MaskedTokens
from dnabert_jax.training.nonfinite import FiniteCheck
from dnabert_jax.training.preemption import stops_after, while_all_run
from dnabert_jax.training.run_directory import CONFIG_FILE, check_run, read_run_config, write_run
from dnabert_jax.training.saved_model import check_initial_model, read_initial_parameters
from dnabert_jax.training.state import TrainState, abstract_state, init_state
from dnabert_jax.training.step import StepMetrics, jit_train_step

_DIGEST_BYTES = 32


@runtime_checkable
class Observer(Protocol):
    """Is told what happens, for a progress bar or a test."""

    def checked(self, done: int, total: int) -> None:
        """`done` more bytes of the data, of `total`, are what the manifest says."""

    def started(self, step: int, steps: int, heldout: bool) -> None:
        """The run begins after `step` updates, stops after `steps`, and is evaluated on the way if `heldout`."""

    def stepped(self, step: int) -> None:
        """One more update was sent to the device."""

    def trained(self, step: int, figures: dict[str, float]) -> None:
        """Mean figures of the last steps: those of StepMetrics and of Speed."""

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        """A held-out evaluation."""


@dataclasses.dataclass(frozen=True)
class RunResult:
    """How a run ended: updates made, which says whether it was stopped, and the last held-out evaluation if any."""

    step: int
    evaluation: Evaluation | None


def check_data(model: ModelConfig, manifest: Manifest) -> None:
    """Raises InputError unless the model can read the rows."""
    if manifest.tokenizer != model.tokenizer:
        raise InputError(
            f"The data have {manifest.tokenizer.unit} (k = {manifest.k}), the model {model.tokenizer.unit} (k = "
            f"{model.k}): prepare the data with --k {model.k}, or choose another preset or --model.k {manifest.k}."
        )
    if manifest.row_length > model.max_positions:
        length, positions = manifest.row_length, model.max_positions
        raise InputError(
            f"Rows of {length} tokens do not fit the model's {positions} positions: prepare with --row-length "
            f"{positions}, or train with --model.max-positions {length}."
        )


@fixed_settings()
def pretrain(
    config: PretrainConfig,
    data: Path,
    run: Path,
    observers: Sequence[Observer] = (),
    resume: bool = False,
    devices: Sequence[jax.Device] | None = None,
    profiler: Profiler | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Trains from the rows under `data` and keeps everything under `run`.

    With several processes (after `jax.distributed.initialize`) each calls this with the same arguments, and sees the
    same directories; process 0 alone writes the log and tells the observers.

    Args:
        data: a directory made by `prepare`, or a TFDS data set of such rows in array_record files; on local disk
            (data.rows.stage copies one from a store).
        run: the run directory; must be new, or be the one to go on with.
        resume: go on from the latest checkpoint under `run`, if there is one.
        devices: to use; all, if not given.
        profiler: of this process, if some steps are to be traced.
        stop_requested: asked after every step: true makes the run save a checkpoint and stop there. With several
            processes JAX listens for SIGTERM instead.

    Raises:
        InputError: data, mesh, batch and model do not fit together, or `run` cannot be used or another job writes it.
        JobError: a number is not finite, or a checkpoint cannot be written.
        OtherProcessEndedError: it did, so that a computation with it failed.
    """
    phases = Phases()
    first = jax.process_index() == 0
    observers = observers if first else ()
    mesh = make_mesh(config.mesh, devices or jax.devices())
    check_global_batch(mesh, config.global_batch, config.execution.gradient_accumulation)
    objective = MaskedTokens(config.masking, config.model.tokenizer)
    train_step = jit_train_step(config.model, objective, config.optimizer, config.execution, config.seed, mesh)
    predict = network_predictor(config.model, config.execution, mesh)
    config, initial = _with_initial_model(config, run)
    placement = RowPlacement(mesh, config.global_batch)
    with contextlib.ExitStack() as resources:
        # After what is quick to find out: it reads all data.
        files, manifest = _begin(data, config.model, observers, resources, kept_directory(run) if first else None)
        heldout = None
        if HELDOUT in manifest.splits:
            rows = evaluation_rows(open_rows(data, HELDOUT), config.evaluation_rows, placement)
            heldout = functools.partial(evaluate, rows, placement, objective, predict)
        # All that can be wrong is found out above and here by every process alike, before one of them writes.
        check_run(run, config, manifest, resume)
        multihost_utils.sync_global_devices("run checked")
        if first:
            write_run(run, config, manifest, initial)
        multihost_utils.sync_global_devices("run written")

        checkpoints = resources.enter_context(Checkpoints(run, config.keep_checkpoints))
        resources.enter_context(while_all_run())
        start = checkpoints.steps[-1] if checkpoints.steps else 0
        log = resources.enter_context(RunLog(run, start)) if first else None
        profiler = resources.enter_context(profiler or Profiler(run))
        finite = FiniteCheck(files, config.global_batch, config.seed, run if first else None)
        flops = step_flops(config.model, config.global_batch, manifest.row_length, config.masking.rate)
        report = _Report(finite, Speed(phases, flops, mesh), log, observers)
        state, evaluation = _restored_or_fresh(config, checkpoints, start, mesh)
        batches = training_batches(files, config.global_batch, placement.rows, config.seed, start, config.steps)
        for observer in observers:
            observer.started(start, config.steps, heldout is not None)
        step = start
        for step, batch in enumerate(phases.waiting("data", map(placement.on_mesh, batches)), start + 1):
            profiler.before(step, state, phases)
            with jax.profiler.StepTraceAnnotation("train", step_num=step), jax.transfer_guard("disallow"):
                state, metrics = train_step(state, batch)
            phases.enter("step")
            profiler.after(step, state, phases)
            report.read_due()
            last = stops_after(step, stop_requested) or step == config.steps
            report.stepped(step, metrics, last or step % config.log_every == 0)
            evaluates = heldout and (step == config.steps or step % config.evaluate_every == 0)
            saves = last or step % config.checkpoint_every == 0
            if evaluates or saves:
                report.read_all()
                finite.state(step, jax.block_until_ready(state))
            if heldout and evaluates:
                with phases.during("evaluation"):
                    evaluation = LastEvaluation(step, heldout(state.parameters))
                report.evaluated(evaluation)
            if saves:
                with phases.during("checkpoint"):
                    metadata = CheckpointMetadata(dataclasses.asdict(config), manifest.digest(), evaluation)
                    checkpoints.save(state, step, metadata)
            if last:
                break
        return RunResult(step, evaluation.figures if evaluation else None)


def _with_initial_model(config: PretrainConfig, run: Path) -> tuple[PretrainConfig, dict[str, Any] | None]:
    """Returns the configuration, and the provenance of the weights that a new run begins with, if it names any.

    A run that is resumed keeps those that it was started with, which need not be named again.
    """
    if (run / CONFIG_FILE).is_file():  # which is written last
        initial = config.initial_checkpoint or read_run_config(run).initial_checkpoint
        return dataclasses.replace(config, initial_checkpoint=initial), None
    if not config.initial_checkpoint:
        return config, None
    return config, check_initial_model(Path(config.initial_checkpoint), config.model)


def _begin(
    data: Path,
    model: ModelConfig,
    observers: Sequence[Observer],
    resources: contextlib.ExitStack,
    lock: contextlib.AbstractContextManager[None] | None,
) -> tuple[Rows, Manifest]:
    """Takes the lock, where one is given, into `resources`; returns the training rows and the checked manifest.

    Raises:
        InputError: on every process, if one cannot take its lock or use its data, or if the data differ.
    """

    def checked(done: int, total: int) -> None:
        for observer in observers:
            observer.checked(done, total)

    failure, digest = None, bytes(_DIGEST_BYTES)
    try:
        if lock:
            resources.enter_context(lock)
        files = open_rows(data, TRAIN)
        check_data(model, files.manifest)
        manifest = checked_manifest(data, files.manifest, checked)
        digest = bytes.fromhex(manifest.digest())
    except (InputError, OSError) as error:
        # The other processes wait to hear of it.
        failure = error
    digests = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8)).reshape(-1, _DIGEST_BYTES)
    if failure:
        raise failure
    if not digests.any(axis=1).all():
        raise InputError("Another process cannot begin: its output says why.")
    if (digests != digests[0]).any():
        raise InputError("The processes read different data: give all of them the same, prepared once.")
    return files, manifest


def _restored_or_fresh(
    config: PretrainConfig, checkpoints: Checkpoints, start: int, mesh: Mesh
) -> tuple[TrainState, LastEvaluation | None]:
    """Returns the state after `start` steps, and the last evaluation before it."""
    abstract = abstract_state(config.model, config.optimizer, mesh)
    if start:
        return checkpoints.restore(start, abstract), checkpoints.evaluation(start)
    weights = None
    if config.initial_checkpoint:
        weights = read_initial_parameters(Path(config.initial_checkpoint), abstract.parameters)
    return init_state(config.model, config.optimizer, config.seed, mesh, weights), None


class _Report:
    """Brings figures from the devices to the log and the observers, which are in process 0 alone.

    Figures of a step are read once the next one is on its way, so that the device never waits for them.
    """

    def __init__(self, finite: FiniteCheck, speed: Speed, log: RunLog | None, observers: Sequence[Observer]):
        self._finite, self._speed, self._log, self._observers = finite, speed, log, observers
        self._unread: list[StepMetrics] = []
        self._step, self._due = 0, False

    def read_due(self) -> None:
        """Reports the steps since the last report, if the last of them completes a line of the log.

        Waits for that step in any case, so that a stop that is asked for comes within two steps.
        """
        if self._due:
            self._report()
        jax.block_until_ready(self._unread[-1:])

    def stepped(self, step: int, metrics: StepMetrics, due: bool) -> None:
        """Takes the figures of a step that was sent to the devices; `due` says that it completes a line of the log."""
        self._unread.append(metrics)
        self._step, self._due = step, due
        for observer in self._observers:
            observer.stepped(step)

    def read_all(self) -> None:
        """Looks at all steps so far, and reports them if they are due: before a state is used."""
        if self._due:
            self._report()
        self._finite.figures(self._step, self._unread)

    def evaluated(self, evaluation: LastEvaluation) -> None:
        """Reports a held-out evaluation."""
        if self._log is not None:
            self._log.write(evaluation.step, "evaluation", dataclasses.asdict(evaluation.figures))
        for observer in self._observers:
            observer.evaluated(evaluation.step, evaluation.figures)

    def _report(self) -> None:
        values = self._finite.figures(self._step, self._unread)
        figures = dict(zip(StepMetrics._fields, values.mean(axis=0).tolist(), strict=True))
        figures |= self._speed.figures(len(self._unread), figures["tokens"])
        self._unread, self._due = [], False
        if self._log is not None:
            self._log.write(self._step, "training", figures)
        for observer in self._observers:
            observer.trained(self._step, figures)
