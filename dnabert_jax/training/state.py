"""What training carries from step to step, and how it is made and laid out over a mesh."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Int

from dnabert_jax.config import ModelConfig, PretrainConfig
from dnabert_jax.model.bert import BertForMaskedLM
from dnabert_jax.parallel.rules import parameter_shardings, replicated
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


@dataclasses.dataclass(frozen=True)
class Network:
    """A model without its parameters: `bind` gives it some, `shardings` lays them out.

    Attributes:
        graph: the structure that `nnx.split` leaves.
    """

    graph: nnx.GraphDef[BertForMaskedLM]
    abstract: nnx.State

    def bind(self, parameters: Parameters) -> BertForMaskedLM:
        """The module with these parameters."""
        return nnx.merge(self.graph, parameters)

    def shardings(self, mesh: Mesh) -> Parameters:
        """How each parameter, its moments, and its gradient once summed, lie on the mesh."""
        return parameter_shardings(self.abstract, mesh)


def abstract_network(config: ModelConfig) -> Network:
    """The network of a configuration; nothing is computed."""
    module = nnx.eval_shape(lambda: BertForMaskedLM(config, rngs=nnx.Rngs(params=0)))
    return Network(*nnx.split(module, nnx.Param))


def init_parameters(config: ModelConfig, key: Array) -> Parameters:
    """Random parameters: the same for the same key, on any mesh."""
    module = BertForMaskedLM(config, rngs=nnx.Rngs(params=key))
    return nnx.to_pure_dict(nnx.split(module, nnx.Param)[1])


def abstract_state(config: PretrainConfig, network: Network, mesh: Mesh) -> TrainState:
    """The state as shapes with shardings: what a checkpoint is restored onto, and what the step compiles for."""
    optimizer = make_optimizer(config.optimizer)
    parameters = nnx.to_pure_dict(network.abstract)
    shardings = network.shardings(mesh)
    optimizer_shape = jax.eval_shape(optimizer.init, parameters)
    optimizer_shardings = optax.tree.map_params(
        optimizer,
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
    config: PretrainConfig, network: Network, mesh: Mesh, parameters: Parameters | None = None
) -> TrainState:
    """A fresh state, made where it lies: no device holds more than its part.

    Args:
        parameters: to begin with, laid out so; if none are given, random ones.
    """
    shardings = jax.tree.map(lambda shape: shape.sharding, abstract_state(config, network, mesh))

    def init(parameters: Parameters | None) -> TrainState:
        if parameters is None:
            parameters = init_parameters(config.model, stream_key(config.seed, "parameters", 0))
        return TrainState(jnp.zeros((), jnp.int32), parameters, make_optimizer(config.optimizer).init(parameters))

    return jax.jit(init, out_shardings=shardings)(parameters)


_STREAMS = ("parameters", "masks", "dropout")


def stream_key(seed: Int[Array, ""] | int, stream: str, step: Int[Array, ""] | int) -> Array:
    """The random key of a purpose at a step: a function of the run's seed alone, not of where it runs."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _STREAMS.index(stream)), step)
