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
from dnabert_jax.commands.plan_report import print_plan, print_suite_plan
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
    from dnabert_jax.tasks.suites.plan import JobsAChip

_Result = TypeVar("_Result")

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
"""Of this process, before JAX is loaded."""


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
        print_plan(plan)
        if self.hlo and plan.memory:
            print(f"The optimised HLO: {self.hlo}")
        if self.json:
            storage.write(self.json, to_json(plan).encode())
            print(f"All figures: {self.json}")
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
        # Each sequence has its [CLS] and [SEP].
        return manifest.row_length, (split.kmers + 2 * split.sequences) / (split.rows * manifest.row_length)

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
        json: File for all figures.
        settings: Whatever of the preset of fine-tuning is to be otherwise.
    """

    topology: str
    model_preset: PresetName = DEFAULT_PRESET
    preset: str = "default"
    size: Annotated[SuiteSize, tyro.conf.arg(name="")] = dataclasses.field(default_factory=SuiteSize)
    jobs_per_chip: tuple[int, ...] = (1, 2, 4, 8)
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
            plans.append(
                _with_clock(functools.partial(plan_jobs, model, self.settings, self.size, chip, devices, jobs))
            )
            if plans[-1].refusal:
                break  # more of them need more memory
        compiler, chips = _compiler_version(devices), len(devices)
        plan = SuitePlan(
            compiler, self.topology, chips, chip, self.model_preset, self.settings, self.size, tuple(plans)
        )
        print_suite_plan(plan)
        if self.json:
            storage.write(self.json, to_json(plan).encode())
            print(f"All figures: {self.json}")
        if not plan.fitting:
            raise JobError(
                f"Not {plans[0].jobs} jobs a chip fit ({plans[0].refusal}): choose fewer --jobs-per-chip, a smaller "
                "--batch-size, --train lora or shorter sequences."
            )


def parse_plan(arguments: Sequence[str]) -> Plan | PlanSuite:
    """Reads the flags, those of the configuration among them; with --suite, those of fine-tuning a suite."""
    if "--suite" in arguments:
        suite = [argument for argument in arguments if argument != "--suite"]
        return parse_from_preset(PlanSuite, "plan --suite", suite, FINETUNE_PRESETS)
    return parse_from_preset(Plan, "plan", arguments, PRESETS)
