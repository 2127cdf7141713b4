"""A few steps of a run traced by JAX's profiler, for XProf, TensorBoard or Perfetto."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from dnabert_jax.telemetry.phases import Phases
from dnabert_jax.telemetry.run_log import TENSORBOARD_DIRECTORY


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
        place = self._run / TENSORBOARD_DIRECTORY / "plugins" / "profile" / str(self._name)
        self._name = None
        try:
            jax.profiler.stop_trace()
        # What XLA raises where it cannot write; JAX starts no other trace then (jax 0.10.2).
        except RuntimeError as error:
            self._failed = True
            self._report(place, error)
        else:
            self._report(place, None)
