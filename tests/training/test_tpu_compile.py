"""The real step of the real model compiles for real TPU slices, with none present: libtpu is the compiler."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import dataclasses, math, re, sys
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
# A kernel's gradient, layers stacked, summed over the replicas: an all-reduce or reduce-scatter of that much data.
inner = fsdp * tensor
sums = [line for line in compiled.as_text().splitlines() if "all-reduce" in line or "reduce-scatter" in line]
sizes = [math.prod(map(int, dims.split(","))) for line in sums for dims in re.findall(r"f32\\[([0-9,]+)\\]", line)]
wanted = 768 * 3072 // inner
memory = compiled.memory_analysis()
needed = memory.temp_size_in_bytes + memory.argument_size_in_bytes
print("devices", len(devices), any(size >= wanted for size in sizes), needed)
"""

V5E_HBM_BYTES = 16 * 2**30


@pytest.mark.slow
@pytest.mark.tpu_compiler
@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="libtpu is not installed (x86-64 Linux only)")
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
    _, devices, summed, size = result.stdout.split()[-4:]
    rows, columns = map(int, topology.partition(":")[2].split("x"))
    assert int(devices) == rows * columns
    assert summed == "True", "no gradient of a kernel is summed over the replicas"
    assert 0 < int(size) < V5E_HBM_BYTES
