"""What training carries from step to step, and how it is made and laid out over a mesh."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Int

from dnabert_jax.config import ModelConfig, OptimizerConfig
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import abstract_parameters, parameter_shapes, random_parameters
from dnabert_jax.parallel.mesh import parameter_shardings, replicated
from dnabert_jax.training.optimizer import make_optimizer

Parameters = dict[str, Any]
"""Nested dictionaries of float32 arrays, named as in the modules."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All of what a checkpoint holds; trees of the same shape stand for its shapes and its shardings."""

    step: Any
    parameters: Parameters
    optimizer: optax.OptState


def split_layers(parameters: Parameters) -> tuple[Parameters, Parameters]:
    """Returns the stacked layers of the encoder, and the tree without them."""
    encoder = {**parameters["backbone"]}
    layers = encoder.pop("layers")
    return layers, {**parameters, "backbone": encoder}


def join_layers(layers: Parameters, rest: Parameters) -> Parameters:
    """Returns the tree that `split_layers` took apart."""
    return {**rest, "backbone": {**rest["backbone"], "layers": layers}}


def init_parameters(model: ModelConfig, seed: int) -> Parameters:
    """Returns the random parameters that a run with this seed begins with."""
    return random_parameters(LanguageModel, stream_key(seed, "parameters", 0), model)


def masked_lm_shardings(model: ModelConfig, mesh: Mesh) -> Parameters:
    """Returns how each parameter, its moments, and its gradient once summed, lie on the mesh."""
    return parameter_shardings(abstract_parameters(LanguageModel, model), mesh)


def abstract_state(model: ModelConfig, optimizer: OptimizerConfig, mesh: Mesh) -> TrainState:
    """Returns the state as shapes with shardings: a checkpoint is restored onto it, and the step compiles for it."""
    adamw = make_optimizer(optimizer)
    parameters = parameter_shapes(LanguageModel, model)
    shardings = masked_lm_shardings(model, mesh)
    optimizer_shape = jax.eval_shape(adamw.init, parameters)
    optimizer_shardings = optax.tree.map_params(
        adamw,
        lambda _, sharding: sharding,
        optimizer_shape,
        shardings,
        transform_non_params=lambda _: replicated(mesh),
    )
    shapes = TrainState(jax.ShapeDtypeStruct((), jnp.int32), parameters, optimizer_shape)
    return jax.tree.map(
        lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding),
        shapes,
        TrainState(replicated(mesh), shardings, optimizer_shardings),
    )


def init_state(
    model: ModelConfig, optimizer: OptimizerConfig, seed: int, mesh: Mesh, parameters: Parameters | None = None
) -> TrainState:
    """Returns a fresh state, made where it lies: no device holds more than its part.

    Args:
        parameters: to begin with, laid out so; if none are given, random ones.
    """
    shardings = jax.tree.map(lambda shape: shape.sharding, abstract_state(model, optimizer, mesh))

    def init(parameters: Parameters | None) -> TrainState:
        if parameters is None:
            parameters = init_parameters(model, seed)
        return TrainState(jnp.zeros((), jnp.int32), parameters, make_optimizer(optimizer).init(parameters))

    return jax.jit(init, out_shardings=shardings)(parameters)


_STREAMS = ("parameters", "masks", "dropout")


def stream_key(seed: Int[Array, ""] | int, stream: str, step: Int[Array, ""] | int) -> Array:
    """The random key of a purpose at a step: a function of the run's seed alone, not of where it runs."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _STREAMS.index(stream)), step)
