"""The optimizer is the paper's: its schedule, its decay mask, and AdamW as PyTorch has it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from dnabert_jax.config import ModelConfig, OptimizerConfig
from dnabert_jax.families import PRESETS
from dnabert_jax.training.optimizer import decay_mask, learning_rate_schedule, make_optimizer
from dnabert_jax.training.state import init_parameters


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0), (5000, 2e-4), (10_000, 4e-4), (105_000, 2e-4), (120_000, 4e-4 * 80 / 190), (200_000, 0)]
)
def test_the_learning_rate_rises_to_the_peak_and_falls_to_zero(step: int, rate: float) -> None:
    assert float(learning_rate_schedule(OptimizerConfig())(step)) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 5e-5), (8000, 7.5e-5), (16_000, 1e-4), (64_000, 5e-5), (256_000, 2.5e-5)]
)
def test_the_learning_rate_may_fall_by_the_square_root_of_the_step(step: int, rate: float) -> None:
    schedule = learning_rate_schedule(PRESETS["nt-v2-50m"].optimizer)
    assert float(schedule(step)) == pytest.approx(rate, rel=1e-5)


def test_biases_and_layer_norm_do_not_decay(small_model: ModelConfig) -> None:
    flat = jax.tree_util.tree_leaves_with_path(decay_mask(init_parameters(small_model, 0)))
    decaying = {jax.tree_util.keystr(path) for path, decays in flat if decays}
    for path, _ in flat:
        name = jax.tree_util.keystr(path)
        assert (name in decaying) == ("kernel" in name or "table" in name), name
    assert len(decaying) == 3 + 6 + 1


def test_updates_equal_those_of_torch(small_model: ModelConfig) -> None:
    """torch.optim.AdamW with the same clipping, schedule and groups, for six steps on random gradients."""
    config = OptimizerConfig(peak_learning_rate=1e-2, warmup_steps=3, schedule_steps=10, weight_decay=0.1)
    rng = np.random.default_rng(0)
    parameters = {"kernel": rng.normal(size=(4, 3)).astype(np.float32), "bias": rng.normal(size=3).astype(np.float32)}
    theirs = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in parameters.items()}
    groups = [{"params": [theirs["kernel"]], "weight_decay": 0.1}, {"params": [theirs["bias"]], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.98), eps=1e-6)
    ours = jax.tree.map(jnp.asarray, parameters)
    optimizer = make_optimizer(config)
    state = optimizer.init(ours)
    for step in range(6):
        gradients = {
            name: (10 ** (step - 3) * rng.normal(size=v.shape)).astype(np.float32) for name, v in parameters.items()
        }
        updates, state = optimizer.update(gradients, state, ours)
        ours = optax.apply_updates(ours, updates)
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(gradients[name])
        torch.nn.utils.clip_grad_norm_(list(theirs.values()), 1.0)
        for group in adamw.param_groups:
            group["lr"] = float(learning_rate_schedule(config)(step))
        adamw.step()
    for name, parameter in theirs.items():
        np.testing.assert_allclose(ours[name], parameter.detach().numpy(), atol=1e-6)
        assert not np.allclose(ours[name], parameters[name], atol=1e-3)
