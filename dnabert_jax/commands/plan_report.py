"""A plan in words and tables, each figure with where it comes from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # planning loads JAX, which the command line need not wait for
    from dnabert_jax.planning.plan import Plan, StepTime
    from dnabert_jax.tasks.suites.plan import JobsAChip, SuitePlan

_GIB, _MIB = 2**30, 2**20
_OF_CUDNN = "__cudnn$"
_SHAPE_WIDTH = 40
_NAMED = 6
"""Kinds of instructions without an estimate that are named, those of the largest results."""


def print_plan(plan: "Plan") -> None:
    """Prints it all."""
    config, axes = plan.config, " x ".join(f"{name} {size}" for name, size in plan.mesh.items())
    several = f"{plan.slices} slices of " if plan.slices > 1 else ""
    print(
        f"{config.global_batch:,} rows of {plan.row_length} tokens a step on {several}{plan.topology}: "
        f"{plan.chips:,} chips, mesh {axes}.\n"
        f"Predicted by {plan.predicted_by}, or computed from what it predicts; nothing was measured.\n\n"
        f"FLOPs of a step: {_short(plan.step_flops / 1e12)} TFLOP, counted analytically (matrix products, no remat)."
    )
    _print_memory(plan)
    if not plan.memory:
        return
    timed = ", time computed from them" if plan.time else ""
    print(f"\nCollectives of a step (in capitals, between slices); bytes of whole arrays{timed}")
    rows: list[tuple[str, ...]] = [
        (
            *(part.kind, f"{part.group}", f"{part.count:,}", f"{part.size / _MIB:,.1f}", _milliseconds(part.seconds)),
            "beside computation" if part.overlaps else "computation waits",
        )
        for part in plan.collectives
    ]
    _print_table(("kind", "group of", "count", "MiB", "ms", ""), rows)
    timed = ", time computed: the longer of FLOPs and bytes at the chip's peaks" if plan.time else ""
    print(f"\nCustom calls of a step; FLOPs as executed{timed}")
    rows = []
    for kernel in plan.kernels:
        flops = _short(kernel.flops / 1e12) if kernel.flops else "-"
        figures = f"{kernel.count:,}", flops, f"{kernel.size / _MIB:,.1f}", _milliseconds(kernel.seconds)
        rows.append((kernel.name, *figures))
    _print_table(("kernel", "count", "TFLOP", "MiB", "ms"), rows)
    if plan.time:
        _print_time(plan, plan.time)
    else:
        fused = any(kernel.name.startswith(_OF_CUDNN) for kernel in plan.kernels)
        print(f"  attention is {'' if fused else 'not '}cuDNN's fused kernel; times are not predicted for GPUs")


def _print_memory(plan: "Plan") -> None:
    available = f"a chip has {plan.available / _GIB:,.2f} GiB"
    if plan.available < plan.chip.hbm_bytes:
        available += f" that JAX uses, of {plan.chip.hbm_bytes / _GIB:,.2f} (XLA_PYTHON_CLIENT_MEM_FRACTION)"
    print("\nMemory of a chip, predicted by the compiler")
    if not plan.memory:
        print(f"  does not fit: {plan.refusal}, says the compiler, which leaves some aside ({available})")
        return
    memory = plan.memory
    for what, size in (
        ("arguments", memory.arguments),
        ("temporaries", memory.temporaries),
        ("output", memory.output),
        ("aliased: output in the place of arguments", memory.aliased),
        ("code", memory.code),
        ("together", memory.needed),
        ("peak, as the compiler counts it", memory.peak),
    ):
        print(f"  {what:<42}{size / _GIB:>9.3f} GiB")
    larger = f"{max(memory.needed, memory.peak) / _GIB:.3f} GiB, the larger of the last two"
    print(f"  {'fits' if plan.fits else 'does not fit'}: {available}, for {larger}")


def _print_time(plan: "Plan", time: "StepTime") -> None:
    print("\nTime of a step")
    estimate = f"{time.cycles:,} cycles, predicted by the compiler, at {plan.chip.clock / 1e9:g} GHz"
    for what, seconds in (
        (estimate, time.compiler_seconds),
        ("custom calls, computed", time.kernel_seconds),
        ("collectives beside computation, computed", time.collective_seconds - time.waiting_seconds),
        ("collectives that computation waits for, computed", time.waiting_seconds),
    ):
        print(f"  {what:<62}{seconds * 1e3:>9.3f} ms")
    if any(part.seconds is None for part in plan.collectives):
        print("  what goes between slices is not timed: no bandwidth is published for this chip")
    print("\nPredicted, if what is beside computation costs no time, and if it costs all of its own")
    paces = time.overlapped, time.sequential
    rows = [
        ("step, ms", *(_short(pace.step_seconds * 1e3) for pace in paces)),
        ("tokens/s, padding counted", *(f"{pace.tokens_per_second:,.0f}" for pace in paces)),
        ("tokens/s, padding not counted", *(f"{pace.useful_tokens_per_second or 0:,.0f}" for pace in paces)),
        ("MFU", *(f"{pace.mfu:.1%}" for pace in paces)),
        (f"hours of {plan.config.steps:,} steps", *(_short(pace.hours) for pace in paces)),
    ]
    knows_padding = bool(time.overlapped.useful_tokens_per_second)
    _print_table(("", "beside", "one after the other"), rows if knows_padding else rows[:2] + rows[3:])
    if not knows_padding:
        print("  with --data, tokens without padding are shown too")

    count, size = sum(part.count for part in plan.unestimated), sum(part.size for part in plan.unestimated)
    print(f"\nNot in the time: {count:,} instructions without an estimate; their results have {size / _MIB:,.1f} MiB.")
    largest = sorted(plan.unestimated, key=lambda part: -part.size)
    for part in largest[:_NAMED]:
        print(f"  {part.count:>6,} {part.what}, {part.size / _MIB:,.1f} MiB")
    print(f"  {sum(part.count for part in largest[_NAMED:]):>6,} others")
    print("\nLongest by the compiler's estimate, instructions alike together")
    rows = []
    for item in plan.top:
        shape = item.shape if len(item.shape) <= _SHAPE_WIDTH else f"{item.shape[: _SHAPE_WIDTH - 3]}..."
        share = f"{item.cycles / time.cycles:.1%}"
        rows.append((f"{item.cycles:,}", share, f"{item.times}", item.name, shape, item.op_name))
    _print_table(("cycles", "share", "times", "first of them", "result", "from"), rows)


def print_suite_plan(plan: "SuitePlan") -> None:
    """Prints what fine-tuning a suite would take."""
    size, config = plan.size, plan.config
    passes = "each embedded once" if config.train == "probe" else f"{config.epochs_of(size.examples)} epochs"
    print(
        f"{size.sets * size.seeds:,} fine-tunings of {plan.model} ({config.train}): {size.sets:,} sets of "
        f"{size.examples:,} training sequences of {size.bases} bases, {passes}, batch {config.batch_size}, on "
        f"{plan.topology}: {plan.chips:,} chips.\n"
        f"Predicted by {plan.predicted_by}, or counted from that; nothing was measured.\n"
    )
    if plan.fitting:
        _print_hours(plan.fitting, plan.chip.hbm_bytes)
    for jobs in plan.plans:
        if jobs.refusal:
            print(f"{jobs.jobs} jobs a chip do not fit: {jobs.refusal}; more were not tried.")
    if not plan.fitting:
        return
    best = min(plan.fitting, key=lambda jobs: jobs.hours)
    print(
        f"\nThe fewest hours, {best.hours:,.2f}, are predicted with {best.jobs} jobs a chip: {best.groups:,} groups of "
        f"{plan.chips * best.jobs:,} jobs, each of {best.steps:,} steps, {best.validations:,} predictions of the "
        f"validation and {best.tests:,} of the test split."
    )
    if best.step:
        print(
            f"Not in the time: {best.step.unestimated:,} instructions of a step without an estimate, whose results "
            f"have {best.step.unestimated_bytes / _MIB:,.1f} MiB; reading, compiling, checkpoints, bootstrap "
            "intervals, sets of unequal size that wait for each other, and jobs that begin anew."
        )


def _print_hours(plans: "Sequence[JobsAChip]", memory: int) -> None:
    head = ("jobs a chip", f"GiB of {memory / _GIB:.0f}", "ms a step", "ms a prediction", "groups")
    rows = [
        (
            f"{plan.jobs}",
            f"{max(plan.step.memory, plan.prediction.memory) / _GIB:.2f}",
            *(f"{program.seconds * 1e3:,.2f}" for program in (plan.step, plan.prediction)),
            f"{plan.groups:,}",
            *(f"{hours:,.2f}" for hours in (plan.training_hours, plan.validation_hours, plan.test_hours, plan.hours)),
        )
        for plan in plans
        if plan.step and plan.prediction
    ]
    _print_table((*head, "training, h", "validation, h", "test, h", "together, h"), rows)


def _short(figure: float) -> str:
    """Returns three digits, or all before the point."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:,.3f}"


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Prints columns as wide as they need be, figures to the right."""
    if not rows:
        print("  none")
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = (
            cell.rjust(width) if first[:1].isdigit() or first == "-" else cell.ljust(width)
            for cell, width, first in zip(row, widths, rows[0], strict=True)
        )
        print(f"  {'  '.join(cells)}".rstrip())
