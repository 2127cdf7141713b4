"""The step gives the same numbers on every mesh, and they are those of an independent computation."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from dnabert_jax.config import MaskingConfig, MeshConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.pipeline import RowFiles, training_batches
from dnabert_jax.errors import InputError
from dnabert_jax.parallel.mesh import make_mesh
from dnabert_jax.training.state import TrainState, abstract_network, init_state
from dnabert_jax.training.step import StepMetrics, jit_train_step

MESHES = {
    "1": (MeshConfig(), 1),
    "8x1": (MeshConfig(data=8), 8),
    "4x2": (MeshConfig(data=4, tensor=2), 8),
    "2x4": (MeshConfig(data=2, tensor=4), 8),
    "2x2x2": (MeshConfig(data=2, fsdp=2, tensor=2), 8),
    "fsdp 8": (MeshConfig(fsdp=8), 8),
}


def config(model: ModelConfig) -> PretrainConfig:
    return PretrainConfig(
        model=model,
        masking=MaskingConfig(late_from_step=2),
        optimizer=OptimizerConfig(peak_learning_rate=1e-3, warmup_steps=1, schedule_steps=100),
        global_batch=8,
        steps=4,
    )


def train(settings: PretrainConfig, rows: Path, mesh: MeshConfig, devices: int) -> tuple[TrainState, list[StepMetrics]]:
    on = make_mesh(mesh, jax.devices()[:devices])
    network = abstract_network(settings.model)
    state, step = init_state(settings, network, on), jit_train_step(settings, network, on)
    history = []
    for batch in training_batches(RowFiles(rows, TRAIN), 8, settings.seed, 0, settings.steps):
        state, metrics = step(state, batch)
        history.append(jax.device_get(metrics))
    return jax.device_get(state), history


@pytest.fixture(scope="module")
def single(small_model: ModelConfig, sample_rows: Path) -> tuple[TrainState, list[StepMetrics]]:
    return train(config(small_model), sample_rows, *MESHES["1"])


@pytest.mark.parametrize("name", [name for name in MESHES if name != "1"])
def test_losses_and_masks_agree_on_every_mesh(
    small_model: ModelConfig, sample_rows: Path, single: tuple[TrainState, list[StepMetrics]], name: str
) -> None:
    _, expected = single
    _, history = train(config(small_model), sample_rows, *MESHES[name])
    for ours, theirs in zip(history, expected, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, abs=1e-5)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-4)
        # The same rows and the same masks: counts agree exactly.
        assert (ours.masked_share, ours.tokens, ours.mask_overflow) == (
            theirs.masked_share, theirs.tokens, theirs.mask_overflow,
        )  # fmt: skip


def test_the_mask_rate_follows_its_schedule(single: tuple[TrainState, list[StepMetrics]]) -> None:
    assert [float(metrics.mask_rate) for metrics in single[1]] == pytest.approx([0.15, 0.15, 0.2, 0.2])
    assert [float(metrics.learning_rate) for metrics in single[1]][:2] == pytest.approx([0, 1e-3])


def test_training_moves_every_parameter_that_is_used(
    small_model: ModelConfig, single: tuple[TrainState, list[StepMetrics]]
) -> None:
    settings = config(small_model)
    network = abstract_network(settings.model)
    before = jax.device_get(init_state(settings, network, make_mesh(MeshConfig(), jax.devices()[:1])).parameters)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, single[0].parameters)
    assert all(jax.tree.leaves(moved)), moved
    table = single[0].parameters["bert"]["embeddings"]["token"]["table"]
    assert not table[settings.model.vocabulary_size :].any(), "padded rows must stay zero"


def test_without_rows_of_sequence_the_loss_is_zero_and_finite(small_model: ModelConfig) -> None:
    settings = config(dataclasses.replace(small_model, dropout=0.0))
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    network = abstract_network(settings.model)
    _, metrics = jit_train_step(settings, network, mesh)(
        init_state(settings, network, mesh), np.zeros((8, 64), np.uint16)
    )
    assert (float(metrics.loss), float(metrics.gradient_norm), int(metrics.tokens)) == (0, 0, 0)


def test_a_batch_that_does_not_divide_is_refused(small_model: ModelConfig) -> None:
    settings = dataclasses.replace(config(small_model), global_batch=12)
    with pytest.raises(InputError, match="does not divide"):
        jit_train_step(settings, abstract_network(small_model), make_mesh(MeshConfig(), jax.devices()))
