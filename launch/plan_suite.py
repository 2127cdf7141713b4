"""`dnabert-jax plan --suite`: what fine-tuning a suite of data sets would take on TPUs that are not there."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from dnabert_jax import storage
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.presets import PRESETS
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FinetuneConfig
from dnabert_jax.typed_json import to_json
from launch.compiler import ENVIRONMENT, compiler_version, with_clock
from launch.finetune import DEFAULT_PRESET, chosen_preset
from launch.flags import REGISTRY, SETTINGS
from launch.plan_report import print_table
from launch.signals import importing

if TYPE_CHECKING:  # which loads JAX, and --help need not wait for it
    from dnabert_jax.tasks.suites.plan import JobsAChip, SuitePlan

_GIB = 2**30


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
        sets: Data sets.
        seeds: Models of each data set.
        examples: Training sequences of a data set.
        validation: Sequences on which each epoch is evaluated.
        test: Sequences that each model is measured on.
        bases: Of a sequence.
        labels: Of a data set.
        jobs_per_chip: How many models a chip trains at once; each is compiled for.
        json: File for all figures.
        settings: Whatever of the preset of fine-tuning is to be otherwise.
    """

    topology: str
    model_preset: Literal["tiny", "dnabert3", "dnabert4", "dnabert5", "dnabert6"] = "dnabert6"
    preset: str = DEFAULT_PRESET
    sets: int = 690
    seeds: int = 1
    examples: int = 25_669
    validation: int = 1_000
    test: int = 1_000
    bases: int = 101
    labels: int = 2
    jobs_per_chip: tuple[int, ...] = (1, 2, 4, 8)
    json: Path | None = None
    settings: Annotated[FinetuneConfig, tyro.conf.arg(name="")] = FINETUNE_PRESETS[DEFAULT_PRESET]

    def run(self) -> None:
        """Plans and prints; raises JobError if not one job fits."""
        if self.json and (self.json.is_dir() or not self.json.parent.is_dir()):
            raise InputError(f"{self.json} cannot be written: give the name of a file in a directory that exists.")
        if not self.jobs_per_chip or min(self.jobs_per_chip) < 1:
            raise InputError(f"jobs_per_chip is {list(self.jobs_per_chip)}: give one or several, each at least 1.")
        os.environ.update(ENVIRONMENT)
        with importing():
            from dnabert_jax.planning.topology import make_devices
            from dnabert_jax.tasks.suites.plan import SuitePlan, SuiteSize, plan_jobs

        size = SuiteSize(self.sets, self.seeds, self.examples, self.validation, self.test, self.bases, self.labels)
        chip, devices = make_devices(self.topology)
        model = PRESETS[self.model_preset].model
        plans: list[JobsAChip] = []
        for jobs in sorted(set(self.jobs_per_chip)):
            plans.append(with_clock(functools.partial(plan_jobs, model, self.settings, size, chip, devices, jobs)))
            if plans[-1].refusal:
                break  # more of them need more memory
        plan = SuitePlan(
            compiler_version(devices), self.topology, len(devices), chip, self.model_preset, self.settings, size,
            tuple(plans),
        )  # fmt: skip
        if self.json:
            storage.write(self.json, to_json(plan).encode())
        _print_plan(plan)
        if self.json:
            print(f"All figures: {self.json}")
        if not plan.fitting:
            raise JobError(
                f"Not {plans[0].jobs} jobs a chip fit ({plans[0].refusal}): choose fewer --jobs-per-chip, a smaller "
                "--batch-size, --train lora or shorter sequences."
            )


def _print_plan(plan: "SuitePlan") -> None:
    size, config = plan.size, plan.config
    print(f"{size.sets * size.seeds:,} fine-tunings of {plan.model} ({config.train}): {size.sets:,} sets of ", end="")
    print(
        f"{size.examples:,} training sequences of {size.bases} bases, "
        + ("each embedded once, " if config.train == "probe" else f"{config.epochs_of(size.examples)} epochs, "),
        end="",
    )
    print(f"batch {config.batch_size}, on {plan.topology}: {plan.chips:,} chips.")
    print(f"Predicted by {plan.predicted_by}, or counted from that; nothing was measured.\n")
    if plan.fitting:
        _print_hours(plan.fitting, plan.chip.hbm_bytes)
    for one in plan.plans:
        if one.refusal:
            print(f"{one.jobs} jobs a chip do not fit: {one.refusal}; more were not tried.")
    if not plan.fitting:
        return
    best = min(plan.fitting, key=lambda one: one.hours)
    print(f"\nThe fewest hours, {best.hours:,.2f}, are predicted with {best.jobs} jobs a chip: ", end="")
    print(f"{best.groups:,} groups of {plan.chips * best.jobs:,} jobs, each of {best.steps:,} steps, ", end="")
    print(f"{best.validations:,} predictions of the validation and {best.tests:,} of the test split.")
    if best.step:
        print(f"Not in the time: {best.step.unestimated:,} instructions of a step without an estimate, whose ", end="")
        print(f"results have {best.step.unestimated_bytes / 2**20:,.1f} MiB; reading, compiling, checkpoints, ", end="")
        print("bootstrap intervals, sets of unequal size that wait for each other, and jobs that begin anew.")


def _print_hours(plans: "Sequence[JobsAChip]", memory: int) -> None:
    head = ("jobs a chip", f"GiB of {memory / _GIB:.0f}", "ms a step", "ms a prediction", "groups")
    rows = [
        (
            f"{plan.jobs}",
            f"{max(plan.step.memory, plan.prediction.memory) / _GIB:.2f}",
            f"{plan.step.seconds * 1e3:,.2f}",
            f"{plan.prediction.seconds * 1e3:,.2f}",
            f"{plan.groups:,}",
            *(f"{hours:,.2f}" for hours in (plan.training_hours, plan.validation_hours, plan.test_hours, plan.hours)),
        )
        for plan in plans
        if plan.step and plan.prediction
    ]
    print_table((*head, "training, h", "validation, h", "test, h", "together, h"), rows)


def parse_plan_suite(arguments: Sequence[str]) -> PlanSuite:
    """Reads the flags, among them those of the configuration of fine-tuning."""
    missing: Any = tyro.MISSING
    name = "dnabert-jax plan --suite"
    preset = chosen_preset(arguments, name, DEFAULT_PRESET)
    default = PlanSuite(missing, preset=preset, settings=FINETUNE_PRESETS[preset])
    return tyro.cli(PlanSuite, args=list(arguments), default=default, prog=name, config=SETTINGS, registry=REGISTRY)
