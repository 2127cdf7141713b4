"""The hours of a suite are counted from its parts; the step that is planned is the one that is trained."""

from typing import Any

import jax
import pytest

from dnabert_jax.config import ModelConfig
from dnabert_jax.errors import InputError
from dnabert_jax.parallel.chips import chip_named
from dnabert_jax.planning.compilation import OutOfMemoryError
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.suites import plan as suite_plan
from dnabert_jax.tasks.suites.plan import JobsAChip, Program, plan_jobs
from dnabert_jax.tasks.suites.suite import SuiteSize

CONFIG = FinetuneConfig(epochs=3, batch_size=4)
SIZE = SuiteSize(sets=5, seeds=2, examples=9, validation=17, test=33, bases=20)
V5E = chip_named("v5e")


def plan(
    model: ModelConfig, size: SuiteSize = SIZE, config: FinetuneConfig = CONFIG, chip: Any = V5E, sharing: int = 1
) -> JobsAChip:
    return plan_jobs(model, config, size, chip, jax.devices()[:2], 2, sharing)


def test_hours_are_counted(small_model: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: list[Any] = []

    def compiled(lowered: jax.stages.Lowered, *_: Any) -> Program:
        arguments.append(jax.tree.leaves(lowered.args_info))
        return Program(2.0 if len(arguments) == 1 else 0.5, 2**30, 7, 8)

    monkeypatch.setattr(suite_plan, "_compiled", compiled)
    planned = plan(small_model)
    # 10 jobs, 4 at a time; 3 steps an epoch; batches of 16 are predicted, on both strands.
    assert (planned.groups, planned.steps, planned.validations, planned.tests) == (3, 9, 12, 6)
    assert planned.training_hours * 3600 == pytest.approx(3 * 9 * 2.0)
    assert planned.validation_hours * 3600 == pytest.approx(3 * 12 * 0.5)
    assert planned.test_hours * 3600 == pytest.approx(3 * 6 * 0.5)
    assert planned.hours == planned.training_hours + planned.validation_hours + planned.test_hours
    # Every parameter is there four times for each of 4 jobs, and rows are as long as 20 bases are when they are padded.
    train, predict = ({leaf.shape for leaf in leaves} for leaves in arguments)
    length = 24
    assert (4, 4, length) in train
    assert (4, 16, length) in predict
    kernel = (4, small_model.num_layers, small_model.hidden_size, small_model.intermediate_size)
    assert sum(leaf.shape == kernel for leaf in arguments[0]) == 4
    assert (planned.at_once, (shared := plan(small_model, sharing=2)).at_once, shared.groups) == (4, 2, 5)
    stopped = plan(small_model, config=FinetuneConfig(epochs=3, batch_size=4, max_steps=4, strands="forward"))
    assert (stopped.steps, stopped.validations) == (4, 4)


def test_what_does_not_fit_says_why(small_model: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite_plan, "_compiled", lambda *_: Program(1.0, 17 * 2**30, 0, 0))
    assert plan(small_model).refusal == "17.00 of 16.00 GiB"

    def refuse(*_: Any) -> Program:
        raise OutOfMemoryError("Used 20.53G of 15.75G hbm")

    monkeypatch.setattr(suite_plan, "_compiled", refuse)
    assert plan(small_model).refusal == "Used 20.53G of 15.75G hbm"


def test_what_cannot_be_planned(small_model: ModelConfig) -> None:
    with pytest.raises(InputError, match="h100"):
        plan(small_model, chip=chip_named("h100"))
    for bases in (2, small_model.max_positions + small_model.k):
        with pytest.raises(InputError, match=f"{bases} bases"):
            plan(small_model, size=SuiteSize(bases=bases))
    for sharing in (0, 3):
        with pytest.raises(InputError, match=f"{sharing} chips"):
            plan(small_model, sharing=sharing)
    for field, value in (("sets", 0), ("labels", 1)):
        with pytest.raises(InputError, match=f"{field} is {value}"):
            SuiteSize(**{field: value})
