"""The device mesh of a run: `data` x `fsdp` x `tensor`."""

import dataclasses
from collections.abc import Sequence

import jax
from jax.experimental import mesh_utils
from jax.sharding import Mesh

from dnabert_jax.config import MeshConfig
from dnabert_jax.errors import InputError
from dnabert_jax.parallel.chips import POD_AXIS

DATA, FSDP, TENSOR = "data", "fsdp", "tensor"

_LARGEST_FSDP = POD_AXIS
"""Of 256 devices each would keep 3 rows of a 768 x 768 kernel, less than a register, and
libtpu then gathers by an all-reduce, which sends twice as much."""


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
