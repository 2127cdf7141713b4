"""Rates are over the time of training alone."""

from collections.abc import Callable

import jax
import pytest

from dnabert_jax.config import MeshConfig
from dnabert_jax.parallel.chips import CHIPS, Chip
from dnabert_jax.parallel.mesh import make_mesh
from dnabert_jax.telemetry import speed
from dnabert_jax.telemetry.speed import Phases, Speed


def ten_steps(make: Callable[[Phases], Speed]) -> dict[str, float]:
    """Figures of 10 steps of 7 tokens with 3 s of data and 5 s of steps, and 300 s of everything else."""
    now = 0.0
    phases = Phases(lambda: now)
    measured = make(phases)
    now += 100
    phases.enter("step")
    now += 5
    for phase, seconds in (("data", 3), ("evaluation", 190), ("checkpoint", 9), ("profile", 1)):
        with phases.during(phase):
            now += seconds
    return measured.figures(10, 7.0)


def test_rates_leave_out_what_is_not_training() -> None:
    mesh = make_mesh(MeshConfig(), jax.devices())
    figures = ten_steps(lambda phases: Speed(phases, 1600, mesh))
    assert figures == {
        "tokens_per_second": 10 * 7 / 8,
        "flops_per_second": 10 * (1600 / 8) / 8,
        "seconds_startup": 100, "seconds_data": 3, "seconds_step": 5, "seconds_checkpoint": 9,
        "seconds_evaluation": 190, "seconds_profile": 1,
    }  # fmt: skip


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_utilisation_is_of_the_peak_of_one_chip(monkeypatch: pytest.MonkeyPatch, chip: Chip) -> None:
    monkeypatch.setattr(speed, "chip_of", lambda device: chip)
    mesh = make_mesh(MeshConfig(), jax.devices())
    # Eight chips that train all of the time, at half of their peak.
    step_flops = int(8 * chip.peak_flops * 0.8 / 2)
    assert ten_steps(lambda phases: Speed(phases, step_flops, mesh))["mfu"] == pytest.approx(0.5)
