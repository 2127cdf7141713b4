"""`dnabert-jax plan`: what a run would need and cost on accelerators that are not there."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from dnabert_jax import storage
from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.rows import read_source
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.storage import Location
from dnabert_jax.typed_json import to_json
from launch.compiler import ENVIRONMENT, compiler_version, with_clock
from launch.plan_report import print_plan
from launch.plan_suite import PlanSuite, parse_plan_suite
from launch.settings import parse_with_settings
from launch.signals import importing

if TYPE_CHECKING:  # planning loads JAX, which --help need not wait for
    from dnabert_jax.planning.plan import Plan as Figures


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
    preset: Literal["tiny", "dnabert3", "dnabert4", "dnabert5", "dnabert6"] | None = None
    config: Path | None = None
    data: Location | None = None
    top: int = 10
    hlo: Path | None = None
    json: Path | None = None

    def run(self) -> None:
        """Plans and prints; raises JobError if it does not fit."""
        for path in (self.hlo, self.json):
            if path and not path.parent.is_dir():
                raise InputError(f"{path.parent} is not a directory: {path.name} cannot be written there.")
            if path and path.is_dir():
                raise InputError(f"{path} is a directory: give the name of a file.")
        os.environ.update(ENVIRONMENT)
        row_length, useful_share = self._rows()
        plan = self._plan(row_length, useful_share)
        if self.json:
            storage.write(self.json, to_json(plan).encode())
        print_plan(plan)
        for path, what in ((self.hlo if plan.memory else None, "The optimised HLO"), (self.json, "All figures")):
            if path:
                print(f"{what}: {path}")
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
        with importing():
            from dnabert_jax.training.loop import check_data

        manifest = read_source(self.data)[0]
        check_data(self.settings.model, manifest)
        split = manifest.splits[TRAIN]
        if split.kmers is None or split.sequences is None:
            return manifest.row_length, None
        # Each sequence has its [CLS] and [SEP].
        return manifest.row_length, (split.kmers + 2 * split.sequences) / (split.rows * manifest.row_length)

    def _plan(self, row_length: int, useful_share: float | None) -> "Figures":
        with importing():
            from dnabert_jax.parallel.mesh import make_mesh
            from dnabert_jax.planning.compilation import OutOfMemoryError, compile_step, read_memory
            from dnabert_jax.planning.hlo import parse_module
            from dnabert_jax.planning.plan import complete, outline
            from dnabert_jax.planning.topology import make_devices
            from dnabert_jax.planning.work import read_work

        chip, devices = make_devices(self.topology, self.slices)
        mesh = make_mesh(self.settings.mesh, devices)
        plan = outline(
            compiler_version(devices), self.topology, self.slices, chip, self.settings, mesh.shape, row_length
        )
        try:
            compiled = with_clock(lambda: compile_step(self.settings, mesh, row_length))
        except OutOfMemoryError as error:
            return dataclasses.replace(plan, refusal=str(error))
        text = compiled.as_text() or ""  # which is not HLO, and said to be none
        if self.hlo:
            storage.write(self.hlo, text.encode())
        work = read_work(parse_module(text), mesh.size // self.slices)
        return complete(plan, list(mesh.devices.flat), read_memory(compiled), work, self.top, useful_share)


def parse_plan(arguments: Sequence[str]) -> Plan | PlanSuite:
    """Reads the flags, those of the configuration among them; with --suite, those of another command."""
    if "--suite" in arguments:
        return parse_plan_suite([argument for argument in arguments if argument != "--suite"])
    return parse_with_settings(lambda settings: Plan(tyro.MISSING, settings), "dnabert-jax plan", arguments)
