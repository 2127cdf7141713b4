"""The real training step, compiled ahead of time for devices that are not there."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from dnabert_jax.config import PretrainConfig
from dnabert_jax.errors import InputError, JobError, first_line, is_out_of_memory
from dnabert_jax.parallel.mesh import check_global_batch, row_sharding
from dnabert_jax.training.masking import MaskedTokens
from dnabert_jax.training.state import abstract_state
from dnabert_jax.training.step import jit_train_step


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
