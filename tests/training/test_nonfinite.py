"""A number that is not finite stops a run before anything of it is saved, and the rows of its step are named."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dnabert_jax.config import OptimizerConfig, PretrainConfig
from dnabert_jax.data.pipeline import training_batches
from dnabert_jax.data.rows import open_rows
from dnabert_jax.data.tfrecord import Shard
from dnabert_jax.errors import JobError
from dnabert_jax.training import loop
from dnabert_jax.training.loop import pretrain
from dnabert_jax.training.state import TrainState
from dnabert_jax.training.step import StepMetrics, TrainStep


def saved_steps(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit())


def wild(config: PretrainConfig, learning_rate: float) -> PretrainConfig:
    """So fast that the parameters overflow after some steps."""
    optimizer = OptimizerConfig(peak_learning_rate=learning_rate, warmup_steps=0, schedule_steps=20)
    return dataclasses.replace(config, optimizer=optimizer, checkpoint_every=1, log_every=6)


def test_a_loss_that_is_not_finite_stops_the_run_and_spoils_no_checkpoint(
    config: PretrainConfig, sample_rows: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(
        JobError, match=r"The loss is nan at step 2 \(rows 8 to 15 of the training order: train-0000"
    ) as raised:
        pretrain(wild(config, 1e30), sample_rows, run)
    assert saved_steps(run) == [1]
    record = json.loads((run / "nonfinite.json").read_text())
    assert (record["step"], record["loss"]) == (2, "nan")
    assert [row["number"] for row in record["rows"]] == list(range(8, 16))
    assert f"{record['rows'][0]['shard']} row {record['rows'][0]['row']}, " in str(raised.value)
    # The rows that are named are those that the step was given.
    files = open_rows(sample_rows, "train")
    (batch,) = training_batches(files, config.global_batch, np.arange(config.global_batch), config.seed, 1, 2)
    for row, given in zip(record["rows"], batch, strict=True):
        assert np.array_equal(Shard(sample_rows / row["shard"], len(files), 64).read(np.array([row["row"]]))[0], given)


@pytest.mark.parametrize(
    ("name", "step", "sentence"),
    [
        ("gradient_norm", 2, r"The norm of the gradient is inf at step 2, where the loss is \d"),
        ("loss", 3, "The loss is inf at step 3"),
    ],
)
def test_figures_of_every_step_are_looked_at_before_one_is_saved(
    config: PretrainConfig, sample_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: int,
    sentence: str,
) -> None:  # fmt: skip
    """A figure that was infinite once, though the parameters are finite again at the next checkpoint."""

    jit_train_step = loop.jit_train_step

    def spoiled(*arguments: Any) -> TrainStep:
        real = jit_train_step(*arguments)

        def train(state: TrainState, rows: jax.Array) -> tuple[TrainState, StepMetrics]:
            done, metrics = real(state, rows)
            return done, metrics._replace(**{name: jax.numpy.where(done.step == step, np.inf, getattr(metrics, name))})

        return jax.jit(train)

    monkeypatch.setattr(loop, "jit_train_step", spoiled)
    config = dataclasses.replace(config, log_every=6, evaluate_every=6, checkpoint_every=4)
    with pytest.raises(JobError, match=sentence):
        pretrain(config, sample_rows, tmp_path / "run")
    assert saved_steps(tmp_path / "run") == []


def test_parameters_that_are_not_finite_are_not_saved(
    config: PretrainConfig, sample_rows: Path, tmp_path: Path
) -> None:
    """The learning rate is beyond float32: the first update spoils the parameters, after a finite loss and gradient."""
    with pytest.raises(JobError, match="Parameters are not finite after step 1 "):
        pretrain(wild(config, 1e39), sample_rows, tmp_path / "run")
    assert saved_steps(tmp_path / "run") == []
