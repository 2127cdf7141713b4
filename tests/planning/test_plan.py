"""The figures of a plan follow from what the compiler predicts by arithmetic that can be done by hand."""

import dataclasses
from types import SimpleNamespace

import pytest

from dnabert_jax.families import PRESETS
from dnabert_jax.parallel.chips import chip_named
from dnabert_jax.planning.compilation import Memory
from dnabert_jax.planning.plan import Plan, complete, outline
from dnabert_jax.planning.work import Collective, Estimated, Kernel, Work

CONFIG = dataclasses.replace(PRESETS["dnabert6"], global_batch=2048)
MEMORY = Memory(arguments=3, temporaries=5, output=4, aliased=3, code=1, peak=9, needed=10)
WORK = Work(
    estimated=(Estimated("a", "f32[8]", "x", 1, 10_000_000), Estimated("b", "f32[]", "y", 2, 20_000_000)),
    # On a line of eight chips one link leads out of either end: 50 GB/s.
    collectives=(
        Collective("all-gather", 12, 100_000_000, tuple(range(8)), overlaps=True),
        Collective("all-gather", 2, 50_000_000, tuple(range(8)), overlaps=True),
        Collective("all-reduce", 1, 25_000_000, (0, 1), overlaps=False),
    ),
    kernels=(
        Kernel("attention_forward", 12, 197_000_000_000, 1),
        Kernel("attention_backward", 2, 0, 819_000_000),
    ),
    unestimated=(),
)


def plan_on(platform: str, hbm_bytes: int = 10, work: Work = WORK, share: float | None = 0.9) -> Plan:
    """The plan for eight v5e chips in a line, or for as many devices of another platform."""
    chip = chip_named("v5e")
    assert chip is not None
    devices = [SimpleNamespace(platform=platform, coords=[0, place, 0]) for place in range(8)]
    axes = {"data": 8, "fsdp": 1, "tensor": 1}
    plan = outline("me", "v5e:1x8", 1, dataclasses.replace(chip, hbm_bytes=hbm_bytes), CONFIG, axes, 512)
    return complete(plan, devices, MEMORY, work, 1, share)


def test_the_parts_of_a_step_and_its_two_ends() -> None:
    time = plan_on("tpu").time
    assert time is not None
    beside, waiting = (12 * 0.1 + 2 * 0.05) * 7 / 8 / 50, 0.025 * 2 / 2 / 50
    assert time.cycles == 30_000_000
    assert time.compiler_seconds == pytest.approx(0.020)
    assert time.kernel_seconds == pytest.approx(12 * 0.001 + 2 * 0.001)
    assert time.collective_seconds == pytest.approx(beside + waiting)
    assert time.waiting_seconds == pytest.approx(waiting)
    assert time.overlapped.step_seconds == pytest.approx(0.034 + waiting)
    assert time.sequential.step_seconds == pytest.approx(0.034 + beside + waiting)
    slow = Collective("all-gather", 1, 8 * 10**9, tuple(range(8)), overlaps=True)
    time = plan_on("tpu", work=dataclasses.replace(WORK, collectives=(slow,))).time
    assert time is not None
    assert time.overlapped.step_seconds == pytest.approx(7 / 50), "longer than all else"


def test_what_a_step_time_means() -> None:
    plan = plan_on("tpu")
    assert plan.time is not None
    pace = plan.time.overlapped
    seconds = 0.034 + 0.0005
    assert pace.tokens_per_second == pytest.approx(2048 * 512 / seconds)
    assert pace.useful_tokens_per_second == pytest.approx(0.9 * 2048 * 512 / seconds)
    assert pace.hours == pytest.approx(120_000 * seconds / 3600)
    # The paper's model in rows of 512: 0.566 GFLOP a token, and 0.003 for the share that is predicted.
    assert plan.step_flops == pytest.approx(2048 * 512 * 0.5695e9, rel=0.002)
    assert pace.mfu == pytest.approx(plan.step_flops / seconds / (8 * 197e12))
    assert plan_on("tpu", share=None).time.overlapped.useful_tokens_per_second is None  # type: ignore[union-attr]


def test_it_fits_if_a_chip_has_what_is_needed_and_jax_uses_three_quarters_of_a_gpu() -> None:
    assert plan_on("tpu", hbm_bytes=10).fits
    assert not plan_on("tpu", hbm_bytes=9).fits
    chip = chip_named("h100")
    assert chip is not None
    assert outline("me", "h100:8", 1, chip, CONFIG, {"data": 8}, 512).available == round(0.75 * chip.hbm_bytes)


def test_collectives_are_put_together_by_kind_and_group_and_the_longest_is_listed() -> None:
    plan = plan_on("tpu")
    assert [(part.kind, part.group, part.count, part.size) for part in plan.collectives] == [
        ("all-gather", 8, 14, 1_300_000_000), ("all-reduce", 2, 1, 25_000_000),
    ]  # fmt: skip
    assert [item.name for item in plan.top] == ["b"]
    plan = plan_on("gpu")  # whose compiler predicts no times
    assert plan.time is None
    assert all(part.seconds is None for part in (*plan.collectives, *plan.kernels))
