"""The training step: one jitted, sharded function of (state, rows).

All randomness is keyed by (seed, step), so that a step gives the same masks and dropout on any mesh and after any
interruption. B batch, L tokens.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, UInt16

from dnabert_jax.config import ExecutionConfig, ModelConfig, OptimizerConfig
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import bind
from dnabert_jax.model.dropout import row_keys
from dnabert_jax.parallel.mesh import DATA, FSDP, ROWS, replicated, row_sharding
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL, PAD
from dnabert_jax.training.execution import Gathering, choose_execution, on_own_rows, summed_gradients, summed_over_rows
from dnabert_jax.training.masking import MaskedTokens, masked_token_sums
from dnabert_jax.training.optimizer import learning_rate_schedule, make_optimizer
from dnabert_jax.training.state import Parameters, TrainState, abstract_state, masked_lm_shardings, stream_key


class StepMetrics(NamedTuple):
    """Figures of one step, over the whole batch.

    Attributes:
        loss: mean cross-entropy of a masked token, nats.
        accuracy: share of masked tokens predicted exactly.
        masked_share: masked share of the tokens that spell bases.
        mask_rate: what that share should be on average.
        mask_overflow: tokens left unmasked for want of room.
        gradient_norm: before clipping.
        tokens: in the batch, [CLS] and [SEP] included; the rest is padding.
    """

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    masked_share: Float[Array, ""]
    mask_rate: Float[Array, ""]
    mask_overflow: Int[Array, ""]
    learning_rate: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    tokens: Int[Array, ""]


TrainStep = Callable[[TrainState, UInt16[Array, "B L"]], tuple[TrainState, StepMetrics]]


@functools.lru_cache(maxsize=16)
def jit_train_step(
    model: ModelConfig, objective: MaskedTokens, optimizer: OptimizerConfig, settings: ExecutionConfig, seed: int,
    mesh: Mesh,
) -> TrainStep:  # fmt: skip
    """Returns the jitted step, which donates the old state; raises InputError if the model cannot run on the mesh."""
    adamw = make_optimizer(optimizer)
    schedule = learning_rate_schedule(optimizer)
    gathering = Gathering(model, shardings := masked_lm_shardings(model, mesh))
    execution = choose_execution(model, settings, gathering, mesh, training=True)
    drops = model.dropout > 0 or model.attention_dropout > 0

    def own_gradients(
        parameters: Parameters, batch: Any, predicted: Float[Array, ""]
    ) -> tuple[tuple[Float[Array, ""], Float[Array, ""]], Parameters]:
        def loss_function(parameters: Parameters, part: tuple[Array, Array, Array, Array, Any]) -> tuple[Array, Array]:
            input_ids, predict_at, labels, weights, keys = part
            network = bind(LanguageModel, gathering(parameters), model)
            logits = network(input_ids, predict_at, keys, execution)
            sums = masked_token_sums(logits, labels, weights)
            return sums.loss / predicted, sums.correct

        figures, gradients = summed_gradients(loss_function, parameters, batch, settings.gradient_accumulation)
        return jax.lax.psum(figures, (DATA, FSDP)), summed_over_rows(gradients, shardings, DATA)

    gradients_of = on_own_rows(own_gradients, mesh, shardings, (ROWS, PartitionSpec()), (PartitionSpec(), shardings))

    def step_function(state: TrainState, rows: UInt16[Array, "B L"]) -> tuple[TrainState, StepMetrics]:
        input_ids = rows.astype(jnp.int32)
        rate = objective.rate(state.step)
        masked = objective.hide(input_ids, stream_key(seed, "masks", state.step), rate)
        keys = row_keys(stream_key(seed, "dropout", state.step), len(rows)) if drops else None
        num_masked = masked.weights.sum()
        predicted = jnp.maximum(num_masked, 1)
        batch = (masked.input_ids, masked.predict_at, masked.labels, masked.weights, keys)
        (loss, correct), gradients = gradients_of(state.parameters, batch, predicted)
        updates, optimizer_state = adamw.update(gradients, state.optimizer, state.parameters)
        num_kmers = (input_ids >= NUM_SPECIAL).sum()
        metrics = StepMetrics(
            loss=loss,
            accuracy=correct / predicted,
            masked_share=num_masked / jnp.maximum(num_kmers, 1),
            mask_rate=rate,
            mask_overflow=masked.overflow,
            learning_rate=jnp.asarray(schedule(state.step)),
            gradient_norm=optax.tree.norm(gradients),
            tokens=(input_ids != PAD).sum(),
        )
        parameters = optax.apply_updates(state.parameters, updates)
        return TrainState(state.step + 1, parameters, optimizer_state), metrics

    state_shardings = jax.tree.map(lambda shape: shape.sharding, abstract_state(model, optimizer, mesh))
    return jax.jit(
        step_function,
        in_shardings=(state_shardings, row_sharding(mesh)),
        out_shardings=(state_shardings, replicated(mesh)),
        donate_argnums=0,
    )
