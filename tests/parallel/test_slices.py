"""Several TPU slices: only the axis data goes from one to the other, and each slice has its neighbours in the mesh."""

import json
from collections.abc import Callable

import pytest

PROGRAM = """
import json
from jax.experimental import topologies
from dnabert_jax.config import MeshConfig
from dnabert_jax.errors import InputError
from dnabert_jax.parallel.mesh import make_mesh

devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:4x4", num_slices=2).devices
found = []
for config in (MeshConfig(fsdp=1), MeshConfig(), MeshConfig(fsdp=2, tensor=2), MeshConfig(data=2, tensor=4)):
    mesh = make_mesh(config, devices[::-1])
    of = [[[device.slice_index for device in row] for row in plane] for plane in mesh.devices]
    found.append((mesh.devices.shape, of, len({(d.slice_index, *d.coords) for d in mesh.devices.flat})))
try:
    make_mesh(MeshConfig(fsdp=32), devices)
except InputError as error:
    found.append(str(error))
print(json.dumps(found))
"""


@pytest.mark.tpu_compiler
def test_only_data_spans_slices(run_with_tpu_compiler: Callable[[str], list[str]]) -> None:
    *meshes, refusal = json.loads(run_with_tpu_compiler(PROGRAM)[-1])
    assert [shape for shape, _, _ in meshes] == [[32, 1, 1], [2, 16, 1], [8, 2, 2], [2, 4, 4]]
    for (data, fsdp, tensor), slices, distinct in meshes:
        expected = [[[place // (data // 2)] * tensor] * fsdp for place in range(data)]
        assert slices == expected
        assert distinct == 32
    assert "over 2 slices, which only it may span" in refusal
