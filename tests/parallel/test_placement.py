"""Row r of a global batch is the same row on any mesh, however the devices of its processes lie in it."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from dnabert_jax.config import MeshConfig
from dnabert_jax.parallel.mesh import RowPlacement, make_mesh


@pytest.mark.parametrize("config", [MeshConfig(), MeshConfig(data=2, tensor=4), MeshConfig(fsdp=4, tensor=2)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_keep_their_places(config: MeshConfig, shuffled: bool) -> None:
    devices = np.random.default_rng(0).permutation(np.array(jax.devices())) if shuffled else np.array(jax.devices())
    mesh = Mesh(devices.reshape(make_mesh(config, jax.devices()).devices.shape), ("data", "fsdp", "tensor"))
    placement = RowPlacement(mesh, 16)
    assert placement.rows.tolist() == list(range(16))
    rows = np.arange(16 * 4, dtype=np.uint16).reshape(16, 4)
    array = placement.on_mesh(rows)
    assert array.shape == (16, 4)
    assert np.array_equal(array, rows)


PROGRAM = """
import sys
import numpy as np
from jax.experimental import topologies
from dnabert_jax.config import MeshConfig

devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:4x4").devices
for tensor in (1, 2):
    mesh = make_mesh(MeshConfig(tensor=tensor), devices)
    parts = [RowPlacement(mesh, 64, process).rows for process in sorted({d.process_index for d in devices})]
    read = np.concatenate(parts)
    print(len(parts), np.array_equal(np.unique(read), np.arange(64)), any((np.diff(part) > 1).any() for part in parts))
"""


@pytest.mark.tpu_compiler
def test_the_hosts_of_a_real_slice_read_every_row_though_theirs_are_no_neighbours(
    run_with_tpu_compiler: Callable[[str], list[str]],
) -> None:
    lines = [line.split() for line in run_with_tpu_compiler(PROGRAM)]
    assert [line[:2] for line in lines] == [["4", "True"], ["4", "True"]]
    assert lines[0][2] == "True", "if rows of a host were always neighbours, this test would show nothing"
