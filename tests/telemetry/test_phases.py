"""Every second of a run is charged to one phase."""

from collections.abc import Iterator

import pytest

from dnabert_jax.telemetry.speed import Phases


class FakeClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_phases_sum_to_wall_time_however_they_are_nested() -> None:
    clock = FakeClock()
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
    with phases.during("checkpoint"):
        clock.now += 128
    seconds = phases.lap()
    assert seen == [0, 1]
    assert seconds == {
        "startup": 1 + 2, "data": 16 + 32 + 64, "step": 4 + 2 + 4, "evaluation": 16, "profile": 1, "checkpoint": 128,
    }  # fmt: skip
    assert sum(seconds.values()) == clock.now - 1000


def test_a_lap_ends_where_it_is_read_and_the_next_begins_there() -> None:
    clock = FakeClock()
    phases = Phases(clock)
    with phases.during("evaluation"):
        clock.now += 3
        first = phases.lap()
        clock.now += 5
    clock.now += 7
    second = phases.lap()
    assert (first["evaluation"], first["startup"]) == (3, 0)
    assert (second["evaluation"], second["startup"]) == (5, 7)
    assert sum(phases.lap().values()) == 0


def test_a_failure_ends_its_phase() -> None:
    clock = FakeClock()
    phases = Phases(clock)
    phases.enter("step")

    def save() -> None:
        with phases.during("checkpoint"):
            clock.now += 1
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        save()
    clock.now += 2
    seconds = phases.lap()
    assert (seconds["checkpoint"], seconds["step"]) == (1, 2)
