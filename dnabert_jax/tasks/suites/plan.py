"""What fine-tuning a suite would take on TPUs that are not there: the lockstep step compiled ahead of time.

Nothing is measured: seconds of a step and memory are the compiler's predictions, and the rest is counted.
J jobs of a chip.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnabert_jax.config import ModelConfig, TaskConfig, require
from dnabert_jax.model.binding import parameter_shapes
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.parallel.chips import Chip
from dnabert_jax.parallel.mesh import FSDP
from dnabert_jax.planning.compilation import OutOfMemoryError, compile_lowered, read_memory
from dnabert_jax.planning.hlo import Work, parse_module, read_work
from dnabert_jax.planning.plan import sequential_seconds
from dnabert_jax.sequence.buckets import bucket
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.fitting import EVALUATED_TOGETHER
from dnabert_jax.tasks.finetuning.lockstep import JOB, Lockstep, jobs_mesh, with_shardings
from dnabert_jax.tasks.finetuning.trainable import split_trainable
from dnabert_jax.tasks.suites.suite import SuiteSize

_SECONDS_AN_HOUR = 3600


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program on a chip.

    Attributes:
        seconds: of one run, predicted.
        memory: bytes of a chip, the more of what is needed and of the peak as the compiler counts it.
        unestimated: instructions that the compiler gives no time for and that are not in `seconds`, and
        unestimated_bytes: of their results.
    """

    seconds: float
    memory: int
    unestimated: int
    unestimated_bytes: int


@dataclasses.dataclass(frozen=True)
class JobsAChip:
    """What follows for a number of jobs on each chip.

    Attributes:
        jobs: trained at once by each chip, or by each group of chips that share a job.
        at_once: jobs trained at once in total.
        refusal: what the compiler said if it refused for want of memory, or by how much it does not fit; else empty,
            and only then is the rest there.
        step: of training, all jobs.
        prediction: of EVALUATED_TOGETHER batches of each job.
        groups: of jobs in lockstep, one after the other.
        steps: of a group.
        validations: predictions of a group, all epochs.
        tests: predictions of a group.
        training_hours: of all groups, as
        validation_hours: and
        test_hours: are, too.
        hours: the sum of these three.
    """

    jobs: int
    at_once: int
    refusal: str
    step: Program | None = None
    prediction: Program | None = None
    groups: int = 0
    steps: int = 0
    validations: int = 0
    tests: int = 0
    training_hours: float = 0.0
    validation_hours: float = 0.0
    test_hours: float = 0.0
    hours: float = 0.0


@dataclasses.dataclass(frozen=True)
class SuitePlan:
    """Everything that `dnabert-jax plan --suite` says.

    Attributes:
        predicted_by: compiler and versions.
        chips: of it.
        model: name of its preset.
        plans: by number of jobs a chip, up to the first that does not fit.
    """

    predicted_by: str
    topology: str
    chips: int
    chip: Chip
    model: str
    config: FinetuneConfig
    size: SuiteSize
    plans: tuple[JobsAChip, ...]

    @property
    def fitting(self) -> tuple[JobsAChip, ...]:
        """Those that fit into memory."""
        return tuple(plan for plan in self.plans if not plan.refusal)


def plan_jobs(
    model: ModelConfig,
    config: FinetuneConfig,
    size: SuiteSize,
    chip: Chip,
    devices: Sequence[jax.Device],
    jobs: int,
    chips_per_job: int = 1,
) -> JobsAChip:
    """Compiles training and prediction for `jobs` on each device, which takes a minute or more, and adds up.

    Args:
        chip: that the devices are, a TPU: for GPUs the compiler predicts no times.
        devices: of one slice.
        jobs: of `chips_per_job` chips, which share their rows and the encoder.

    Raises:
        InputError: sequences that the model cannot take.
        JobError: the compiler fails otherwise than for want of memory.
    """
    require(chip.is_tpu, f"The compiler for {chip.name} predicts no times: plan a suite for a TPU, as v5e:2x4.")
    tokens = len(model.tokenizer.encode(np.zeros(size.bases, np.uint8))) + model.tokenizer.specials
    fits = f"it takes {model.tokenizer.shortest} to {model.tokenizer.capacity(model.longest)}."
    require(3 <= tokens <= model.max_positions, f"Sequences of {size.bases} bases do not fit the model: {fits}")
    length = bucket(tokens, model.max_positions)
    task = TaskConfig("single_label_classification", tuple(map(str, range(size.labels))), pooling=config.pooling)
    # Of other numbers of chips, the mesh does not come out as asked.
    mesh = jobs_mesh(devices, max(1, len(devices) // max(1, chips_per_job)), config.batch_size)
    require(
        mesh.size == len(devices) and mesh.shape[FSDP] == chips_per_job,
        f"{chips_per_job} chips cannot share a job, on {len(devices)} chips and in batches of {config.batch_size} "
        "sequences: give a --chips-per-job that divides both.",
    )
    at_once = jobs * mesh.shape[JOB]
    lockstep = Lockstep(model, task, config, mesh)
    try:
        step, prediction = (
            _compiled(lowered, chip, list(mesh.devices.flat)) for lowered in _lowered(lockstep, at_once, length)
        )
    except OutOfMemoryError as error:
        return JobsAChip(jobs, at_once, str(error))
    memory = max(step.memory, prediction.memory)
    if memory > chip.hbm_bytes:
        return JobsAChip(jobs, at_once, f"{memory / 2**30:.2f} of {chip.hbm_bytes / 2**30:.2f} GiB", step, prediction)
    together = config.batch_size * EVALUATED_TOGETHER
    strands = 1 if config.strands == "forward" else 2
    groups = -(-size.sets * size.seeds // at_once)
    steps = config.total_steps(size.examples)
    epochs = -(-steps // -(-size.examples // config.batch_size))
    validations = strands * epochs * -(-size.validation // together)
    if config.train == "probe":  # each sequence once; the regression, on the host, is not counted
        validations = strands * -(-(size.examples + size.validation) // together)
    tests = strands * -(-size.test // together)
    training, validation, test = (
        groups * runs * program.seconds / _SECONDS_AN_HOUR
        for runs, program in ((steps, step), (validations, prediction), (tests, prediction))
    )
    hours = training + validation + test
    return JobsAChip(
        jobs, at_once, "", step, prediction, groups, steps, validations, tests, training, validation, test, hours
    )


def _lowered(lockstep: Lockstep, jobs: int, length: int) -> Sequence[jax.stages.Lowered]:
    """Returns training and prediction, with the shapes of their arguments alone."""
    whole = parameter_shapes(sequence_classifier, lockstep.model, lockstep.task)
    frozen, trained = jax.eval_shape(lambda parameters: split_trainable(parameters, lockstep.config, 0), whole)
    trainable = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((jobs, *leaf.shape), leaf.dtype), trained)
    batch, turn = lockstep.abstract_batch(jobs, length)
    state = jax.eval_shape(lockstep.fresh_state, trainable)
    state = with_shardings(state, lockstep.state_shardings(state))
    shape = (jobs, lockstep.config.batch_size * EVALUATED_TOGETHER, length)
    ids = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=batch.input_ids.sharding)
    train: Any = lockstep.train_step()
    predict: Any = lockstep.predict()
    frozen = with_shardings(frozen, lockstep.shardings(frozen))
    return [train.lower(frozen, state, batch, turn), predict.lower(frozen, state.trainable, ids)]


def _compiled(lowered: jax.stages.Lowered, chip: Chip, devices: list[jax.Device]) -> Program:
    compiled = compile_lowered(lowered)
    memory = read_memory(compiled)
    work: Work = read_work(parse_module(compiled.as_text() or ""), len(devices))
    count, size = (sum(getattr(part, name) for part in work.unestimated) for name in ("count", "size"))
    return Program(sequential_seconds(work, chip, devices), max(memory.needed, memory.peak), count, size)
