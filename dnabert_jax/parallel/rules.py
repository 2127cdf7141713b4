"""One table that says on which mesh axis each logical axis lies; every parameter must match it or nothing is built."""

from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dnabert_jax.errors import InputError
from dnabert_jax.parallel.mesh import DATA, FSDP, TENSOR

RULES: dict[str, str | None] = {
    "embed": FSDP,
    "heads": TENSOR,
    "mlp": TENSOR,
    "vocabulary": TENSOR,
    "head_size": None,
    "layer": None,
    "norm": None,
    "position": None,
    "query_key_value": None,
    "token_type": None,
    "transform": None,
}

ROWS = PartitionSpec((DATA, FSDP))
"""A batch of rows is shared by the replicas and by the devices that share parameters."""


def row_sharding(mesh: Mesh) -> NamedSharding:
    """Of a batch: split by rows."""
    return NamedSharding(mesh, ROWS)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def parameter_shardings(parameters: nnx.State, mesh: Mesh) -> dict[str, Any]:
    """A sharding for each parameter of a (possibly abstract) model, as a pure tree like `nnx.to_pure_dict`.

    Raises:
        ValueError: a parameter names an axis that is not in RULES, or not one name a dimension.
        InputError: a dimension does not divide over its mesh axis.
    """

    def sharding(path: tuple[Any, ...], parameter: nnx.Param) -> NamedSharding:
        axes, shape = parameter.axes, parameter.shape
        name = "/".join(str(getattr(part, "key", part)) for part in path)
        if len(axes) != len(shape) or not set(axes) <= set(RULES):
            raise ValueError(
                f"Parameter {name} of shape {shape} has the axes {axes}: each must be one of {list(RULES)}."
            )
        for axis, size in zip(axes, shape, strict=True):
            mesh_axis = RULES[axis]
            if mesh_axis and size % mesh.shape[mesh_axis]:
                raise InputError(
                    f"The mesh axis {mesh_axis} of size {mesh.shape[mesh_axis]} does not divide the {size} of "
                    f"{axis!r} in parameter {name}: choose another mesh or model size."
                )
        return NamedSharding(mesh, PartitionSpec(*(RULES[axis] for axis in axes)))

    tree = jax.tree_util.tree_map_with_path(sharding, parameters, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    return nnx.to_pure_dict(tree)
