"""The real training step, compiled ahead of time for accelerators that are not there.

They are named v5e:16x16 or h100:8; their devices are shapes to compile for.
"""

import dataclasses
import importlib.resources
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh

from dnabert_jax.config import PretrainConfig
from dnabert_jax.errors import InputError, JobError, first_line, is_out_of_memory
from dnabert_jax.extras import require_extra
from dnabert_jax.parallel.chips import CHIPS, POD_AXIS, Chip, chip_named
from dnabert_jax.parallel.mesh import check_global_batch, row_sharding
from dnabert_jax.training.masking import MaskedTokens
from dnabert_jax.training.state import abstract_state
from dnabert_jax.training.step import jit_train_step

_CHIPS_A_HOST = 4
_GPUS_A_HOST = 8
_LINKS_IN_A_PLANE = 4


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
    require_extra("tpu", "Compiling for TPUs, possible on x86-64 Linux without a TPU,", "libtpu")
    name = f"{chip.name}:{'x'.join(map(str, sides))}"
    flat = chip.links == _LINKS_IN_A_PLANE
    if flat and max(sides) > POD_AXIS:
        raise InputError(f"{name} is more than a pod: {chip.name} has up to {POD_AXIS}x{POD_AXIS}; give --slices.")
    examples = "2x4, 4x8" if flat else "2x2x1, 4x4x8"
    unknown = f"There is no slice {name}: choose sides that Cloud TPU offers, as {examples}."
    if flat and len(sides) != 2:
        raise InputError(unknown)
    settings: dict[str, object] = {"num_slices": slices} if slices > 1 else {}
    if chip.name == "v4":  # which shows each of its two cores as a device otherwise; v5p is one device by itself
        settings["chip_config_name"] = "megacore"
    if math.prod(sides) < _CHIPS_A_HOST:
        settings["chips_per_host_bounds"] = sides + [1] * (3 - len(sides))
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=name, **settings).devices)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if "INVALID_ARGUMENT" in str(error):
            raise InputError(unknown) from error
        raise InputError(f"The TPU compiler has no devices of {name}: {str(error).rstrip('.')}.") from error


def _gpus(chip: Chip, number: int, specification: str) -> list[jax.Device]:
    require_extra("cuda", "Compiling for GPUs, possible without a GPU,", "jax_cuda13_plugin")
    if number > _GPUS_A_HOST and number % _GPUS_A_HOST:
        raise InputError(f"{number} GPUs do not fill machines of {_GPUS_A_HOST}: choose a multiple of {_GPUS_A_HOST}.")
    hosts = -(-number // _GPUS_A_HOST)
    layout = {"target_config": specification, "topology": f"1x{hosts}x{number // hosts}"}
    return list(topologies.get_topology_desc(platform="cuda", topology_name=chip.name, **layout).devices)


class OutOfMemoryError(Exception):
    """The compiler refuses: the step needs more memory than a chip has. Says in its words how much."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Of a chip, bytes, as the compiler lays it out.

    Attributes:
        arguments: the state and the rows.
        temporaries: activations and gradients, the most that live at once.
        output: the new state and the metrics.
        aliased: output that lies where arguments lay.
        peak: the most that is in use at once, as the compiler gives it.
        needed: arguments, temporaries, code, and the output that is not aliased.
    """

    arguments: int
    temporaries: int
    output: int
    aliased: int
    code: int
    peak: int
    needed: int


def compile_step(config: PretrainConfig, mesh: Mesh, row_length: int) -> jax.stages.Compiled:
    """Compiles the step of a run; takes minutes for a large slice.

    Args:
        mesh: of devices that may be those of a topology.

    Raises:
        InputError: the configuration cannot run on the mesh.
        OutOfMemoryError: it needs more memory than there is.
        JobError: the compiler fails otherwise.
    """
    if row_length > config.model.max_positions:
        raise InputError(
            f"The rows are {row_length} tokens long, and the model has {config.model.max_positions} positions: "
            "raise --model.max-positions."
        )
    check_global_batch(mesh, config.global_batch, config.execution.gradient_accumulation)
    rows = jax.ShapeDtypeStruct((config.global_batch, row_length), jnp.uint16, sharding=row_sharding(mesh))
    objective = MaskedTokens(config.masking, config.model.tokenizer)
    step: Any = jit_train_step(config.model, objective, config.optimizer, config.execution, config.seed, mesh)
    return compile_lowered(step.lower(abstract_state(config.model, config.optimizer, mesh), rows))


def compile_lowered(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compiles a program; raises OutOfMemoryError if memory is too small for it, and JobError if it fails otherwise."""
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if is_out_of_memory(error):
            # Of a page about the largest allocations, the sentence that says how much is needed and how much there is.
            found = re.search(r"Used [\d.]+\w* of [\d.]+\w* \w+", str(error))
            reason = first_line(error).removeprefix("RESOURCE_EXHAUSTED: ")
            raise OutOfMemoryError(found[0] if found else reason) from error
        raise JobError(f"The compiler cannot compile this step: {first_line(error)}.") from error


def read_memory(compiled: jax.stages.Compiled) -> Memory:
    """Returns what a compiled step needs on each chip."""
    sizes: Any = compiled.memory_analysis()
    arguments, temporaries, output, aliased, code = (
        getattr(sizes, f"{name}_size_in_bytes") for name in ("argument", "temp", "output", "alias", "generated_code")
    )
    needed = arguments + temporaries + code + output - aliased
    return Memory(arguments, temporaries, output, aliased, code, sizes.peak_memory_in_bytes, needed)
