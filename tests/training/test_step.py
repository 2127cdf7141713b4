"""The step gives the same numbers on every mesh, and they are those of an independent computation."""

import dataclasses
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from dnabert_jax.config import ExecutionConfig, MaskingConfig, MeshConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.pipeline import training_batches
from dnabert_jax.data.rows import open_rows
from dnabert_jax.parallel.mesh import RowPlacement, make_mesh, row_sharding
from dnabert_jax.training.masking import MaskedRows, MaskedTokens
from dnabert_jax.training.state import TrainState, abstract_state, init_state, stream_key
from dnabert_jax.training.step import StepMetrics, TrainStep, jit_train_step

# What is asked is whether ways to compute agree, which XLA's own passes and not its machine code make differ.
WAYS = {
    "1": (1, MeshConfig(), ExecutionConfig()),
    "1, in 4 parts, all computed again": (1, MeshConfig(), ExecutionConfig(gradient_accumulation=4, remat="full")),
    "8x1x1": (8, MeshConfig(data=8), ExecutionConfig()),
    "2x1x4": (8, MeshConfig(data=2, tensor=4), ExecutionConfig(remat="dots")),
    "2x2x2": (8, MeshConfig(data=2, fsdp=2, tensor=2), ExecutionConfig(scan_unroll=2)),
    "1x8x1": (8, MeshConfig(fsdp=8), ExecutionConfig()),
    "1x4x1, in 2 parts": (4, MeshConfig(), ExecutionConfig(gradient_accumulation=2)),
}


def config(model: ModelConfig, execution: ExecutionConfig = WAYS["1"][2]) -> PretrainConfig:
    return PretrainConfig(
        model=model,
        execution=execution,
        masking=MaskingConfig(late_from_step=2),
        optimizer=OptimizerConfig(peak_learning_rate=1e-3, warmup_steps=1, schedule_steps=100),
        global_batch=8,
        steps=4,
    )


def fresh_state(settings: PretrainConfig, mesh: jax.sharding.Mesh) -> TrainState:
    return init_state(settings.model, settings.optimizer, settings.seed, mesh)


def step_of(settings: PretrainConfig, mesh: jax.sharding.Mesh) -> TrainStep:
    return jit_train_step(
        settings.model,
        MaskedTokens(settings.masking, settings.model.tokenizer),
        settings.optimizer,
        settings.execution,
        settings.seed,
        mesh,
    )


def train(model: ModelConfig, rows: Path, way: str) -> tuple[TrainState, list[StepMetrics]]:
    devices, mesh, execution = WAYS[way]
    settings = config(model, execution)
    on = make_mesh(mesh, jax.devices()[:devices])
    state, step = fresh_state(settings, on), step_of(settings, on)
    history = []
    placement = RowPlacement(on, 8)
    for batch in training_batches(open_rows(rows, TRAIN), 8, placement.rows, settings.seed, 0, settings.steps):
        before = state
        state, metrics = step(state, placement.on_mesh(batch))
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.parameters)), "the old state is not donated"
        history.append(jax.device_get(metrics))
    return jax.device_get(state), history


@pytest.fixture(scope="module")
def single(small_model: ModelConfig, sample_rows: Path) -> tuple[TrainState, list[StepMetrics]]:
    return train(small_model, sample_rows, "1")


@pytest.mark.parametrize("way", [way for way in WAYS if way != "1"])
def test_losses_and_masks_agree_on_every_mesh_and_however_computed(
    small_model: ModelConfig, sample_rows: Path, single: tuple[TrainState, list[StepMetrics]], way: str
) -> None:
    _, expected = single
    _, history = train(small_model, sample_rows, way)
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
    before = jax.device_get(fresh_state(settings, make_mesh(MeshConfig(), jax.devices()[:1])).parameters)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, single[0].parameters)
    assert all(jax.tree.leaves(moved)), moved
    table = single[0].parameters["backbone"]["embeddings"]["token"]["table"]
    assert not table[settings.model.vocabulary_size :].any(), "padded rows must stay zero"


def test_without_rows_of_sequence_the_loss_is_zero_and_finite(small_model: ModelConfig) -> None:
    settings = config(dataclasses.replace(small_model, dropout=0.0))
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    _, metrics = step_of(settings, mesh)(fresh_state(settings, mesh), np.zeros((8, 64), np.uint16))
    assert (float(metrics.loss), float(metrics.gradient_norm), int(metrics.tokens)) == (0, 0, 0)


def test_the_same_rows_get_other_masks_at_another_step(small_model: ModelConfig, sample_rows: Path) -> None:
    settings = config(small_model)
    rows = open_rows(sample_rows, TRAIN).read(np.arange(8))
    shares = []
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    step, state = step_of(settings, mesh), fresh_state(settings, mesh)
    for _ in range(2):
        state, metrics = step(state, rows)
        shares.append(float(metrics.masked_share))
    assert shares[0] != shares[1]


@pytest.mark.parametrize("way", ["2x1x4", "2x2x2"])
def test_masks_are_the_same_to_the_token_on_every_mesh(small_model: ModelConfig, sample_rows: Path, way: str) -> None:
    rows = open_rows(sample_rows, TRAIN).read(np.arange(16)).astype(np.int32)

    def mask(input_ids: jax.Array) -> MaskedRows:
        return MaskedTokens(MaskingConfig(), small_model.tokenizer).hide(input_ids, stream_key(0, "masks", 3), 0.15)

    on_one = jax.jit(mask)(rows)
    mesh = make_mesh(WAYS[way][1], jax.devices())
    on_many = jax.jit(mask, in_shardings=row_sharding(mesh))(rows)
    assert len(on_many.input_ids.sharding.device_set) == 8
    for one, many in zip(on_one, on_many, strict=True):
        assert np.array_equal(one, many)


def test_the_state_is_held_in_parts(small_model: ModelConfig) -> None:
    """No device has the whole of a parameter that the rules split, nor of its moments."""
    settings = config(small_model)
    state = fresh_state(settings, make_mesh(MeshConfig(data=2, fsdp=2, tensor=2), jax.devices()))
    adam = next(s for s in jax.tree.leaves(state.optimizer, is_leaf=lambda s: hasattr(s, "mu")) if hasattr(s, "mu"))
    for tree in (state.parameters, adam.mu, adam.nu):
        kernel = tree["backbone"]["layers"]["intermediate"]["kernel"]
        assert kernel.shape == (2, 32, 64)
        assert {shard.data.shape for shard in kernel.addressable_shards} == {(2, 16, 32)}


@pytest.mark.parametrize("unroll", [1, 2], ids=["scanned", "unrolled"])
def test_remat_computes_products_again(small_model: ModelConfig, unroll: int) -> None:
    on = make_mesh(MeshConfig(), jax.devices()[:1])
    rows = jax.ShapeDtypeStruct((8, 64), "uint16", sharding=row_sharding(on))
    products = []
    for remat in ("none", "dots", "full"):
        settings = config(small_model, ExecutionConfig(remat=remat, scan_unroll=unroll))
        step = step_of(settings, on).lower(abstract_state(small_model, settings.optimizer, on), rows)
        products.append(len(re.findall(r" dot\(", step.compile().as_text())))
    none, dots, full = products
    assert none < dots < full, "dots computes the products of attention again, which have no parameters"
