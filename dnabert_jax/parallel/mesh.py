"""The device mesh of a run, `data` x `fsdp` x `tensor`; where arrays lie on it; and which rows a process reads.

One table maps logical to mesh axes; every parameter must match it or nothing is built. `fsdp` is in no row of the
table: each matrix, and its moments, is kept in that many parts along its first axis that tensor parallelism leaves
alone, if it divides. Whole rows of registers then travel, and none is moved when they are put together. Vectors are
kept whole, as they are too small for it to pay.

Neighbours in the row order of a mesh need not belong to one process: on a TPU slice the devices are laid out for the
network, not for the hosts. So a process asks the sharding which rows its devices hold, and reads those. Row r of the
global batch is then the same row on any mesh and any number of processes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, UInt16

from dnabert_jax.config import MeshConfig
from dnabert_jax.errors import InputError
from dnabert_jax.parallel.chips import POD_AXIS

DATA, FSDP, TENSOR = "data", "fsdp", "tensor"

_LARGEST_FSDP = POD_AXIS
"""Of 256 devices each would keep 3 rows of a 768 x 768 kernel, less than a register, and
libtpu then gathers by an all-reduce, which sends twice as much."""

RULES: dict[str, str | None] = dict.fromkeys(("heads", "mlp", "vocabulary"), TENSOR) | dict.fromkeys(
    ("embed", "layer", "norm", "position", "token_type", "transform", "pooled", "pieces", "gates", "recurrent",
     "attention", "label")
)  # fmt: skip

ROWS = PartitionSpec((DATA, FSDP))
"""A batch of rows is shared by the replicas and by the devices that share parameters."""


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device]) -> Mesh:
    """Lays the devices out, neighbours in the network close together on the later axes.

    Several TPU slices, which only the data centre's network joins, share nothing but the axis data.
    """
    # GPUs number their machines so, which NCCL may span with any axis.
    slices = len({getattr(device, "slice_index", 0) for device in devices if device.platform == "tpu"}) or 1
    fsdp = config.fsdp
    if fsdp == -1:
        # Of all devices if data is given, or else of a slice.
        shared = max(len(devices) // config.tensor // (slices if config.data == -1 else config.data), 1)
        fsdp = shared if config.data != -1 else max(n for n in range(1, _LARGEST_FSDP + 1) if shared % n == 0)
    inner = fsdp * config.tensor
    data = len(devices) // inner if config.data == -1 else config.data
    if data * inner != len(devices):
        sizes = dataclasses.asdict(config)
        asked = " x ".join(f"{name} {size}" for name, size in sizes.items() if size != -1)
        wish = "divide" if -1 in sizes.values() else "be"
        raise InputError(
            f"The mesh is impossible on {len(devices)} devices: {asked} must {wish} their number. Give others of "
            "--mesh.data, --mesh.fsdp and --mesh.tensor; -1 for the first two means what fits."
        )
    if data % slices:
        raise InputError(
            f"The mesh axis data of size {data} does not divide over {slices} slices, which only it may span: "
            "choose smaller --mesh.fsdp and --mesh.tensor."
        )
    # Of data, the neighbours that share a slice come first: what goes between slices is as little as can be.
    shape, across = (data // slices, fsdp, config.tensor), (slices, 1, 1)
    if slices > 1:
        array = mesh_utils.create_hybrid_device_mesh(shape, across, list(devices), allow_split_physical_axes=True)
    else:
        array = mesh_utils.create_device_mesh(shape, list(devices), allow_split_physical_axes=True)
    return Mesh(array, (DATA, FSDP, TENSOR))


def row_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: split by rows."""
    return NamedSharding(mesh, ROWS)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that every device has whole."""
    return NamedSharding(mesh, PartitionSpec())


def parameter_shardings(parameters: nnx.State, mesh: Mesh) -> dict[str, Any]:
    """Returns a sharding for each parameter of a (possibly abstract) model, as a pure tree like `nnx.to_pure_dict`.

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
    of_matrix = [number for number, axis in enumerate(axes) if axis != "layer"]
    if len(of_matrix) > 1:
        for number in of_matrix:
            taken = spec[number] and mesh.shape[spec[number]] > 1
            if not taken and shape[number] % mesh.shape[FSDP] == 0:
                spec[number] = FSDP
                break
    return PartitionSpec(*spec)


def gathered_axis(sharding: NamedSharding) -> int | None:
    """Returns the axis along which a parameter lies in parts over `fsdp`, None if it lies whole."""
    return sharding.spec.index(FSDP) if FSDP in sharding.spec else None


def check_global_batch(mesh: Mesh, global_batch: int, parts: int = 1) -> None:
    """Raises InputError unless rows divide over the mesh, and those of each device into parts."""
    shares = mesh.shape[DATA] * mesh.shape[FSDP]
    if global_batch % (parts * shares):
        raise InputError(
            f"A global batch of {global_batch} rows does not divide over {shares} devices (data {mesh.shape[DATA]} x "
            f"fsdp {mesh.shape[FSDP]}){f' in {parts} parts' if parts > 1 else ''}: choose a multiple of "
            f"{parts * shares}."
        )


class RowPlacement:
    """The rows of a global batch over a mesh.

    Args:
        process: whose rows; this one, if not given.

    Attributes:
        rows: places in the global batch that this process reads, ascending.
    """

    def __init__(self, mesh: Mesh, global_batch: int, process: int | None = None):
        check_global_batch(mesh, global_batch)
        self.mesh, self.global_batch = mesh, global_batch
        self._sharding = row_sharding(mesh)
        process = jax.process_index() if process is None else process
        slices = [
            index[0].indices(global_batch)[:2]
            for device, index in self._sharding.devices_indices_map((global_batch,)).items()
            if device.process_index == process  # type: ignore[attr-defined]
        ]
        self.rows: Int[np.ndarray, " R"] = np.unique(np.concatenate([np.arange(*limits) for limits in slices]))

    def on_mesh(self, rows: UInt16[np.ndarray, "R L"]) -> UInt16[Array, "B L"]:
        """Returns the global array, of which this process gives the rows at `self.rows`."""

        def block(index: Any) -> UInt16[np.ndarray, "b L"]:
            first, stop, _ = index[0].indices(self.global_batch)
            return rows[np.searchsorted(self.rows, first) : np.searchsorted(self.rows, stop)]

        return jax.make_array_from_callback((self.global_batch, rows.shape[1]), self._sharding, block)
