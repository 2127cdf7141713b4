"""AdamW as in DNABERT's run_pretrain.py: linear warm-up and decay, clipping, no decay on biases and LayerNorm."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from dnabert_jax.config import OptimizerConfig


def learning_rate_schedule(config: OptimizerConfig) -> optax.Schedule:
    """Returns the rate by step: linear to the peak over the warm-up, and from there the decay."""
    peak, warmup = config.peak_learning_rate, config.warmup_steps
    if config.decay == "linear":
        decay = optax.linear_schedule(peak, 0.0, config.schedule_steps - warmup)
    else:
        decay = lambda steps: peak * jnp.sqrt(warmup / (warmup + jnp.maximum(steps, 0)))  # noqa: E731
    return optax.join_schedules([optax.linear_schedule(config.initial_learning_rate, peak, warmup), decay], [warmup])


def decay_mask(parameters: Any) -> Any:
    """Returns True for the parameters that weight decay acts on: kernels, embedding tables and LoRA's factors."""

    def decays(path: tuple[jax.tree_util.DictKey, ...], _: Any) -> bool:
        return path[-1].key in ("kernel", "table", "a", "b")

    return jax.tree_util.tree_map_with_path(decays, parameters)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            learning_rate_schedule(config),
            b1=config.beta1,
            b2=config.beta2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            mask=decay_mask,
        ),
    )
