"""Every second of a run is charged to one phase, rates are over training alone, and profiles never end a run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.profiler import ProfileData

from dnabert_jax.config import MeshConfig, ModelConfig
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import bind, parameter_shapes
from dnabert_jax.parallel.chips import CHIPS, Chip
from dnabert_jax.parallel.mesh import make_mesh
from dnabert_jax.telemetry import speed
from dnabert_jax.telemetry.speed import Phases, Profiler, Speed, step_flops

PROFILES = Path("tensorboard", "plugins", "profile")


class Clock:
    """Stands still until told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_phases_sum_to_wall_time_however_they_are_nested_and_though_they_fail() -> None:
    clock = Clock()
    phases = Phases(clock)

    def batches() -> Iterator[int]:
        for number, seconds in enumerate((16.0, 32.0)):
            clock.now += seconds
            yield number
        clock.now += 64.0

    clock.now += 1
    seen = []
    for number in phases.waiting("data", batches()):
        seen.append(number)
        clock.now += 2
        phases.enter("step")
        clock.now += 4
        with phases.during("evaluation"):
            clock.now += 8
            with phases.during("profile"):
                clock.now += 0.5
    with contextlib.suppress(OSError), phases.during("checkpoint"):
        clock.now += 128
        raise OSError("full")
    seconds = phases.lap()
    assert seen == [0, 1]
    assert seconds == {
        "startup": 1 + 2, "data": 16 + 32 + 64, "step": 4 + 2 + 4, "evaluation": 16, "profile": 1, "checkpoint": 128,
    }  # fmt: skip
    assert sum(seconds.values()) == clock.now - 1000


def test_a_lap_ends_where_it_is_read_and_the_next_begins_there() -> None:
    clock = Clock()
    phases = Phases(clock)
    with phases.during("evaluation"):
        clock.now += 3
        laps = [phases.lap()]
        clock.now += 5
    clock.now += 7
    laps += [phases.lap(), phases.lap()]
    assert [(lap["evaluation"], lap["startup"]) for lap in laps] == [(3, 0), (5, 7), (0, 0)]


@pytest.mark.parametrize("chip", [None, *CHIPS], ids=lambda chip: chip and chip.name)
def test_rates_are_of_training_and_utilisation_of_one_chip(monkeypatch: pytest.MonkeyPatch, chip: Chip | None) -> None:
    """10 steps of 7 tokens with 3 s of data and 5 s of steps, and 300 s of everything else, on 8 devices."""
    monkeypatch.setattr(speed, "chip_of", lambda device: chip)
    mesh, clock = make_mesh(MeshConfig(), jax.devices()), Clock()
    phases = Phases(clock)
    flops = int(8 * chip.peak_flops * 0.8 / 2) if chip else 1600
    measured = Speed(phases, flops, mesh)
    times = {"startup": 100, "step": 5, "data": 3, "evaluation": 190, "checkpoint": 9, "profile": 1}
    for phase, seconds in times.items():
        phases.enter(phase)  # type: ignore[arg-type]
        clock.now += seconds
    assert measured.figures(10, 7.0) == {
        "tokens_per_second": 10 * 7 / 8,
        "flops_per_second": 10 * (flops / 8) / 8,
        **({"mfu": pytest.approx(0.5)} if chip else {}),
        **{f"seconds_{phase}": seconds for phase, seconds in times.items()},
    }


@pytest.mark.parametrize("changes", [{}, {"feed_forward": "swiglu", "tied_head": False}])
def test_a_forward_pass_has_the_products_that_xla_counts(changes: dict[str, Any]) -> None:
    """XLA counts products and the rest of the work: the share of the products grows with the sizes."""
    sizes = {"hidden_size": 2048, "num_layers": 1, "num_heads": 4, "intermediate_size": 8192, "max_positions": 256}
    model = ModelConfig(k=3, **sizes, **changes)
    parameters = parameter_shapes(LanguageModel, model)
    ids, predict_at = jnp.zeros((2, 256), jnp.int32), jnp.zeros((2, 40), jnp.int32)
    forward = jax.jit(lambda parameters, ids, at: bind(LanguageModel, parameters, model)(ids, at))
    counted = forward.lower(parameters, ids, predict_at).cost_analysis()["flops"]
    gather = 2 * 2 * 40 * 256 * 2048  # masked positions are gathered by a product with zeros and ones
    padding = 2 * 2 * 40 * 2048 * (model.padded_vocabulary_size - model.vocabulary_size)
    analytic = step_flops(model, 2, 256, 40 / 256) / 3
    assert analytic == pytest.approx(counted - gather - padding, rel=0.01)
    assert analytic < counted


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
    lines = (line for plane in ProfileData.from_file(str(file)).planes for line in plane.lines)
    events = (event for line in lines for event in line.events if event.name == "train")
    return sorted(dict(event.stats)["step_num"] for event in events)


@pytest.mark.parametrize(
    ("process", "window", "first", "steps", "requested", "traced"),
    [
        (0, 2, 3, 6, (), [[3, 4]]),
        (0, 2, None, 8, (2, 3), [[2, 3], [4, 5]]),  # one after the other
        (0, 5, 3, 4, (), [[3, 4]]),  # shorter if the run ends
        (1, 1, 2, 6, (4,), [[4]]),  # another process, on request alone
    ],
)
def test_windows_have_the_steps_that_were_set_or_requested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: int, window: int, first: int | None, steps: int,
    requested: tuple[int, ...], traced: list[list[int]],
) -> None:  # fmt: skip
    monkeypatch.setattr(jax, "process_index", lambda: process)
    told: list[tuple[Path, RuntimeError | None]] = []
    train(Profiler(tmp_path, window, first, lambda *result: told.append(result)), steps, requested)
    assert told == [(tmp_path / PROFILES / f"from-step-{begin}-process-{process}", None) for begin, *_ in traced]
    assert [traced_steps(place) for place, _ in told] == traced
    assert all(len(list(place.glob("*.trace.json.gz"))) == 1 for place, _ in told)


def test_a_profile_that_cannot_be_written_is_reported_and_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    told: list[tuple[Path, RuntimeError | None]] = []
    train(Profiler(tmp_path, 1, 1, lambda *result: told.append(result)), steps=4, request_before=(3,))
    ((_, error),) = told
    assert "is not a directory" in str(error)
    # JAX keeps the trace until it is written; the next test wants one of its own.
    (tmp_path / "tensorboard").unlink()
    jax.profiler.stop_trace()
