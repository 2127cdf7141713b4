"""How a step is computed: which kernel of attention on which device, and a batch in parts.

B rows, A parts, J heads side by side.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from dnabert_jax.config import ExecutionConfig, ModelConfig
from dnabert_jax.errors import InputError
from dnabert_jax.model.attention import Attend, Heads, cudnn_attention, xla_attention
from dnabert_jax.model.backbone import Execution, Layer
from dnabert_jax.model.pallas_attention import pallas_attention, supports
from dnabert_jax.parallel.mesh import DATA, FSDP, TENSOR, gathered_axis
from dnabert_jax.training.state import Parameters, join_layers, split_layers

_CAST = "kernel"
"""The name of parameters that are used in the dtype of activations only."""

_WHOLE = -1
"""Instead of the axis of a parameter that lies in parts: none."""


def on_own_rows(
    function: Callable[..., Any], mesh: Mesh, shardings: Parameters, arguments: tuple[Any, ...], results: Any
) -> Callable[..., Any]:
    """A function of (parameters, *arguments) as one that each device of `data` x `fsdp` runs on the rows it holds.

    Within, parameters are parts, which `Gathering` puts together, and sums over rows are a device's own until
    `jax.lax.psum`. Only `tensor` is left to the compiler.

    Args:
        arguments: PartitionSpec of each other argument, or prefix trees of them.
        results: the same of the results, where `shardings` may stand for parameters.
    """

    def split_by_rows(sharding: NamedSharding) -> PartitionSpec:
        return PartitionSpec(*(axis if axis == FSDP else None for axis in sharding.spec))

    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(jax.tree.map(split_by_rows, shardings), *arguments),
        out_specs=jax.tree.map(lambda leaf: split_by_rows(leaf) if isinstance(leaf, NamedSharding) else leaf, results),
        axis_names={DATA, FSDP},
        check_vma=False,
    )


class Gathering:
    """Puts parameters together, on each device that uses them, from the parts that the devices of `fsdp` keep.

    They are cast before they travel, which halves what is sent. The layers are gathered one by one, by `layer`, so that
    this overlaps with computation. Gradients take the way back: each device receives the sum of its part.

    Attributes:
        shardings: of the parameters, some of them in parts.
    """

    def __init__(self, model: ModelConfig, shardings: Parameters):
        self._dtype, self.shardings = model.compute_dtype, shardings
        axes = jax.tree.map(lambda part: _WHOLE if (axis := gathered_axis(part)) is None else axis, shardings)
        self._layers, self._rest = split_layers(axes)

    def __call__(self, parameters: Parameters) -> Parameters:
        """All parameters whole but those of the layers."""
        layers, rest = split_layers(parameters)
        return join_layers(layers, jax.tree_util.tree_map_with_path(self._gather, rest, self._rest))

    def layer(self, layer: Layer) -> Layer:
        """A layer's parameters whole."""
        graph, parameters = nnx.split(layer)
        axes = jax.tree.map(lambda axis: max(axis - 1, _WHOLE), self._layers)
        return nnx.merge(graph, jax.tree_util.tree_map_with_path(self._gather, nnx.to_pure_dict(parameters), axes))

    def _gather(self, path: tuple[Any, ...], parameter: Array, axis: int) -> Array:
        if axis == _WHOLE:
            return parameter
        if path[-1].key == _CAST:
            parameter = parameter.astype(self._dtype)
        return jax.lax.all_gather(parameter, FSDP, axis=axis, tiled=True)


def summed_over_rows(gradients: Parameters, shardings: Parameters, *axes: str) -> Parameters:
    """Returns gradients of a device's own rows, already summed over `fsdp` where they lie in parts, summed over all.

    Args:
        axes: the mesh axes over which rows are spread, besides `fsdp`.
    """

    def summed(gradient: Array, sharding: NamedSharding) -> Array:
        over = (*axes, FSDP) if gathered_axis(sharding) is None else axes
        return jax.lax.psum(gradient, over) if over else gradient

    return jax.tree.map(summed, gradients, shardings)


def choose_execution(
    model: ModelConfig, settings: ExecutionConfig, gathering: Gathering, mesh: Mesh, training: bool
) -> Execution:
    """Returns the settings of a run for use `on_own_rows`; raises InputError if its attention cannot run there."""
    platform = mesh.devices.flat[0].platform
    attend = choose_attention(model, settings.attention, platform, mesh.shape[TENSOR], training)
    return Execution(attend, settings.remat, settings.scan_unroll, gathering.layer)


def choose_attention(model: ModelConfig, wish: str, platform: str, tensor: int, training: bool) -> Attend:
    """Returns the kernel of attention that is asked for, or the fastest."""
    heads = model.num_heads // tensor
    drops = training and model.attention_dropout > 0
    narrow = model.compute_dtype == "bfloat16"
    if wish == "pallas" and not (platform == "tpu" and supports(model.max_positions, heads, model.head_size)):
        raise InputError(
            f"Pallas attention is a TPU kernel for rows of a multiple of 128 tokens, up to 8192, and heads that fill "
            f"128 lanes, not for {model.max_positions} tokens and {heads} heads of {model.head_size} a device on "
            f"{platform}: choose --execution.attention auto."
        )
    if wish == "cudnn" and (platform != "gpu" or drops or not narrow):
        raise InputError(
            f"cuDNN attention needs a GPU, --model.compute-dtype bfloat16 and --model.attention-dropout 0, not "
            f"{platform}, {model.compute_dtype} and {model.attention_dropout:g}: choose --execution.attention auto."
        )
    if platform == "tpu" and wish in ("auto", "pallas"):
        return _on_own_heads(_pallas_where_it_can if wish == "auto" else pallas_attention)
    cudnn_can = platform == "gpu" and narrow and not drops and model.head_size % 8 == 0 and model.head_size <= 128
    if wish == "cudnn" or (wish == "auto" and cudnn_can):
        return _on_own_heads(cudnn_attention)
    return xla_attention


def _pallas_where_it_can(heads: Heads) -> Float[Array, "B L J"]:
    """The TPU kernel, and plain XLA for rows that it does not take."""
    _, length, width = heads.query.shape
    return (pallas_attention if supports(length, width // heads.size, heads.size) else xla_attention)(heads)


def _on_own_heads(attention: Attend) -> Attend:
    """A kernel, which the compiler cannot divide, on each device's heads."""
    x, of_heads = PartitionSpec(None, None, TENSOR), PartitionSpec(None, TENSOR)

    @functools.wraps(attention)
    def attend(heads: Heads) -> Array:
        query, key, value, segment_ids, size, rate, keys = heads
        mapped = jax.shard_map(
            lambda query, key, value, ids, keys: attention(Heads(query, key, value, ids, size, rate, keys)),
            in_specs=(x, x, x, PartitionSpec(), of_heads),
            out_specs=x,
            axis_names={TENSOR},
            check_vma=False,
        )
        return mapped(query, key, value, segment_ids, keys)

    return attend


def summed_gradients(
    loss: Callable[[Any, Any], tuple[Array, Array]], parameters: Any, batch: Any, parts: int
) -> tuple[tuple[Array, Array], Any]:
    """Loss, a count and gradients, summed over the parts of a batch, which go one after the other.

    Args:
        loss: of (parameters, part), with a count beside it.
        parts: how many; one means no loop.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        return gradient(parameters, batch)
    batch = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)

    def add(sums: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, gradient(parameters, part)), None

    shapes = jax.eval_shape(gradient, parameters, jax.tree.map(lambda x: x[0], batch))
    zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    return jax.lax.scan(add, zeros, batch)[0]
