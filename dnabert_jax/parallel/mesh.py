"""The device mesh of a run: `data` x `fsdp` x `tensor`."""

from collections.abc import Sequence

import jax
from jax.experimental import mesh_utils
from jax.sharding import Mesh

from dnabert_jax.config import MeshConfig
from dnabert_jax.errors import InputError

DATA, FSDP, TENSOR = "data", "fsdp", "tensor"


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device]) -> Mesh:
    """Lays the devices out, neighbours in the network close together on the later axes.

    Raises:
        InputError: the axes do not multiply to the number of devices.
    """
    inner = config.fsdp * config.tensor
    data = len(devices) // inner if config.data == -1 else config.data
    if data * inner != len(devices):
        axes = f"fsdp {config.fsdp} x tensor {config.tensor}"
        wish = f"a multiple of {axes}" if config.data == -1 else f"data {config.data} x {axes}"
        raise InputError(
            f"The mesh is impossible on {len(devices)} devices: their number must be {wish} "
            "(--mesh.data, --mesh.fsdp, --mesh.tensor)."
        )
    shape = (data, config.fsdp, config.tensor)
    return Mesh(
        mesh_utils.create_device_mesh(shape, list(devices), allow_split_physical_axes=True), (DATA, FSDP, TENSOR)
    )
