"""Where the wall time of a run goes, as its host sees it, how fast it trains, and profiles of a few of its steps.

Steps run asynchronously: the loop sends one and then waits for the one before it. So a phase is what the loop was
doing, not what the devices were doing. docs/file-formats.md says what each phase is.

The FLOPs of a step, by which utilisation (MFU) is measured, are counted from the model's sizes. Matrix products only, a
multiplication and an addition counting two, as in Chowdhery et al. 2022 (arXiv 2204.02311, appendix B), with two
differences: every token attends to its whole row, and the head sees masked positions alone. What is computed on top
does not count: heads padded to a register, or a layer a second time in the backward pass.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import jax
from jax.sharding import Mesh

from dnabert_jax.config import ModelConfig
from dnabert_jax.parallel.chips import chip_of
from dnabert_jax.telemetry.run_log import TENSORBOARD_DIRECTORY

Phase = Literal["startup", "data", "step", "checkpoint", "evaluation", "profile"]

_PHASES: tuple[Phase, ...] = get_args(Phase)
_Item = TypeVar("_Item")


class Phases:
    """A ledger of wall time, begun in the phase startup; one phase is charged at any moment, so they sum to it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock, self._since = clock, clock()
        self._current: Phase = "startup"
        self._seconds = dict.fromkeys(_PHASES, 0.0)

    def enter(self, phase: Phase) -> Phase:
        """Charges the time from now on to a phase, and returns the one before it."""
        before, now = self._current, self._clock()
        self._seconds[before] += now - self._since
        self._current, self._since = phase, now
        return before

    @contextlib.contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Charges what happens inside to a phase, and then time to the one before it again."""
        before = self.enter(phase)
        try:
            yield
        finally:
            self.enter(before)

    def waiting(self, phase: Phase, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yields the items; the time they take to come is charged to a phase."""
        before = self.enter(phase)
        for item in items:
            self.enter(before)
            yield item
            before = self.enter(phase)
        self.enter(before)

    def lap(self) -> dict[Phase, float]:
        """Returns the seconds of each phase since the last call, or since the start."""
        self.enter(self._current)
        seconds, self._seconds = self._seconds, dict.fromkeys(_PHASES, 0.0)
        return seconds


class Speed:
    """Figures of the time since the figures before.

    Args:
        step_flops: of the model in one step, over all devices (`step_flops`).
    """

    def __init__(self, phases: Phases, step_flops: int, mesh: Mesh):
        chip = chip_of(mesh.devices.flat[0])
        self._phases, self._device_flops = phases, step_flops / mesh.devices.size
        self._peak = chip.peak_flops if chip else None

    def figures(self, steps: int, tokens: float) -> dict[str, float]:
        """Returns rates over the phases data and step, without start-up, checkpoints, evaluations and profiles.

        They are `tokens_per_second` of the whole run, `flops_per_second` of one device and, on a chip whose peak is
        known, `mfu`, model FLOPs utilisation: the share of its peak in bfloat16, whatever the compute_dtype is.
        `seconds_PHASE` is the time in each of the phases.

        Args:
            steps: that were made.
            tokens: of one of them on average, without padding.
        """
        seconds = self._phases.lap()
        # A clock may stand still between two laps.
        trained = max(seconds["data"] + seconds["step"], 1e-9)
        flops_per_second = steps * self._device_flops / trained
        figures = {"tokens_per_second": steps * tokens / trained, "flops_per_second": flops_per_second}
        if self._peak:
            figures["mfu"] = flops_per_second / self._peak
        return figures | {f"seconds_{phase}": value for phase, value in seconds.items()}


_FORWARD_AND_BACKWARD = 3
"""The backward pass has two products for each of the forward pass."""


def step_flops(model: ModelConfig, rows: int, row_length: int, mask_rate: float) -> int:
    """Returns the FLOPs of a step over all devices, forward and backward.

    Args:
        model: for its sizes; V is the number of ids that mean something.
        rows: of the global batch.
        row_length: tokens of a row; padding is computed and counts.
        mask_rate: share of tokens that are predicted.
    """
    hidden, width = model.hidden_size, model.intermediate_size
    # Query, key, value and output; the products of feed-forward; scores and their product with the values.
    products = 3 if model.feed_forward == "swiglu" else 2
    a_token = model.num_layers * (8 * hidden**2 + 2 * products * hidden * width + 4 * row_length * hidden)
    a_prediction = 2 * hidden**2 + 2 * hidden * model.vocabulary_size
    tokens = rows * row_length
    return _FORWARD_AND_BACKWARD * (tokens * a_token + round(tokens * mask_rate) * a_prediction)


class Profiler(contextlib.AbstractContextManager["Profiler"]):
    """Traces windows of steps to RUN/tensorboard/plugins/profile/from-step-STEP-process-PROCESS; a context manager.

    A process traces itself and its own devices. A window that is set beforehand is traced by process 0 alone, as all
    of them do the same; one that is requested, by the process of which it was: a slow one, say.

    Args:
        steps: of a window; fewer if the run ends in it.
        first: where a window begins: the number of its first update, from 1; none is set beforehand if not given.
        report: told of each window where its profile is or, with the error, could not be written. That does not end
            the run; it has no profiles any more.
    """

    def __init__(
        self,
        run: Path,
        steps: int = 1,
        first: int | None = None,
        report: Callable[[Path, RuntimeError | None], None] = lambda _place, _error: None,
    ):
        self._run, self._steps, self._first, self._report = run, steps, first, report
        self._requested = self._failed = False
        self._name: str | None = None
        self._last = 0

    def request(self) -> None:
        """The next steps are to be traced, after the window that is open if there is one; for a signal handler too."""
        self._requested = True

    def before(self, step: int, state: Any, phases: Phases) -> None:
        """Opens a window if one begins with this step, once the devices have made `state`, which it starts from."""
        scheduled = step == self._first and jax.process_index() == 0
        if self._name or self._failed or not (scheduled or self._requested):
            return
        jax.block_until_ready(state)
        self._requested = False
        self._name, self._last = f"from-step-{step}-process-{jax.process_index()}", step + self._steps - 1
        options = jax.profiler.ProfileOptions()
        options.session_id = self._name
        with phases.during("profile"):
            jax.profiler.start_trace(self._run / TENSORBOARD_DIRECTORY, profiler_options=options)

    def after(self, step: int, state: Any, phases: Phases) -> None:
        """Closes the window that ends with this step, once the devices have made `state`."""
        if self._name and step == self._last:
            jax.block_until_ready(state)
            with phases.during("profile"):
                self._write()

    def __exit__(self, *_: object) -> None:
        if self._name:
            self._write()

    def _write(self) -> None:
        place, failure = self._run / TENSORBOARD_DIRECTORY / "plugins" / "profile" / str(self._name), None
        self._name = None
        try:
            jax.profiler.stop_trace()
        # What XLA raises where it cannot write; JAX starts no other trace then (jax 0.10.2).
        except RuntimeError as error:
            self._failed, failure = True, error
        self._report(place, failure)
