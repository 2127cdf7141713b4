"""What accelerators can do: the figures that utilisation, and a plan for a slice that is not there, are computed from.

Published peaks, no measurements; the clock of v6e alone is inferred. TPUs: Google Cloud's pages of each version,
docs.cloud.google.com/tpu/docs/v4, /v5e, /v5p and /v6e; what a page leaves out is said at the chip. GPUs: NVIDIA's data
sheets of A100, H100 and H200 (bfloat16 without sparsity, SXM boards), memory and clock as in XLA's descriptions of them
(github.com/openxla/xla, xla/backends/gpu/target_config/specs).
"""

import dataclasses
from typing import Any

_GB, _GIB, _GBIT = 1e9, 2**30, 1e9 / 8

POD_AXIS = 16
"""Chips along an axis of a v5e or v6e pod, the largest slice of them (Cloud TPU's pages of both)."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """An accelerator chip; JAX shows one device for each.

    Attributes:
        name: as in the name of a topology, v5e:16x16 or h100:8.
        kinds: what JAX may call it, `jax.Device.device_kind`.
        peak_flops: of matrix products in bfloat16, FLOP/s.
        hbm_bandwidth: bytes/s.
        clock: Hz; of a TPU, what the compiler's cycles are counted in.
        links: to other chips of the slice; a GPU's NVLinks to the switch count as one.
        link_bandwidth: of a link in one direction, bytes/s.
        dcn_bandwidth: a chip's share of the network between slices in one direction, bytes/s, if it is published.
    """

    name: str
    kinds: tuple[str, ...]
    peak_flops: float
    hbm_bytes: int
    hbm_bandwidth: float
    clock: float
    links: int
    link_bandwidth: float
    dcn_bandwidth: float | None = None

    @property
    def is_tpu(self) -> bool:
        return self.kinds[0].startswith("TPU")


CHIPS = (
    # Links: Jouppi et al. 2023, arXiv 2304.01433, table 4; clock: 2 cores x 4 units of 128 x 128 give 275 TFLOP/s.
    Chip("v4", ("TPU v4",), 275e12, 32 * _GIB, 1200 * _GB, 1.05e9, 6, 50 * _GB),
    # 400 GB/s in both directions over 4 ports; 6.4 Tbit/s a pod of 256; 4 units of 128 x 128 give 197 TFLOP/s.
    Chip("v5e", ("TPU v5 lite", "TPU v5e"), 197e12, 16 * _GIB, 819 * _GB, 1.5e9, 4, 50 * _GB, 25 * _GBIT),
    # 1200 GB/s in both directions, in a 3D torus; 2 cores x 4 units of 128 x 128 give 459 TFLOP/s.
    Chip("v5p", ("TPU v5", "TPU v5p"), 459e12, 95 * _GIB, 2765 * _GB, 1.75e9, 6, 100 * _GB, 50 * _GBIT),
    # 800 GB/s in both directions over 4 ports; 25.6 Tbit/s a pod of 256; clock: that at which a large sum
    # takes, by the compiler's cycles, the same multiple of the time at the bandwidth as on the other three.
    Chip("v6e", ("TPU v6 lite", "TPU v6e"), 918e12, 32 * _GIB, 1640 * _GB, 1.75e9, 4, 100 * _GB, 100 * _GBIT),
    Chip("a100-40gb", ("NVIDIA A100-SXM4-40GB",), 312e12, 42_331_013_120, 1555 * _GB, 1.41e9, 1, 300 * _GB),
    Chip("a100", ("NVIDIA A100-SXM4-80GB",), 312e12, 85_100_068_864, 2039 * _GB, 1.41e9, 1, 300 * _GB),
    Chip("h100", ("NVIDIA H100 80GB HBM3",), 989e12, 84_942_979_072, 3352 * _GB, 1.98e9, 1, 450 * _GB),
    Chip("h200", ("NVIDIA H200",), 989e12, 151_397_597_184, 4800 * _GB, 1.98e9, 1, 450 * _GB),
)


def chip_of(device: Any) -> Chip | None:
    """Returns the chip of a device, or of one of a topology, if it is in the table: JAX's CPU is not."""
    return next((chip for chip in CHIPS if device.device_kind in chip.kinds), None)


def chip_named(name: str) -> Chip | None:
    """Returns the chip with this name, v5e say, if it is in the table."""
    return next((chip for chip in CHIPS if chip.name == name), None)
