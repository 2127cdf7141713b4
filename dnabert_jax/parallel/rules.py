"""One table that says on which mesh axis each logical axis lies; every parameter must match it or nothing is built."""

import math
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
    "layer": None,
    "norm": None,
    "position": None,
    "token_type": None,
    "transform": None,
}

_SMALLEST_SPLIT = 2**16
"""Elements of the smallest parameter that is split over `data`."""

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
            units = size // parameter.get_metadata().get("units", {}).get(axis, 1)
            if mesh_axis and units % mesh.shape[mesh_axis]:
                raise InputError(
                    f"The mesh axis {mesh_axis} of size {mesh.shape[mesh_axis]} does not divide the {units} of "
                    f"{axis!r} in parameter {name}: choose another mesh or model size."
                )
        return NamedSharding(mesh, PartitionSpec(*(RULES[axis] for axis in axes)))

    tree = jax.tree_util.tree_map_with_path(sharding, parameters, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    return nnx.to_pure_dict(tree)


def split_over_data(shape: tuple[int, ...], sharding: NamedSharding) -> NamedSharding:
    """The sharding of a parameter, with one axis split over `data` as well, for what lies there between steps.

    The axis is the longest that divides, but the last, whose neighbours fill a register, only if no other does. Small
    parameters, biases say, keep their sharding: to gather them costs more than to update them everywhere.
    """
    mesh, spec = sharding.mesh, list(sharding.spec) + [None] * (len(shape) - len(sharding.spec))
    parts = [mesh.shape[name] if name else 1 for name in spec]
    free = [axis for axis, size in enumerate(shape) if size % (parts[axis] * mesh.shape[DATA]) == 0]
    if mesh.shape[DATA] == 1 or not free or math.prod(shape) < _SMALLEST_SPLIT:
        return sharding
    chosen = max(free, key=lambda axis: (axis < len(shape) - 1, shape[axis] // parts[axis]))
    spec[chosen] = DATA if parts[chosen] == 1 else (spec[chosen], DATA)
    return NamedSharding(mesh, PartitionSpec(*spec))


def without_first(sharding: NamedSharding) -> NamedSharding:
    """Of one element of an array's first axis, which is not split."""
    return NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[1:]))
