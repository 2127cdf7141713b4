"""A window traces the steps it says, whoever asks for it, and never ends a run."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.profiler import ProfileData

from dnabert_jax.telemetry.speed import Phases, Profiler

PROFILES = Path("tensorboard", "plugins", "profile")


class Told:
    """Keeps what a profiler reports."""

    def __init__(self) -> None:
        self.places: list[Path] = []
        self.errors: list[RuntimeError | None] = []

    def __call__(self, place: Path, error: RuntimeError | None) -> None:
        self.places.append(place)
        self.errors.append(error)


def train(profiler: Profiler, steps: int, request_before: tuple[int, ...] = ()) -> None:
    """A loop like that of training."""
    phases, state = Phases(), jnp.ones((64, 64))
    update = jax.jit(lambda state: state @ state / 64)
    with profiler:
        for step in range(1, steps + 1):
            if step in request_before:
                profiler.request()
            profiler.before(step, state, phases)
            with jax.profiler.StepTraceAnnotation("train", step_num=step):
                state = update(state)
            profiler.after(step, state, phases)


def traced_steps(place: Path) -> list[int]:
    (file,) = place.glob("*.xplane.pb")
    events = [
        event
        for plane in ProfileData.from_file(str(file)).planes
        for line in plane.lines
        for event in line.events
        if event.name == "train"
    ]
    return sorted(dict(event.stats)["step_num"] for event in events)


def test_a_window_has_the_steps_that_were_set(tmp_path: Path) -> None:
    told = Told()
    train(Profiler(tmp_path, 2, 3, told), steps=6)
    assert told.places == [tmp_path / PROFILES / "from-step-3-process-0"]
    assert told.errors == [None]
    assert traced_steps(told.places[0]) == [3, 4]
    assert len(list(told.places[0].glob("*.trace.json.gz"))) == 1


def test_windows_are_requested_one_after_the_other(tmp_path: Path) -> None:
    told = Told()
    train(Profiler(tmp_path, 2, None, told), steps=8, request_before=(2, 3))
    assert [traced_steps(place) for place in told.places] == [[2, 3], [4, 5]]


def test_a_run_that_ends_in_a_window_leaves_a_shorter_one(tmp_path: Path) -> None:
    told = Told()
    train(Profiler(tmp_path, 5, 3, told), steps=4)
    assert [traced_steps(place) for place in told.places] == [[3, 4]]


def test_another_process_is_traced_on_request_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    told = Told()
    train(Profiler(tmp_path, 1, 2, told), steps=6, request_before=(4,))
    assert told.places == [tmp_path / PROFILES / "from-step-4-process-1"]
    assert traced_steps(told.places[0]) == [4]


def test_a_profile_that_cannot_be_written_is_reported_and_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    told = Told()
    train(Profiler(tmp_path, 1, 1, told), steps=4, request_before=(3,))
    (error,) = told.errors
    assert "is not a directory" in str(error)
    # JAX keeps the trace until it is written; the next test wants one of its own.
    (tmp_path / "tensorboard").unlink()
    jax.profiler.stop_trace()
