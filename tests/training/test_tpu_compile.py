"""The real step of the real model compiles for real TPU slices, with none present: libtpu is the compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import dataclasses, sys
import jax
from jax.experimental import topologies
from dnabert_jax.config import PRESETS, MeshConfig
from dnabert_jax.parallel.mesh import make_mesh
from dnabert_jax.parallel.rules import row_sharding
from dnabert_jax.training.state import abstract_network, abstract_state
from dnabert_jax.training.step import jit_train_step

topology, fsdp, tensor, batch = sys.argv[1], *map(int, sys.argv[2:])
devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
config = dataclasses.replace(PRESETS["dnabert6"], global_batch=batch, mesh=MeshConfig(fsdp=fsdp, tensor=tensor))
mesh = make_mesh(config.mesh, devices)
network = abstract_network(config.model)
rows = jax.ShapeDtypeStruct((batch, 512), "uint16", sharding=row_sharding(mesh))
compiled = jit_train_step(config, network, mesh).lower(abstract_state(config, network, mesh), rows).compile()
text = compiled.as_text()
memory = compiled.memory_analysis()
print("devices", len(devices), "all-reduce" in text, memory.temp_size_in_bytes + memory.argument_size_in_bytes)
"""

V5E_HBM_BYTES = 16 * 2**30


@pytest.mark.slow
@pytest.mark.tpu_compiler
@pytest.mark.parametrize(("topology", "fsdp", "tensor", "batch"), [("v5e:4x4", 1, 1, 128), ("v5e:2x4", 2, 2, 32)])
def test_the_dnabert6_step_compiles_for_a_slice_and_fits(topology: str, fsdp: int, tensor: int, batch: int) -> None:
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "",
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, topology, str(fsdp), str(tensor), str(batch)],
        capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    _, devices, all_reduce, size = result.stdout.split()[-4:]
    rows, columns = map(int, topology.partition(":")[2].split("x"))
    assert int(devices) == rows * columns
    assert all_reduce == "True", "gradients are not summed over the replicas"
    assert 0 < int(size) < V5E_HBM_BYTES
