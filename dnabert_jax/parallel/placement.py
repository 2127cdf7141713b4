"""Which rows of a global batch a process reads, and how they become one array over the mesh.

Neighbours in the row order of a mesh need not belong to one process: on a TPU slice the devices are laid out for the
network, not for the hosts. So a process asks the sharding which rows its devices hold, and reads those. Row r of the
global batch is then the same row on any mesh and any number of processes.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, UInt16

from dnabert_jax.errors import InputError
from dnabert_jax.parallel.mesh import DATA, FSDP
from dnabert_jax.parallel.rules import row_sharding


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
        """The global array, of which this process gives the rows at `self.rows`."""

        def block(index: Any) -> UInt16[np.ndarray, "b L"]:
            first, stop, _ = index[0].indices(self.global_batch)
            return rows[np.searchsorted(self.rows, first) : np.searchsorted(self.rows, stop)]

        return jax.make_array_from_callback((self.global_batch, rows.shape[1]), self._sharding, block)
