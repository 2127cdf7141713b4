"""The loop of pre-training: it feeds the step, evaluates, saves and reports; all effects of a run begin here."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh

from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import HELDOUT, TRAIN, Manifest
from dnabert_jax.data.pipeline import RowFiles, training_batches
from dnabert_jax.errors import InputError
from dnabert_jax.parallel.mesh import make_mesh
from dnabert_jax.parallel.rules import row_sharding
from dnabert_jax.telemetry.run_log import RunLog
from dnabert_jax.telemetry.throughput import Throughput
from dnabert_jax.training.checkpoints import Checkpoints
from dnabert_jax.training.evaluation import Evaluation, EvaluationRows, Evaluator, Predictor
from dnabert_jax.training.run_directory import CHECKPOINTS_DIRECTORY, open_run
from dnabert_jax.training.state import Network, TrainState, abstract_network, abstract_state, init_state
from dnabert_jax.training.step import StepMetrics, TrainStep, jit_train_step


@runtime_checkable
class Observer(Protocol):
    """Is told what happens, for a progress bar or a test."""

    def started(self, step: int, steps: int, heldout: bool) -> None:
        """The run begins after `step` updates, stops after `steps`, and is evaluated on the way if `heldout`."""

    def stepped(self, step: int) -> None:
        """One more update was sent to the device."""

    def trained(self, step: int, figures: dict[str, float]) -> None:
        """Mean figures of the last steps: those of StepMetrics, and tokens_per_second."""

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        """A held-out evaluation."""


@dataclasses.dataclass(frozen=True)
class RunResult:
    """How a run ended: updates made, and the last held-out evaluation if there was one."""

    step: int
    evaluation: Evaluation | None


def network_predictor(network: Network) -> Predictor:
    """The masked-LM logits of a network at the masked positions."""
    return lambda parameters, masked: network.bind(parameters)(masked.input_ids, masked.predict_at)


def check_data(config: PretrainConfig, manifest: Manifest) -> None:
    """Raises InputError unless the model can read the rows."""
    if manifest.k != config.model.k:
        raise InputError(
            f"The data have k = {manifest.k}, the model k = {config.model.k}: prepare the data with "
            f"--k {config.model.k}, or choose another preset."
        )
    if manifest.row_length > config.model.max_positions:
        raise InputError(
            f"Rows of {manifest.row_length} tokens do not fit the model's {config.model.max_positions} positions."
        )


def pretrain(
    config: PretrainConfig, data: Path, run: Path, observers: Sequence[Observer] = (), resume: bool = False
) -> RunResult:
    """Trains from the rows under `data` and keeps everything under `run`.

    Args:
        config: the run.
        data: a directory made by `prepare`.
        run: the run directory; must be new, or be the one to go on with.
        observers: told of every step.
        resume: go on from the latest checkpoint under `run`, if there is one.

    Raises:
        InputError: data, mesh, batch and model do not fit together, or `run` cannot be used.
    """
    files = RowFiles(data, TRAIN)
    check_data(config, files.manifest)
    mesh = make_mesh(config.mesh, jax.devices())
    network = abstract_network(config.model)
    # What can be wrong with the configuration is found out here, before the run directory is made.
    step = jit_train_step(config, network, mesh)
    heldout = RowFiles(data, HELDOUT) if HELDOUT in files.manifest.splits else None
    open_run(run, config, files.manifest, resume)
    with Checkpoints(run / CHECKPOINTS_DIRECTORY, config.keep_checkpoints) as checkpoints:
        start = checkpoints.steps[-1] if checkpoints.steps else 0
        with RunLog(run, start) as log:
            loop = _Loop(config, step, files, heldout, network, mesh, checkpoints, log, observers)
            return loop.run(start)


class _Loop:
    def __init__(
        self,
        config: PretrainConfig,
        step: TrainStep,
        files: RowFiles,
        heldout: RowFiles | None,
        network: Network,
        mesh: Mesh,
        checkpoints: Checkpoints,
        log: RunLog,
        observers: Sequence[Observer],
    ):
        self._config, self._step, self._files, self._network, self._mesh = config, step, files, network, mesh
        self._checkpoints, self._log, self._observers = checkpoints, log, observers
        self._has_heldout = heldout is not None
        if heldout is not None:
            rows = EvaluationRows(
                heldout, config.evaluation_rows, config.global_batch, jax.process_index(), jax.process_count()
            )
            self._evaluate = Evaluator(config, rows, mesh).compile(network_predictor(network))
        self._evaluation: Evaluation | None = None
        self._evaluated_at = -1
        self._throughput = Throughput()

    def run(self, start: int) -> RunResult:
        config = self._config
        state = self._initial_state(start)
        batches = training_batches(
            self._files, config.global_batch, config.seed, start, config.steps, jax.process_index(), jax.process_count()
        )
        sharding = row_sharding(self._mesh)
        for observer in self._observers:
            observer.started(start, config.steps, self._has_heldout)
        window: list[StepMetrics] = []
        due: list[StepMetrics] = []
        for step, rows in enumerate(batches, start + 1):
            batch = jax.make_array_from_process_local_data(sharding, rows)
            with jax.transfer_guard("disallow"):
                state, metrics = self._step(state, batch)
            # Figures of a step are read once the next one is on its way, so that the device never waits for them.
            self._report(step - 1, due)
            window.append(metrics)
            due, window = (window, []) if step % config.log_every == 0 or step == config.steps else ([], window)
            for observer in self._observers:
                observer.stepped(step)
            self._evaluate_and_save(step, state)
        self._report(config.steps, due)
        return RunResult(max(start, config.steps), self._evaluation)

    def _initial_state(self, start: int) -> TrainState:
        if start == 0:
            return init_state(self._config, self._network, self._mesh)
        evaluation = self._checkpoints.metadata(start)["evaluation"]
        if evaluation:
            self._evaluation, self._evaluated_at = Evaluation(**evaluation["figures"]), evaluation["step"]
        return self._checkpoints.restore(start, abstract_state(self._config, self._network, self._mesh))

    def _report(self, step: int, metrics: list[StepMetrics]) -> None:
        if not metrics:
            return
        values = np.array(jax.device_get(metrics), np.float64)
        figures = dict(zip(StepMetrics._fields, values.mean(axis=0).tolist(), strict=True))
        figures["tokens_per_second"] = self._throughput.rate(figures["tokens"] * len(metrics))
        self._log.write(step, "training", figures)
        for observer in self._observers:
            observer.trained(step, figures)

    def _evaluate_and_save(self, step: int, state: TrainState) -> None:
        config, last = self._config, step == self._config.steps
        save = last or step % config.checkpoint_every == 0
        evaluate = self._has_heldout and (last or step % config.evaluate_every == 0)
        if not (save or evaluate):
            return
        jax.block_until_ready(state)
        with self._throughput.pause():
            if evaluate:
                self._evaluation, self._evaluated_at = self._evaluate(state.parameters), step
                self._log.write(step, "evaluation", dataclasses.asdict(self._evaluation))
                for observer in self._observers:
                    observer.evaluated(step, self._evaluation)
            if save:
                self._checkpoints.save(state, step, self._metadata())

    def _metadata(self) -> dict[str, Any]:
        evaluation = None
        if self._evaluation:
            evaluation = {"step": self._evaluated_at, "figures": dataclasses.asdict(self._evaluation)}
        return {
            "config": dataclasses.asdict(self._config),
            "data": self._files.manifest.digest(),
            "evaluation": evaluation,
        }
