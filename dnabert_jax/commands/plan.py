"""`dnabert-jax plan`: what a run, or fine-tuning a suite, would need and cost on accelerators that are not there."""

import dataclasses
import functools
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import tyro

from dnabert_jax import storage
from dnabert_jax.commands.console import progress_bar
from dnabert_jax.commands.flags import parse_from_preset
from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.rows import read_source
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.families import DEFAULT_PRESET, PRESETS, PresetName
from dnabert_jax.storage import Location
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FinetuneConfig
from dnabert_jax.tasks.suites.suite import SuiteSize
from dnabert_jax.typed_json import to_json

if TYPE_CHECKING:  # planning loads JAX, which --help need not wait for
    from dnabert_jax.planning.plan import Plan as Figures
    from dnabert_jax.planning.plan import StepTime
    from dnabert_jax.tasks.suites.plan import JobsAChip, SuitePlan

_Result = TypeVar("_Result")

_GIB, _MIB = 2**30, 2**20
_OF_CUDNN = "__cudnn$"
_SHAPE_WIDTH = 40
_NAMED = 6
"""Kinds of instructions without an estimate that are named, those of the largest results."""
_ENVIRONMENT = {
    # No device is opened, also where there is one, and another process may train on it.
    "JAX_PLATFORMS": "cpu",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # What is compiled without a device cannot be read back from the cache, and JAX says so at length.
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    # libtpu would ask Google's metadata server what machine this is, and complain on any other.
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
"""The variables that this process sets before JAX is loaded."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Compile the training step for accelerators that are not there, and say what it would need and cost.

    Example: dnabert-jax plan --topology v5e:16x16 --preset dnabert6 --global-batch 2048

    Takes minutes: 3 to 5 for dnabert6 on v5e:16x16. Every figure is predicted by the compiler or follows from what it
    predicts; nothing is measured. Exit status 1 if the step does not fit into the chips' memory. Every field of the
    configuration is a flag; the values shown are those of --preset or --config (of dnabert6 if neither is given).
    With --suite it is fine-tuning of many data sets that is planned: dnabert-jax plan --suite --help.

    Attributes:
        topology: TPUs by version and shape, v5e:16x16, v4:4x4x4, v5p:4x4x4 or v6e:8x8 (extra tpu), or GPUs by their
            number, h100:8 (extra cuda).
        settings: The configuration.
        slices: TPU slices of that shape, joined by the data centre's network, over which the mesh axis data goes.
        preset: Model and recipe to start from.
        config: config.json of a run to start from, instead of a preset.
        data: Data directory whose row length and share of padding to count with; without it a row has
            --model.max-positions tokens, and padding is not known.
        top: How many of the longest instructions to list.
        hlo: File for the optimised HLO that the figures are read from.
        json: File for all figures.
    """

    topology: str
    settings: Annotated[PretrainConfig, tyro.conf.arg(name="")]
    slices: int = 1
    preset: PresetName | None = None
    config: Path | None = None
    data: Location | None = None
    top: int = 10
    hlo: Path | None = None
    json: Path | None = None

    def run(self) -> None:
        """Plans and prints; raises JobError if it does not fit."""
        _check_files(self.hlo, self.json)
        os.environ.update(_ENVIRONMENT)
        plan = self._plan(*self._rows())
        _print_plan(plan)
        if self.hlo and plan.memory:
            print(f"The optimised HLO: {self.hlo}")
        _save(plan, self.json)
        if not plan.fits:
            why = plan.refusal or "the step needs more memory than a chip has"
            raise JobError(
                f"It does not fit ({why}): choose more chips, a smaller --global-batch, "
                "--execution.gradient-accumulation, --execution.remat or --mesh.fsdp."
            )

    def _rows(self) -> tuple[int, float | None]:
        """Returns the tokens of a row, and the share of them that is not padding, if it is known."""
        if self.data is None:
            return self.settings.model.max_positions, None
        from dnabert_jax.training.loop import check_data

        manifest = read_source(self.data)[0]
        check_data(self.settings.model, manifest)
        split = manifest.splits[TRAIN]
        if split.kmers is None or split.sequences is None:
            return manifest.row_length, None
        tokens = split.kmers + manifest.tokenizer.specials * split.sequences
        return manifest.row_length, tokens / (split.rows * manifest.row_length)

    def _plan(self, row_length: int, useful_share: float | None) -> "Figures":
        from dnabert_jax.parallel.mesh import make_mesh
        from dnabert_jax.planning.compilation import OutOfMemoryError, compile_step, make_devices, read_memory
        from dnabert_jax.planning.hlo import parse_module, read_work
        from dnabert_jax.planning.plan import complete, outline

        chip, devices = make_devices(self.topology, self.slices)
        mesh = make_mesh(self.settings.mesh, devices)
        compiler = _compiler_version(devices)
        plan = outline(compiler, self.topology, self.slices, chip, self.settings, mesh.shape, row_length)
        try:
            compiled = _with_clock(lambda: compile_step(self.settings, mesh, row_length))
        except OutOfMemoryError as error:
            return dataclasses.replace(plan, refusal=str(error))
        text = compiled.as_text() or ""  # which is not HLO, and said to be none
        if self.hlo:
            storage.write(self.hlo, text.encode())
        work = read_work(parse_module(text), mesh.size // self.slices)
        return complete(plan, list(mesh.devices.flat), read_memory(compiled), work, self.top, useful_share)


def _check_files(*paths: Path | None) -> None:
    for path in paths:
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise InputError(f"{path} cannot be written: give the name of a file in a directory that exists.")


def _save(plan: object, path: Path | None) -> None:
    if path:
        storage.write(path, to_json(plan).encode())
        print(f"All figures: {path}")


def _compiler_version(devices: Sequence[object]) -> str:
    """Returns the name of the compiler with its version."""
    import jax

    package = "libtpu" if devices[0].platform == "tpu" else "jax-cuda13-plugin"  # type: ignore[attr-defined]
    return f"the compiler (jax {jax.__version__}, {package} {importlib.metadata.version(package)})"


def _with_clock(compute: Callable[[], _Result]) -> _Result:
    """Computes in a thread, so that the time can be shown meanwhile and an interrupt is heard."""
    future = ThreadPoolExecutor(1).submit(compute)
    with progress_bar("compile", "s", bar_format="{desc}: {elapsed}") as bar:
        while wait([future], timeout=1).not_done:
            bar.update()
    return future.result()


@dataclasses.dataclass(frozen=True)
class PlanSuite:
    """Compile the step of fine-tuning many data sets in lockstep for TPUs that are not there, and count the hours.

    Example: dnabert-jax plan --suite --topology v5e:2x4 --model-preset dnabert6

    Takes a minute or more for each number of jobs a chip. Seconds and memory are predicted by the compiler, the rest
    is counted; nothing is measured. Exit status 1 if not one job fits into a chip's memory. By default the suite is
    the paper's, as far as its size is published: 690 sets of 101 bases; how many sequences a set has is the mean of
    the five of them that GUE drew.

    Attributes:
        topology: TPUs by version and shape, v5e:2x4, v4:2x2x2, v5p:2x2x2 or v6e:2x4 (extra tpu).
        model_preset: Model that is fine-tuned.
        preset: default; dnabert, as in its README; or gue, as in GUE's scripts.
        size: How much there is to do.
        jobs_per_chip: How many models a chip trains at once; each is compiled for.
        chips_per_job: Number of chips that share a model. They divide the sequences of a batch and, if it has more than
            2^28 parameters, the encoder. `finetune` and `evaluate` do so where there are fewer models than chips.
        json: File for all figures.
        settings: Whatever of the preset of fine-tuning is to be otherwise.
    """

    topology: str
    model_preset: PresetName = DEFAULT_PRESET
    preset: str = "default"
    size: Annotated[SuiteSize, tyro.conf.arg(name="")] = dataclasses.field(default_factory=SuiteSize)
    jobs_per_chip: tuple[int, ...] = (1, 2, 4, 8)
    chips_per_job: int = 1
    json: Path | None = None
    settings: Annotated[FinetuneConfig, tyro.conf.arg(name="")] = FINETUNE_PRESETS["default"]

    def run(self) -> None:
        """Plans and prints; raises JobError if not one job fits."""
        _check_files(self.json)
        if not self.jobs_per_chip or min(self.jobs_per_chip) < 1:
            raise InputError(f"jobs_per_chip is {list(self.jobs_per_chip)}: give one or several, each at least 1.")
        os.environ.update(_ENVIRONMENT)
        from dnabert_jax.planning.compilation import make_devices
        from dnabert_jax.tasks.suites.plan import SuitePlan, plan_jobs

        chip, devices = make_devices(self.topology)
        model = PRESETS[self.model_preset].model
        plans: list[JobsAChip] = []
        for jobs in sorted(set(self.jobs_per_chip)):
            compute = functools.partial(
                plan_jobs, model, self.settings, self.size, chip, devices, jobs, self.chips_per_job
            )
            plans.append(_with_clock(compute))
            if plans[-1].refusal:
                break  # more of them need more memory
        what = self.model_preset, self.settings, self.size
        plan = SuitePlan(_compiler_version(devices), self.topology, len(devices), chip, *what, tuple(plans))
        _print_suite_plan(plan)
        _save(plan, self.json)
        if not plan.fitting:
            raise JobError(
                f"Not {plans[0].jobs} jobs a chip fit ({plans[0].refusal}): choose fewer --jobs-per-chip, a smaller "
                "--batch-size, --train lora, --remat full, shorter sequences or more --chips-per-job."
            )


def parse_plan(arguments: Sequence[str]) -> Plan | PlanSuite:
    """Reads the flags, those of the configuration among them; with --suite, those of fine-tuning a suite."""
    if "--suite" in arguments:
        suite = [argument for argument in arguments if argument != "--suite"]
        return parse_from_preset(PlanSuite, "plan --suite", suite, FINETUNE_PRESETS)
    return parse_from_preset(Plan, "plan", arguments, PRESETS)


def _print_plan(plan: "Figures") -> None:
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
    rows: list[tuple[str, ...]] = []
    for part in plan.collectives:
        figures = f"{part.group}", f"{part.count:,}", f"{part.size / _MIB:,.1f}", _milliseconds(part.seconds)
        rows.append((part.kind, *figures, "beside computation" if part.overlaps else "computation waits"))
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


def _print_memory(plan: "Figures") -> None:
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


def _print_time(plan: "Figures", time: "StepTime") -> None:
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
        figures = f"{item.cycles:,}", f"{item.cycles / time.cycles:.1%}", f"{item.times}"
        rows.append((*figures, item.name, shape, item.op_name))
    _print_table(("cycles", "share", "times", "first of them", "result", "from"), rows)


def _print_suite_plan(plan: "SuitePlan") -> None:
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
        f"{best.at_once:,} jobs, each of {best.steps:,} steps, {best.validations:,} predictions of the "
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
    rows = []
    for plan in plans:
        if plan.step and plan.prediction:
            milliseconds = (f"{program.seconds * 1e3:,.2f}" for program in (plan.step, plan.prediction))
            hours = plan.training_hours, plan.validation_hours, plan.test_hours, plan.hours
            memory_used = f"{max(plan.step.memory, plan.prediction.memory) / _GIB:.2f}"
            row = f"{plan.jobs}", memory_used, *milliseconds, f"{plan.groups:,}", *(f"{each:,.2f}" for each in hours)
            rows.append(row)
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
