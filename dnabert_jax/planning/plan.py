"""What a run would need and cost: what the compiler predicts, and what follows from that. Nothing is measured.

Collectives take bytes by the bandwidth of the links that a group can use. Rings, as in Austin et al. 2025, "How to
Scale Your Model" (jax-ml.github.io/scaling-book/sharding): n chips gather or scatter S bytes in S (n - 1) / n by the
bandwidth, and reduce them everywhere in twice that. The bandwidth is that of one direction of all links along the axes
of the torus that the group spans. No latency, and no other traffic, which is why the result is a lower bound for small
arrays and for groups that share links.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dnabert_jax.config import PretrainConfig
from dnabert_jax.parallel.chips import POD_AXIS, Chip
from dnabert_jax.planning.compilation import Memory
from dnabert_jax.planning.hlo import Collective, Estimated, Kernel, Unestimated, Work
from dnabert_jax.telemetry.speed import step_flops

_SECONDS_AN_HOUR = 3600
_GPU_SHARE = 0.75
"""Of a GPU's memory that JAX uses, unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise (JAX's page on GPU memory)."""

_CUBE = 4
"""v4 and v5p are wired in cubes of so many a side, and slices of whole cubes close along every axis."""
_SHARES = {"all-gather": 1, "reduce-scatter": 1, "all-reduce": 2, "all-to-all": 1}
"""How often each byte but a chip's own share travels."""


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Collectives of one kind over groups of one size.

    Attributes:
        kind: all-gather, all-reduce, ...; of what goes between slices in capitals, ALL_REDUCE.
        group: devices of a group; slices, of what goes between them.
        overlaps: whether they run beside computation; if not, the core waits.
        size: bytes a step, of the whole arrays.
        seconds: a step, computed; None on GPUs and where no bandwidth is published.
    """

    kind: str
    group: int
    overlaps: bool
    count: int
    size: int
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class KernelUse:
    """Custom calls of one kernel: how many a step, and seconds, computed from FLOPs and bytes; None on GPUs."""

    name: str
    count: int
    flops: int
    size: int
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class Pace:
    """What a step time means.

    Attributes:
        step_seconds: of a training step.
        tokens_per_second: of all rows, padding counted.
        useful_tokens_per_second: padding not counted; None if the share of padding is not known.
        mfu: share of the chips' peak that the model's FLOPs take.
        hours: of the whole recipe, steps alone.
    """

    step_seconds: float
    tokens_per_second: float
    useful_tokens_per_second: float | None
    mfu: float
    hours: float


@dataclasses.dataclass(frozen=True)
class StepTime:
    """The parts of a step, and its time if the collectives that may overlap with the rest do so wholly, or not at all.

    Attributes:
        cycles: estimated by the compiler.
        compiler_seconds: those cycles at the chip's clock.
        kernel_seconds: of custom calls, computed.
        collective_seconds: computed.
        waiting_seconds: of those collectives that the core waits for.
        overlapped: these, and the longer of the other collectives and the rest.
        sequential: the sum of all.
    """

    cycles: int
    compiler_seconds: float
    kernel_seconds: float
    collective_seconds: float
    waiting_seconds: float
    overlapped: Pace
    sequential: Pace


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that `dnabert-jax plan` says.

    Attributes:
        predicted_by: compiler and versions.
        slices: of that topology.
        chips: in all slices.
        chip: the published figures that are computed with.
        mesh: sizes of its axes.
        available: bytes of a chip's memory that a program may use.
        step_flops: of the model, counted analytically, in all chips.
        fits: whether they suffice.
        refusal: what the compiler said if it refused for want of memory; all below is then missing.
        collectives: by kind and size of group.
        kernels: custom calls.
        unestimated: what has no estimate besides those two, and is not part of the time.
        top: what the compiler estimates to take longest.
        time: None on GPUs, whose compiler estimates none.
    """

    predicted_by: str
    topology: str
    slices: int
    chips: int
    chip: Chip
    mesh: dict[str, int]
    config: PretrainConfig
    row_length: int
    available: int
    step_flops: int
    fits: bool
    refusal: str | None = None
    memory: Memory | None = None
    collectives: tuple[Traffic, ...] = ()
    kernels: tuple[KernelUse, ...] = ()
    unestimated: tuple[Unestimated, ...] = ()
    top: tuple[Estimated, ...] = ()
    time: StepTime | None = None


_Total = TypeVar("_Total", Traffic, KernelUse)


class Interconnect:
    """The network of a slice, and that between slices.

    Args:
        devices: of one slice, in the order of the mesh; TPUs, which say where they are.
    """

    def __init__(self, chip: Chip, devices: Sequence[Any], slices: int = 1):
        self._chip, self._slices = chip, slices
        self._places = np.array([device.coords for device in devices])
        self._extent = self._places.max(axis=0) + 1

    def seconds(self, kind: str, size: int, group: Sequence[int]) -> float | None:
        """Returns the time of one collective; None if the bandwidth between slices, which it needs, is not published.

        Args:
            kind: all-gather, reduce-scatter, all-reduce, all-to-all or collective-permute; between slices as XLA's
                multi-slice runtime calls it, ALL_REDUCE for example.
            size: bytes of the whole array: what is gathered, or what a chip has before it is reduced or sent.
            group: of devices, by place in `devices`; none if a chip sends to its peers in the other slices.
        """
        if not group:
            if self._chip.dcn_bandwidth is None:
                return None
            peers = self._slices - 1
            share = _SHARES.get(kind.lower().replace("_", "-"), 1) * peers / self._slices
            return size * (peers if kind == "ALL_GATHER" else share) / self._chip.dcn_bandwidth
        if kind not in _SHARES:
            return size / self._chip.link_bandwidth
        shares = _SHARES[kind] * (len(group) - 1) / len(group)
        return size * shares / (self.links(group) * self._chip.link_bandwidth)

    def links(self, group: Sequence[int]) -> int:
        """Returns the links, one direction each, over which a chip exchanges with its group: two along a ring."""
        places = self._places[list(group)]
        count = 0
        for axis, extent in enumerate(self._extent):
            spanned = len(set(places[:, axis]))
            if spanned > 1:
                count += 2 if spanned == extent and self._is_ring(int(extent)) else 1
        return max(count, 1)

    def _is_ring(self, extent: int) -> bool:
        if self._chip.links == 4:  # a 2D torus, of which only an axis of full length closes
            return extent == POD_AXIS
        return all(size % _CUBE == 0 for size in self._extent)


def outline(
    predicted_by: str, topology: str, slices: int, chip: Chip, config: PretrainConfig, axes: Mapping[str, int],
    row_length: int,
) -> Plan:  # fmt: skip
    """Returns the plan as far as it is known without the compiler's answer, and all of it if that is a refusal."""
    available = round(chip.hbm_bytes * (1 if chip.is_tpu else _GPU_SHARE))
    flops = step_flops(config.model, config.global_batch, row_length, config.masking.rate)
    chips = math.prod(axes.values())
    return Plan(
        predicted_by, topology, slices, chips, chip, dict(axes), config, row_length, available, flops, fits=False
    )


def complete(
    plan: Plan, devices: Sequence[Any], memory: Memory, work: Work, top: int, useful_share: float | None
) -> Plan:
    """Returns the whole plan.

    Args:
        top: how many of the longest instructions to list.
        useful_share: tokens that are no padding, of all, if known.
    """
    timed = devices[0].platform == "tpu"
    # The first slice comes first, and each runs the same program.
    network = Interconnect(plan.chip, devices[: len(devices) // plan.slices], plan.slices) if timed else None
    traffic, kernels = _traffic(work.collectives, plan.slices, network), _kernels(work.kernels, plan.chip, timed)
    return dataclasses.replace(
        plan,
        fits=max(memory.needed, memory.peak) <= plan.available,
        memory=memory,
        collectives=tuple(traffic),
        kernels=tuple(kernels),
        unestimated=work.unestimated,
        top=tuple(sorted(work.estimated, key=lambda item: -item.cycles)[:top]),
        time=_time(plan, work.cycles, traffic, kernels, useful_share) if timed else None,
    )


def _traffic(collectives: Iterable[Collective], slices: int, network: Interconnect | None) -> list[Traffic]:
    parts: dict[tuple[str, int, bool], Traffic] = {}
    for run in collectives:
        like = run.kind, len(run.group) or slices, run.overlaps
        seconds = network.seconds(run.kind, run.size, run.group) if network else None
        parts[like] = _with_run(parts.get(like, Traffic(*like, count=0, size=0, seconds=0.0)), run, seconds)
    return sorted(parts.values(), key=lambda part: -part.size)


def _kernels(kernels: Iterable[Kernel], chip: Chip, timed: bool) -> list[KernelUse]:
    uses: dict[str, KernelUse] = {}
    for run in kernels:
        seconds = max(run.flops / chip.peak_flops, run.size / chip.hbm_bandwidth) if timed else None
        use = _with_run(uses.get(run.name, KernelUse(run.name, 0, 0, 0, 0.0)), run, seconds)
        uses[run.name] = dataclasses.replace(use, flops=use.flops + run.times * run.flops)
    return list(uses.values())


def _with_run(total: _Total, run: Collective | Kernel, seconds: float | None) -> _Total:
    """Returns a total with a run, of these seconds, added to it; its time is not known if any is not."""
    known = None if seconds is None or total.seconds is None else total.seconds + run.times * seconds
    return dataclasses.replace(
        total, count=total.count + run.times, size=total.size + run.times * run.size, seconds=known
    )


def sequential_seconds(work: Work, chip: Chip, devices: Sequence[Any]) -> float:
    """Returns the seconds that a program takes on one TPU slice if nothing in it overlaps."""
    traffic = _traffic(work.collectives, 1, Interconnect(chip, devices, 1))
    apart = [part.seconds for part in traffic] + [kernel.seconds for kernel in _kernels(work.kernels, chip, True)]
    return work.cycles / chip.clock + sum(seconds or 0.0 for seconds in apart)


def _time(
    plan: Plan, cycles: int, traffic: Iterable[Traffic], kernels: Iterable[KernelUse], useful_share: float | None
) -> StepTime:
    on_core = cycles / plan.chip.clock
    in_kernels = sum(kernel.seconds or 0.0 for kernel in kernels)
    beside = sum((part.seconds or 0.0 for part in traffic if part.overlaps), 0.0)
    waiting = sum((part.seconds or 0.0 for part in traffic if not part.overlaps), 0.0)

    def pace(seconds: float) -> Pace:
        tokens = plan.config.global_batch * plan.row_length / seconds
        return Pace(
            step_seconds=seconds,
            tokens_per_second=tokens,
            useful_tokens_per_second=None if useful_share is None else tokens * useful_share,
            mfu=plan.step_flops / (seconds * plan.chips * plan.chip.peak_flops),
            hours=plan.config.steps * seconds / _SECONDS_AN_HOUR,
        )

    return StepTime(
        cycles=cycles,
        compiler_seconds=on_core,
        kernel_seconds=in_kernels,
        collective_seconds=beside + waiting,
        waiting_seconds=waiting,
        overlapped=pace(waiting + max(on_core + in_kernels, beside)),
        sequential=pace(waiting + on_core + in_kernels + beside),
    )
