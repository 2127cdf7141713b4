"""Where arrays lie on the mesh: one table from logical to mesh axes; every parameter must match it or nothing is built.

`fsdp` is in no row of the table: each matrix, and its moments, is kept in that many parts along its first axis that
tensor parallelism leaves alone, if it divides. Whole rows of registers then travel, and none is moved when they are put
together. Vectors are kept whole, as they are too small for it to pay.
"""

from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dnabert_jax.errors import InputError
from dnabert_jax.parallel.mesh import DATA, FSDP, TENSOR

RULES: dict[str, str | None] = {
    "embed": None,
    "heads": TENSOR,
    "mlp": TENSOR,
    "vocabulary": TENSOR,
    "layer": None,
    "norm": None,
    "position": None,
    "token_type": None,
    "transform": None,
    "pooled": None,
    "pieces": None,
    "gates": None,
    "recurrent": None,
    "attention": None,
    "label": None,
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
        InputError: a dimension does not divide over the mesh axis of its rule.
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
        return NamedSharding(mesh, _with_fsdp(axes, shape, mesh))

    tree = jax.tree_util.tree_map_with_path(sharding, parameters, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    return nnx.to_pure_dict(tree)


def _with_fsdp(axes: tuple[str, ...], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    spec = [RULES[axis] for axis in axes]
    own = [number for number, axis in enumerate(axes) if axis != "layer"]
    if len(own) > 1:
        for number in own:
            taken = spec[number] and mesh.shape[spec[number]] > 1
            if not taken and shape[number] % mesh.shape[FSDP] == 0:
                spec[number] = FSDP
                break
    return PartitionSpec(*spec)


def gathered_axis(sharding: NamedSharding) -> int | None:
    """Which axis of a parameter lies in parts over `fsdp`, to be put together before use; none if it lies whole."""
    return sharding.spec.index(FSDP) if FSDP in sharding.spec else None
