"""The step that is planned is the one that is trained; figures follow from what the compiler predicts by arithmetic.

So does the time of collectives, on tori whose links can be counted.
"""

import dataclasses
import importlib.resources
from types import SimpleNamespace
from unittest.mock import Mock

import jax
import numpy as np
import pytest

from dnabert_jax.config import ModelConfig, PretrainConfig
from dnabert_jax.errors import JobError
from dnabert_jax.families import PRESETS
from dnabert_jax.parallel.chips import Chip, chip_named
from dnabert_jax.parallel.mesh import make_mesh
from dnabert_jax.planning.compilation import Memory, OutOfMemoryError, compile_lowered, compile_step, read_memory
from dnabert_jax.planning.hlo import Collective, Estimated, Kernel, Work
from dnabert_jax.planning.plan import Interconnect, Plan, complete, outline

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
    devices = [SimpleNamespace(platform=platform, coords=[0, place, 0]) for place in range(8)]
    axes = {"data": 8, "fsdp": 1, "tensor": 1}
    plan = outline("me", "v5e:1x8", 1, dataclasses.replace(chip, hbm_bytes=hbm_bytes), CONFIG, axes, 512)
    return complete(plan, devices, MEMORY, work, 1, share)


def test_the_parts_of_a_step_and_its_two_ends() -> None:
    time = plan_on("tpu").time
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
    assert time.overlapped.step_seconds == pytest.approx(7 / 50), "longer than all else"


def test_what_a_step_time_means() -> None:
    plan = plan_on("tpu")
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
    plan = outline("me", "h100:8", 1, chip_named("h100"), CONFIG, {"data": 8}, 512)
    assert plan.available == round(0.75 * plan.chip.hbm_bytes)


def test_collectives_are_put_together_by_kind_and_group_and_the_longest_is_listed() -> None:
    plan = plan_on("tpu")
    assert [(part.kind, part.group, part.count, part.size) for part in plan.collectives] == [
        ("all-gather", 8, 14, 1_300_000_000), ("all-reduce", 2, 1, 25_000_000),
    ]  # fmt: skip
    assert [item.name for item in plan.top] == ["b"]
    plan = plan_on("gpu")  # whose compiler predicts no times
    assert plan.time is None
    assert all(part.seconds is None for part in (*plan.collectives, *plan.kernels))


def slice_of(name: str, *extent: int, slices: int = 1) -> tuple[Interconnect, Chip]:
    """A slice with its devices in the order of their places, the last axis fastest."""
    chip = chip_named(name)
    places = [SimpleNamespace(coords=list(place)) for place in np.ndindex(*extent)]
    return Interconnect(chip, places, slices), chip


def test_links_of_a_group() -> None:
    for name, extent, group, links in (
        ("v5e", (16, 16, 1), range(256), 4),  # two rings
        ("v5e", (16, 16, 1), range(16), 2),  # one of them
        ("v5e", (16, 16, 1), range(8), 1),  # half of one: a line, at whose end one link comes in
        ("v5e", (8, 16, 1), range(128), 3),  # a line and a ring
        ("v5e", (4, 4, 1), range(16), 2),  # two lines
        ("v4", (4, 4, 4), range(64), 6),
        ("v5p", (2, 2, 1), range(4), 2),
        ("v5p", (4, 4, 2), range(32), 3),  # no whole cube, no ring
        ("v5e", (4, 4, 1), [3], 1),
    ):
        assert slice_of(name, *extent)[0].links(list(group)) == links


def test_time_is_bytes_by_bandwidth() -> None:
    network, chip = slice_of("v5e", 16, 16, 1)
    size, pod = 10**9, list(range(256))
    gathered = size * 255 / 256 / (4 * chip.link_bandwidth)
    assert network.seconds("all-gather", size, pod) == pytest.approx(gathered)
    assert network.seconds("reduce-scatter", size, pod) == pytest.approx(gathered)
    assert network.seconds("all-reduce", size, pod) == pytest.approx(2 * gathered)
    assert network.seconds("all-reduce", size, [7]) == 0
    assert network.seconds("collective-permute", size, pod) == pytest.approx(size / chip.link_bandwidth)


def test_between_slices_the_network_of_the_data_centre_counts() -> None:
    network, chip = slice_of("v5e", 4, 4, 1, slices=4)
    alone = 10**9 / (chip.dcn_bandwidth or 0)
    assert network.seconds("ALL_REDUCE", 10**9, ()) == pytest.approx(2 * 3 / 4 * alone)
    assert network.seconds("ALL_GATHER", 10**9, ()) == pytest.approx(3 * alone)
    assert slice_of("v4", 2, 2, 1, slices=2)[0].seconds("ALL_REDUCE", 10**9, ()) is None


@pytest.fixture
def config(small_model: ModelConfig) -> PretrainConfig:
    return PretrainConfig(model=small_model, global_batch=16)


def test_arguments_are_the_state_and_the_rows(config: PretrainConfig) -> None:
    """On one device: each parameter thrice in float32, the rows in two bytes a token, a few counters."""
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    memory = read_memory(compile_step(config, mesh, 64))
    model = config.model
    hidden, width, layers = model.hidden_size, model.intermediate_size, model.num_layers
    a_layer = 4 * (hidden**2 + hidden) + 2 * hidden * width + hidden + width + 4 * hidden
    embeddings = (model.padded_vocabulary_size + model.max_positions + 2 + 2) * hidden
    head = hidden**2 + 3 * hidden + model.padded_vocabulary_size
    state = 3 * 4 * (layers * a_layer + embeddings + head)
    assert memory.arguments == pytest.approx(state + 2 * 16 * 64, abs=64)
    # The old state is given up for the new one.
    assert memory.aliased == pytest.approx(state, abs=64)
    assert memory.needed == memory.arguments + memory.temporaries + memory.code + memory.output - memory.aliased


def test_a_refusal_is_passed_on_in_short() -> None:
    for message, error, said in (
        ("RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 20.53G of "
         "15.75G hbm. Exceeded hbm capacity by 4.78G.\n\nTotal hbm usage >= 20.9G:", OutOfMemoryError, "20.53G"),
        ("RESOURCE_EXHAUSTED: Ran out of memory on HBM (26.28G).\nLargest:", OutOfMemoryError, "26.28G"),
        ("INTERNAL: a check failed.\nmore", JobError, "a check failed"),
    ):  # fmt: skip
        lowered = Mock(spec=jax.stages.Lowered, compile=Mock(side_effect=jax.errors.JaxRuntimeError(message)))
        with pytest.raises(error, match=said) as refused:
            compile_lowered(lowered)
        assert "\n" not in str(refused.value)


def test_the_description_of_a_gpu_is_that_of_the_chip_it_is_named_for() -> None:
    chip = chip_named("h100")
    description = (importlib.resources.files("dnabert_jax.planning") / f"{chip.name}.txtpb").read_text()
    assert f'device_description_str: "{chip.kinds[0]}"' in description
