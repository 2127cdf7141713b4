"""The table of accelerators agrees with itself and with the table that JAX has for its kernels."""

from types import SimpleNamespace

import jax
import pytest
from jax.experimental.pallas import tpu as pltpu

from dnabert_jax.parallel.chips import CHIPS, chip_named, chip_of


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
    assert chip is not None
    cores = 1 if name in ("v5e", "v6e") else 2
    core = pltpu.get_tpu_info_for_chip(pltpu.ChipVersion(name), cores)
    assert chip.peak_flops == pytest.approx(core.bf16_ops_per_second * cores, rel=0.01)
    assert chip.hbm_bytes == pytest.approx(core.hbm_capacity_bytes * cores, rel=0.02)
    assert chip.hbm_bandwidth == pytest.approx(core.mem_bw_bytes_per_second * cores, rel=0.13)


@pytest.mark.parametrize(("name", "all_links"), [("v5e", 51.2e12), ("v6e", 102.4e12)])
def test_the_links_of_a_pod_sum_to_its_published_bandwidth(name: str, all_links: float) -> None:
    """Google's pages call it the all-reduce bandwidth a pod, of 256 chips."""
    chip = chip_named(name)
    assert chip is not None
    assert 256 * chip.links * chip.link_bandwidth == pytest.approx(all_links)
