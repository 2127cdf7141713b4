"""Meshes, the rule table, and rows: row r of a global batch is the same row on any mesh, however its devices lie in it.

Of TPU slices that are not there, too: their hosts' rows are no neighbours, and only the axis data goes between slices.
The table of chips agrees with itself and with the table that JAX has for its kernels.
"""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import Mesh, PartitionSpec

from dnabert_jax.config import MeshConfig, ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import abstract_parameters, parameter_shapes
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.parallel.chips import CHIPS, chip_named, chip_of
from dnabert_jax.parallel.mesh import RowPlacement, make_mesh, parameter_shardings
from dnabert_jax.training.state import masked_lm_shardings


def test_axes_have_the_asked_sizes() -> None:
    for config, shape in (
        (MeshConfig(), (1, 8, 1)),
        (MeshConfig(fsdp=2), (4, 2, 1)),
        (MeshConfig(data=2), (2, 4, 1)),
        (MeshConfig(tensor=2), (1, 4, 2)),
        (MeshConfig(data=2, fsdp=2, tensor=2), (2, 2, 2)),
        (MeshConfig(data=1, tensor=8), (1, 1, 8)),
    ):
        mesh = make_mesh(config, jax.devices())
        assert mesh.devices.shape == shape
        assert mesh.axis_names == ("data", "fsdp", "tensor")


def test_every_parameter_has_a_sharding_by_the_rules(small_model: ModelConfig) -> None:
    shardings = masked_lm_shardings(small_model, make_mesh(MeshConfig(data=2, fsdp=2, tensor=2), jax.devices()))
    assert jax.tree.structure(shardings) == jax.tree.structure(parameter_shapes(LanguageModel, small_model))
    attention = shardings["backbone"]["layers"]["attention"]
    assert attention["query"]["kernel"].spec == PartitionSpec(None, "fsdp", "tensor")
    assert attention["output"]["kernel"].spec == PartitionSpec(None, "tensor", "fsdp")
    assert shardings["backbone"]["embeddings"]["token"]["table"].spec == PartitionSpec("tensor", "fsdp")


@pytest.mark.parametrize("long", ["none", "lstm", "gru", "concatenation", "attention"])
def test_the_parameters_of_every_head_have_a_sharding(small_model: ModelConfig, long: str) -> None:
    windows = 0 if long == "none" else 9
    task = TaskConfig("regression", ("signal",), long=long, split=1 if long == "none" else 2, window=windows)
    parameters = abstract_parameters(sequence_classifier, small_model, task)
    shardings = parameter_shardings(parameters, make_mesh(MeshConfig(data=2, fsdp=2, tensor=2), jax.devices()))
    assert shardings["pooler"]["dense"]["kernel"].spec == PartitionSpec("fsdp", None)
    head = shardings["classifier2" if long == "concatenation" else "classifier"]
    assert (head["kernel"].spec, head["bias"].spec) == (PartitionSpec("fsdp", None), PartitionSpec(None))


def test_a_parameter_whose_axis_has_no_rule_stops_construction() -> None:
    mesh = make_mesh(MeshConfig(), jax.devices())
    for axes in (("embed", "nowhere"), ("embed",)):
        state = nnx.State({"kernel": nnx.Param(jax.numpy.zeros((4, 4)), axes=axes)})
        with pytest.raises(ValueError, match="Parameter kernel"):
            parameter_shardings(state, mesh)


def test_a_model_that_does_not_divide_is_refused(small_model: ModelConfig) -> None:
    odd = dataclasses.replace(small_model, num_heads=2)
    with pytest.raises(InputError, match=r"tensor of size 8 .* 2 of 'heads'"):
        masked_lm_shardings(odd, make_mesh(MeshConfig(tensor=8), jax.devices()))


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
import json
import numpy as np
from jax.experimental import topologies
from dnabert_jax.config import MeshConfig
from dnabert_jax.errors import InputError
from dnabert_jax.parallel.mesh import RowPlacement, make_mesh

devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:4x4").devices
rows = []
for tensor in (1, 2):
    mesh = make_mesh(MeshConfig(tensor=tensor), devices)
    processes = sorted({device.process_index for device in devices})
    rows.append([RowPlacement(mesh, 64, process).rows.tolist() for process in processes])
devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:4x4", num_slices=2).devices
meshes = []
for config in (MeshConfig(fsdp=1), MeshConfig(), MeshConfig(fsdp=2, tensor=2), MeshConfig(data=2, tensor=4)):
    mesh = make_mesh(config, devices[::-1]).devices
    slices = [[[device.slice_index for device in row] for row in plane] for plane in mesh]
    meshes.append((mesh.shape, slices, len({(d.slice_index, *d.coords) for d in mesh.flat})))
try:
    make_mesh(MeshConfig(fsdp=32), devices)
except InputError as error:
    print(json.dumps([rows, meshes, str(error)]))
"""


@pytest.mark.tpu_compiler
@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="libtpu is not installed (x86-64 Linux only)")
def test_hosts_of_a_real_slice_read_every_row_and_only_data_spans_slices() -> None:
    """In a process of its own: libtpu reads its environment once."""
    settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    command, root = [sys.executable, "-c", PROGRAM], Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, env=os.environ | settings, cwd=root, check=True)
    rows, meshes, refusal = json.loads(done.stdout.splitlines()[-1])
    for hosts in rows:
        assert len(hosts) == 4
        assert sorted({row for host in hosts for row in host}) == list(range(64))
    assert any(np.diff(host).max() > 1 for host in rows[0]), "if they always were neighbours, this would show nothing"
    assert [shape for shape, _, _ in meshes] == [[32, 1, 1], [2, 16, 1], [8, 2, 2], [2, 4, 4]]
    for (data, fsdp, tensor), slices, distinct in meshes:
        assert slices == [[[place // (data // 2)] * tensor] * fsdp for place in range(data)]
        assert distinct == 32
    assert "2 slices" in refusal


def test_a_device_is_found_by_what_jax_calls_it() -> None:
    assert chip_of(SimpleNamespace(device_kind="TPU v5 lite")) is chip_named("v5e")
    assert chip_of(SimpleNamespace(device_kind="NVIDIA H100 80GB HBM3")) is chip_named("h100")
    assert chip_of(jax.devices("cpu")[0]) is None
    assert chip_named("v99") is None


def test_no_name_means_two_chips() -> None:
    for names in ([chip.name for chip in CHIPS], [kind for chip in CHIPS for kind in chip.kinds]):
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["v4", "v5e", "v5p", "v6e"])
def test_tpus_are_what_jax_says_of_them(name: str) -> None:
    """JAX's own figures are rounded and, of v5p's bandwidth, a tenth lower than Google's page."""
    chip = chip_named(name)
    cores = 1 if name in ("v5e", "v6e") else 2
    core = pltpu.get_tpu_info_for_chip(pltpu.ChipVersion(name), cores)
    assert chip.peak_flops == pytest.approx(core.bf16_ops_per_second * cores, rel=0.01)
    assert chip.hbm_bytes == pytest.approx(core.hbm_capacity_bytes * cores, rel=0.02)
    assert chip.hbm_bandwidth == pytest.approx(core.mem_bw_bytes_per_second * cores, rel=0.13)


def test_the_links_of_a_pod_sum_to_its_published_bandwidth() -> None:
    """Google's pages call it the all-reduce bandwidth a pod, of 256 chips."""
    for name, all_links in (("v5e", 51.2e12), ("v6e", 102.4e12)):
        chip = chip_named(name)
        assert 256 * chip.links * chip.link_bandwidth == pytest.approx(all_links)
