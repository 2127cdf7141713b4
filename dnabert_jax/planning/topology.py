"""Accelerators that are not there, by name: v5e:16x16, h100:8. Their devices are shapes to compile for."""

import importlib.resources
import importlib.util
import math
import re

import jax
from jax.experimental import topologies

from dnabert_jax.errors import InputError
from dnabert_jax.parallel.chips import CHIPS, POD_AXIS, Chip, chip_named

_CHIPS_A_HOST = 4
_GPUS_A_HOST = 8
_LINKS_IN_A_PLANE = 4
_TPU_CORES_AS_ONE = {"v4": "megacore"}
"""Without it, a v4 chip shows each of its two cores as a device. v5p is one device a chip by itself."""


def make_devices(name: str, slices: int = 1) -> tuple[Chip, list[jax.Device]]:
    """Returns the devices of a topology, which can be compiled for and not computed on.

    Args:
        name: chip and shape: v5e:16x16, v4:4x4x4, or GPUs by their number, h100:8.
        slices: TPU slices of that shape, joined by the data centre's network.
    """
    version, _, shape = name.partition(":")
    chip = chip_named(version)
    specification = importlib.resources.files(__package__).joinpath(f"{version}.txtpb")
    is_tpu = chip is not None and chip.is_tpu
    if chip is None or not (is_tpu or specification.is_file()):
        tpus = ", ".join(chip.name for chip in CHIPS if chip.is_tpu)
        raise InputError(
            f"There is no topology {name!r}: name a chip ({tpus}, h100) and a shape, as v5e:16x16 or h100:8."
        )
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape):
        raise InputError(f"{name!r} names no shape: write it as v5e:16x16, v4:4x4x4 or h100:8.")
    if slices < 1:
        raise InputError(f"{slices} slices are impossible: give at least 1.")
    sides = [int(side) for side in shape.split("x")]
    if is_tpu:
        return chip, _tpus(chip, sides, slices)
    if slices > 1 or len(sides) > 1:
        raise InputError(f"GPUs have no slices and no shape: give {version} and their number, as {version}:8.")
    return chip, _gpus(chip, sides[0], specification.read_text(encoding="utf-8"))


def _tpus(chip: Chip, sides: list[int], slices: int) -> list[jax.Device]:
    if not importlib.util.find_spec("libtpu"):
        raise InputError("There is no TPU compiler here: pip install 'jax[tpu]' (the extra tpu; x86-64 Linux only).")
    name = f"{chip.name}:{'x'.join(map(str, sides))}"
    flat = chip.links == _LINKS_IN_A_PLANE
    if flat and max(sides) > POD_AXIS:
        raise InputError(f"{name} is more than a pod: {chip.name} has up to {POD_AXIS}x{POD_AXIS}; give --slices.")
    examples = "2x4, 4x8" if flat else "2x2x1, 4x4x8"
    unknown = f"There is no slice {name}: choose sides that Cloud TPU offers, as {examples}."
    if flat and len(sides) != 2:
        raise InputError(unknown)
    settings: dict[str, object] = {"num_slices": slices} if slices > 1 else {}
    if chip.name in _TPU_CORES_AS_ONE:
        settings["chip_config_name"] = _TPU_CORES_AS_ONE[chip.name]
    if math.prod(sides) < _CHIPS_A_HOST:
        settings["chips_per_host_bounds"] = sides + [1] * (3 - len(sides))
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=name, **settings).devices)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if "INVALID_ARGUMENT" in str(error):
            raise InputError(unknown) from error
        raise InputError(f"The TPU compiler has no devices of {name}: {str(error).rstrip('.')}.") from error


def _gpus(chip: Chip, number: int, specification: str) -> list[jax.Device]:
    if not importlib.util.find_spec("jax_cuda13_plugin"):
        raise InputError("There is no GPU compiler here: pip install 'jax[cuda13]' (the extra cuda; no GPU is needed).")
    if number > _GPUS_A_HOST and number % _GPUS_A_HOST:
        raise InputError(f"{number} GPUs do not fill machines of {_GPUS_A_HOST}: choose a multiple of {_GPUS_A_HOST}.")
    hosts = -(-number // _GPUS_A_HOST)
    shape = f"1x{hosts}x{number // hosts}"
    topology = topologies.get_topology_desc(
        platform="cuda", topology_name=chip.name, target_config=specification, topology=shape
    )
    return list(topology.devices)
