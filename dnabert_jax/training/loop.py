"""The loop of pre-training: it feeds the step, evaluates, saves and reports; all effects of a run begin here."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import HELDOUT, TRAIN, Manifest, checked_manifest
from dnabert_jax.data.pipeline import training_batches
from dnabert_jax.data.rows import Rows, open_rows
from dnabert_jax.errors import InputError
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.output_directory import kept_directory
from dnabert_jax.parallel.mesh import make_mesh
from dnabert_jax.parallel.placement import RowPlacement
from dnabert_jax.telemetry.phases import Phases
from dnabert_jax.telemetry.profiler import Profiler
from dnabert_jax.telemetry.run_log import RunLog
from dnabert_jax.telemetry.speed import Speed, step_flops
from dnabert_jax.training.checkpoints import Checkpoints
from dnabert_jax.training.evaluation import Evaluation, compile_evaluation, evaluation_rows, network_predictor
from dnabert_jax.training.nonfinite import FiniteCheck
from dnabert_jax.training.preemption import stops_after, while_all_run
from dnabert_jax.training.run_directory import CONFIG_FILE, check_run, write_run
from dnabert_jax.training.saved_model import check_initial_model, read_initial_parameters
from dnabert_jax.training.state import Network, Parameters, TrainState, abstract_network, abstract_state, init_state
from dnabert_jax.training.step import StepMetrics, TrainStep, jit_train_step

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


def check_data(config: PretrainConfig, manifest: Manifest) -> None:
    """Raises InputError unless the model can read the rows."""
    if manifest.k != config.model.k:
        raise InputError(
            f"The data have k = {manifest.k}, the model k = {config.model.k}: prepare the data with "
            f"--k {config.model.k}, or choose another preset or --model.k {manifest.k}."
        )
    if manifest.row_length > config.model.max_positions:
        length, positions = manifest.row_length, config.model.max_positions
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
            (data.staging copies one from a store).
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
    network = abstract_network(config.model)
    step = jit_train_step(config, network, mesh)
    initial = None
    if config.initial_checkpoint and not (run / CONFIG_FILE).is_file():  # which is written last
        initial = check_initial_model(Path(config.initial_checkpoint), config.model)
    placement = RowPlacement(mesh, config.global_batch)
    with contextlib.ExitStack() as held:
        # After what is quick to find out: it reads all data.
        files, manifest = _begin(data, config, observers, held, kept_directory(run) if first else None)
        evaluate = None
        if HELDOUT in manifest.splits:
            rows = evaluation_rows(open_rows(data, HELDOUT), config.evaluation_rows, placement)
            predict = network_predictor(config, network, mesh)
            evaluate = compile_evaluation(config, rows, placement, mesh, predict)
        # All that can be wrong is found out above and here by every process alike, before one of them writes.
        check_run(run, config, manifest, resume)
        multihost_utils.sync_global_devices("run checked")
        if first:
            write_run(run, config, manifest, initial)
        multihost_utils.sync_global_devices("run written")
        with Checkpoints(run, config.keep_checkpoints) as checkpoints, while_all_run():
            start = checkpoints.steps[-1] if checkpoints.steps else 0
            finite = FiniteCheck(files, config.global_batch, config.seed, run if first else None)
            log = held.enter_context(RunLog(run, start)) if first else None
            with profiler or Profiler(run) as profiler:
                loop = _Loop(
                    config, step, files, manifest.digest(), evaluate, network, mesh, placement, checkpoints, finite,
                    phases, log, observers,
                )  # fmt: skip
                return loop.run(start, profiler, stop_requested)


def _begin(
    data: Path,
    config: PretrainConfig,
    observers: Sequence[Observer],
    held: contextlib.ExitStack,
    lock: contextlib.AbstractContextManager[None] | None,
) -> tuple[Rows, Manifest]:
    """Takes the lock of the run, where one is given, into `held`; returns the training rows and the checked manifest.

    Raises:
        InputError: on every process, if one cannot take its lock or use its data, or if the data differ.
    """

    def checked(done: int, total: int) -> None:
        for observer in observers:
            observer.checked(done, total)

    failure, digest = None, bytes(_DIGEST_BYTES)
    try:
        if lock:
            held.enter_context(lock)
        files = open_rows(data, TRAIN)
        check_data(config, files.manifest)
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


@dataclasses.dataclass
class _Loop:
    config: PretrainConfig
    step: TrainStep
    files: Rows
    data_digest: str
    evaluate: Callable[[Parameters], Evaluation] | None
    network: Network
    mesh: Mesh
    placement: RowPlacement
    checkpoints: Checkpoints
    finite: FiniteCheck
    phases: Phases
    log: RunLog | None
    observers: Sequence[Observer]
    evaluation: Evaluation | None = None
    evaluated_at: int = -1

    def __post_init__(self) -> None:
        self.speed = Speed(self.phases, step_flops(self.config, self.files.manifest.row_length), self.mesh)

    def run(self, start: int, profiler: Profiler, stop_requested: Callable[[], bool]) -> RunResult:
        config, placement = self.config, self.placement
        state = self._initial_state(start)
        batches = training_batches(self.files, config.global_batch, placement.rows, config.seed, start, config.steps)
        for observer in self.observers:
            observer.started(start, config.steps, self.evaluate is not None)
        window: list[StepMetrics] = []
        due: list[StepMetrics] = []
        for step, batch in enumerate(self.phases.waiting("data", map(placement.on_mesh, batches)), start + 1):
            profiler.before(step, state, self.phases)
            with jax.profiler.StepTraceAnnotation("train", step_num=step), jax.transfer_guard("disallow"):
                state, metrics = self.step(state, batch)
            self.phases.enter("step")
            profiler.after(step, state, self.phases)
            # Figures of a step are read once the next one is on its way, so that the device never waits for them.
            self._report(step - 1, due)
            # Nor does the host run further ahead, so that a stop that is asked for comes within two steps.
            jax.block_until_ready(window[-1:])
            window.append(metrics)
            last = stops_after(step, stop_requested) or step == config.steps
            due, window = (window, []) if step % config.log_every == 0 or last else ([], window)
            for observer in self.observers:
                observer.stepped(step)
            evaluates = self.evaluate is not None and self._due(step, config.evaluate_every)
            saves = last or self._due(step, config.checkpoint_every)
            if evaluates or saves:
                self._report(step, due)
                due = []
                self.finite.figures(step, window)
                self._evaluate_and_save(step, state, evaluates, saves)
            if last:
                return RunResult(step, self.evaluation)
        return RunResult(config.steps, self.evaluation)

    def _initial_state(self, start: int) -> TrainState:
        if start == 0:
            initial = None
            if self.config.initial_checkpoint:
                abstract = abstract_state(self.config, self.network, self.mesh).parameters
                initial = read_initial_parameters(Path(self.config.initial_checkpoint), abstract)
            return init_state(self.config, self.network, self.mesh, initial)
        last = self.checkpoints.evaluation(start)
        if last:
            self.evaluation, self.evaluated_at = last.figures, last.step
        return self.checkpoints.restore(start, abstract_state(self.config, self.network, self.mesh))

    def _report(self, step: int, metrics: list[StepMetrics]) -> None:
        if not metrics:
            return
        values = self.finite.figures(step, metrics)
        figures = dict(zip(StepMetrics._fields, values.mean(axis=0).tolist(), strict=True))
        figures |= self.speed.figures(len(metrics), figures["tokens"])
        if self.log is not None:
            self.log.write(step, "training", figures)
        for observer in self.observers:
            observer.trained(step, figures)

    def _due(self, step: int, every: int) -> bool:
        return step == self.config.steps or step % every == 0

    def _evaluate_and_save(self, step: int, state: TrainState, evaluates: bool, saves: bool) -> None:
        jax.block_until_ready(state)
        self.finite.state(step, state)
        if self.evaluate is not None and evaluates:
            with self.phases.during("evaluation"):
                self.evaluation, self.evaluated_at = self.evaluate(state.parameters), step
            if self.log is not None:
                self.log.write(step, "evaluation", dataclasses.asdict(self.evaluation))
            for observer in self.observers:
                observer.evaluated(step, self.evaluation)
        if saves:
            with self.phases.during("checkpoint"):
                evaluation = None
                if self.evaluation:
                    evaluation = {"step": self.evaluated_at, "figures": dataclasses.asdict(self.evaluation)}
                metadata = {
                    "config": dataclasses.asdict(self.config),
                    "data": self.data_digest,
                    "evaluation": evaluation,
                }
                self.checkpoints.save(state, step, metadata)
