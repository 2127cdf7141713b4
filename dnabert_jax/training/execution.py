"""How a step is computed: which kernel of attention on which device, and a batch in parts.

B rows, A parts, J heads side by side.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from dnabert_jax.config import PretrainConfig
from dnabert_jax.errors import InputError
from dnabert_jax.model.attention import Attend, cudnn_attention, xla_attention
from dnabert_jax.model.bert import Execution, Layer
from dnabert_jax.model.dropout import RowKeys
from dnabert_jax.model.pallas_attention import pallas_attention, supports
from dnabert_jax.parallel.mesh import DATA, FSDP, TENSOR
from dnabert_jax.parallel.rules import ROWS, without_first
from dnabert_jax.training.state import Network, Parameters

_CAST = "kernel"
"""The name of parameters that are used in the dtype of activations only."""


class Gathering:
    """Brings parameters that lie in parts, split over `data` as the optimizer's moments are, to where they are used.

    They are cast before they travel, which halves what is sent. Their gradients take the way back: each device receives
    the sum of its part. The layers are gathered one by one, by `layer`, so that this overlaps with computation.

    Args:
        config: of the run.
        network: for how parameters are split by the rules alone.
        mesh: of the run.
    """

    def __init__(self, config: PretrainConfig, network: Network, mesh: Mesh):
        self._dtype = config.model.compute_dtype
        self._shardings = network.shardings(mesh)
        of_layers = self._shardings["bert"]["layers"]
        self._of_one_layer = jax.tree.map(without_first, of_layers)

    def __call__(self, parameters: Parameters) -> Parameters:
        """All parameters in their place but those of the layers."""
        layers = parameters["bert"]["layers"]
        rest = {**parameters, "bert": {**parameters["bert"], "layers": {}}}
        shardings = {**self._shardings, "bert": {**self._shardings["bert"], "layers": {}}}
        placed = jax.tree_util.tree_map_with_path(self._place, rest, shardings)
        return {**placed, "bert": {**placed["bert"], "layers": layers}}

    def layer(self, layer: Layer) -> Layer:
        """A layer's parameters in their place."""
        graph, parameters = nnx.split(layer)
        placed = jax.tree_util.tree_map_with_path(self._place, nnx.to_pure_dict(parameters), self._of_one_layer)
        return nnx.merge(graph, placed)

    def _place(self, path: tuple[Any, ...], parameter: Array, sharding: NamedSharding) -> Array:
        if path[-1].key == _CAST:
            parameter = parameter.astype(self._dtype)
        return jax.lax.with_sharding_constraint(parameter, sharding)


def choose_execution(config: PretrainConfig, network: Network, mesh: Mesh, training: bool) -> Execution:
    """The settings of a run on the devices of a mesh.

    Raises:
        InputError: the kernel of attention that is asked for cannot run there.
    """
    settings, gathering = config.execution, Gathering(config, network, mesh)
    attend = _choose_attention(config, mesh, training)
    return Execution(attend, settings.remat, settings.scan_unroll, gathering.layer)


def _choose_attention(config: PretrainConfig, mesh: Mesh, training: bool) -> Attend:
    model, wish = config.model, config.execution.attention
    platform = mesh.devices.flat[0].platform
    heads = model.num_heads // mesh.shape[TENSOR]
    drops = training and model.attention_dropout > 0
    narrow = model.compute_dtype == "bfloat16"
    if wish == "pallas" and not (platform == "tpu" and supports(model.max_positions, heads, model.head_size)):
        raise InputError(
            f"Pallas attention is a TPU kernel for rows of a multiple of 128 tokens, up to 1024, and heads that fill "
            f"128 lanes, not for {model.max_positions} tokens and {heads} heads of {model.head_size} a device on "
            f"{platform}: choose --execution.attention auto."
        )
    if wish == "cudnn" and (platform != "gpu" or drops or not narrow):
        raise InputError(
            f"cuDNN attention needs a GPU, --model.compute-dtype bfloat16 and --model.attention-dropout 0, not "
            f"{platform}, {model.compute_dtype} and {model.attention_dropout:g}: choose --execution.attention auto."
        )
    if platform == "tpu" and wish in ("auto", "pallas"):
        return _pallas_on(mesh)
    if wish == "cudnn" or (wish == "auto" and platform == "gpu" and narrow and not drops):
        return cudnn_attention
    return xla_attention


def _pallas_on(mesh: Mesh) -> Attend:
    """The TPU kernel on each device's rows and heads, and plain XLA for rows that the kernel does not take."""
    rows, heads = ROWS[0], PartitionSpec(*ROWS, TENSOR)
    x = PartitionSpec(rows, None, TENSOR)

    def attend(
        query: Float[Array, "B L J"],
        key: Float[Array, "B L J"],
        value: Float[Array, "B L J"],
        segment_ids: Int[Array, "B L"],
        head_size: int,
        rate: float,
        keys: RowKeys | None,
    ) -> Float[Array, "B L J"]:
        if not supports(query.shape[1], query.shape[2] // head_size // mesh.shape[TENSOR], head_size):
            return xla_attention(query, key, value, segment_ids, head_size, rate, keys)

        def on_device(query: Array, key: Array, value: Array, segment_ids: Array, keys: RowKeys | None) -> Array:
            return pallas_attention(query, key, value, segment_ids, head_size, rate, keys)

        specs = (x, x, x, ROWS, heads)
        mapped = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=x, check_vma=False)
        return mapped(query, key, value, segment_ids, keys)

    return attend


def check_parts(config: PretrainConfig, mesh: Mesh) -> None:
    """Raises InputError unless each device's rows divide into the parts of gradient accumulation."""
    parts, shares = config.execution.gradient_accumulation, mesh.shape[DATA] * mesh.shape[FSDP]
    if config.global_batch % (parts * shares):
        raise InputError(
            f"A global batch of {config.global_batch} rows does not divide over {shares} devices (data "
            f"{mesh.shape[DATA]} x fsdp {mesh.shape[FSDP]}) in {parts} parts: choose a multiple of {parts * shares}."
        )


def split_rows(tree: Any, parts: int, mesh: Mesh) -> Any:
    """Arrays over rows, [B, ...], as [A, B / A, ...]: in each part, each device has some of its own rows."""
    shares = mesh.shape[DATA] * mesh.shape[FSDP]
    layout = NamedSharding(mesh, PartitionSpec(None, *ROWS))

    def split(x: Array) -> Array:
        by_device = x.reshape(shares, parts, -1, *x.shape[1:])
        return jax.lax.with_sharding_constraint(jnp.swapaxes(by_device, 0, 1).reshape(parts, -1, *x.shape[1:]), layout)

    return jax.tree.map(split, tree)


def summed_gradients(
    loss: Callable[[Any, Any], tuple[Array, Array]], parameters: Any, batch: Any, parts: int, mesh: Mesh
) -> tuple[tuple[Array, Array], Any]:
    """Loss, a count and gradients, summed over the parts of a batch.

    Args:
        loss: of (parameters, part), with a count beside it.
        parameters: what to differentiate by.
        batch: a tree of arrays over rows.
        parts: how many; one means no loop.
        mesh: of the arrays.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        return gradient(parameters, batch)

    def add(sums: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, gradient(parameters, part)), None

    zeros = jax.tree.map(
        lambda shape: jnp.zeros(shape.shape, shape.dtype),
        jax.eval_shape(gradient, parameters, jax.tree.map(lambda x: x[: len(x) // parts], batch)),
    )
    return jax.lax.scan(add, zeros, split_rows(batch, parts, mesh))[0]
