"""AdamW as in DNABERT's run_pretrain.py: linear warm-up and decay, clipping, no decay on biases and LayerNorm."""

from typing import Any

import jax
import optax

from dnabert_jax.config import OptimizerConfig


def learning_rate_schedule(config: OptimizerConfig) -> optax.Schedule:
    """Linear from 0 to the peak over the warm-up, then linear to 0 at schedule_steps."""
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, config.peak_learning_rate, config.warmup_steps),
            optax.linear_schedule(config.peak_learning_rate, 0.0, config.schedule_steps - config.warmup_steps),
        ],
        [config.warmup_steps],
    )


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
