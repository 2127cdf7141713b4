"""What a step does, told apart by who says how long it takes.

The compiler estimates the cycles of fusions and of most else that runs on a core. It says nothing of collectives, whose
time is computed from their bytes, of kernels (`pl.pallas_call`), from the FLOPs and bytes that their author states, and
of some other instructions, which are counted and not timed: copies between memories that run beside the core, above
all, and scalars.
"""

import dataclasses
import re
from typing import Any

from dnabert_jax.planning.hlo import Instruction, Module, first_group, num_bytes

_COLLECTIVES = (
    "all-gather", "all-reduce", "all-to-all", "collective-broadcast", "collective-permute", "ragged-all-to-all",
    "reduce-scatter",
)  # fmt: skip
_PALLAS = "tpu_custom_call"
_KERNELS = (_PALLAS, "__cudnn$")
_FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "partition-id", "after-all", "recv")
"""Opcodes that compute and move nothing, or whose work counts where it begins, as that of every -done does."""
_FREE_CALLS = ("AllocateBuffer", "ConcatBitcast")


@dataclasses.dataclass(frozen=True)
class Estimated:
    """Instructions alike, with an estimate: of one opcode, shape and op_name.

    Attributes:
        name: of the first of them, to find it in the HLO.
        shape: of the result, without layout.
        op_name: where in the program they come from, as JAX names it.
        times: how often they run in a step, all together.
        cycles: of all those runs.
    """

    name: str
    shape: str
    op_name: str
    times: int
    cycles: int


@dataclasses.dataclass(frozen=True)
class Collective:
    """An exchange between chips.

    Attributes:
        kind: all-gather, all-reduce, ... inside a slice; ALL_GATHER, ALL_REDUCE, ... between slices.
        size: bytes of the whole array in one run: what is gathered, or what each chip has before it is reduced or sent.
        group: the devices of one of its groups, by place in the mesh; between slices, none.
        overlaps: whether the compiler lets it run beside computation; if not, the core waits for it.
    """

    kind: str
    times: int
    size: int
    group: tuple[int, ...]
    overlaps: bool


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A custom call.

    Attributes:
        name: of a Pallas kernel; of others, the target of the call.
        flops: executed in one run, as its author states them; 0 if they are not stated.
        size: bytes to and from memory in one run, as stated, or else those of its operands and results.
    """

    name: str
    times: int
    flops: int
    size: int


@dataclasses.dataclass(frozen=True)
class Unestimated:
    """Instructions of which nothing says how long they take.

    Attributes:
        what: opcode, target of a custom call, or name of a fusion.
        count: in the program.
        size: bytes of their results in a step.
    """

    what: str
    count: int
    size: int


@dataclasses.dataclass(frozen=True)
class Work:
    """All that a step does on a chip, each thing once."""

    estimated: tuple[Estimated, ...]
    collectives: tuple[Collective, ...]
    kernels: tuple[Kernel, ...]
    unestimated: tuple[Unestimated, ...]

    @property
    def cycles(self) -> int:
        """The compiler's estimate of all that has one."""
        return sum(item.cycles for item in self.estimated)


def read_work(module: Module, num_devices: int) -> Work:
    """Sorts what a program executes.

    Args:
        num_devices: that run it together; of one slice, if there are several.

    Raises:
        JobError: the HLO is not understood.
    """
    collectives, kernels = [], []
    alike: dict[tuple[str, str, str], list[Any]] = {}
    rest: dict[str, list[int]] = {}
    chains: set[str] = set()
    beside = {
        start.called("calls")
        for computation in module.computations.values()
        for start in computation.values()
        if start.opcode == "async-start"
    }
    for instruction, times in module.executed():
        exchanged = [
            _collective(module, part, times, num_devices, part.computation in beside)
            for part in module.inside(instruction)
            if _starts_exchange(part, chains)
        ]
        collectives += exchanged
        target = instruction.quoted("custom_call_target")
        stem = instruction.name.rstrip(".0123456789")
        if target.startswith(_KERNELS):
            cost = instruction.cost_estimate
            size = cost.get("bytes_accessed") or module.operand_bytes(instruction) + num_bytes(instruction.shape)
            # attention_forward.2 is a call of the kernel of that name; cuDNN's are named by their target.
            kernels.append(Kernel(stem if target == _PALLAS else target, times, cost.get("flops", 0), size))
        elif cycles := instruction.estimated_cycles:
            shape, op_name = re.sub(r"\{[^}]*\}", "", instruction.shape), instruction.quoted("op_name")
            entry = alike.setdefault((instruction.opcode, shape, op_name), [instruction.name, shape, op_name, 0, 0])
            entry[3:] = entry[3] + times, entry[4] + times * cycles
        elif not exchanged and not _is_free(module, instruction, target):
            what = target or (stem if instruction.opcode == "fusion" else instruction.opcode)
            size = num_bytes(instruction.shape)
            if instruction.opcode.endswith("-start"):  # what starts a copy returns its operand too
                size -= module.operand_bytes(instruction)
            entry = rest.setdefault(what, [0, 0])
            entry[:] = entry[0] + 1, entry[1] + times * size
    return Work(
        tuple(Estimated(*figures) for figures in alike.values()),
        tuple(collectives),
        tuple(kernels),
        tuple(Unestimated(what, *figures) for what, figures in sorted(rest.items())),
    )


def _starts_exchange(instruction: Instruction, chains: set[str]) -> bool:
    """Returns whether a collective begins here: a -done does not count, nor the later parts of one that fusions share.

    A TPU's collective may be spread over several fusions, between an AsyncCollectiveStart and -Done, to overlap with
    their work; each holds a copy of it with the same chain_id.
    """
    if instruction.opcode == "send":
        return bool(instruction.quoted("_xla_megascale_transfer_type"))
    if instruction.opcode.removesuffix("-start") not in _COLLECTIVES:
        return False
    chain = instruction.quoted("chain_id")
    if chain and chain in chains:
        return False
    chains |= {chain} if chain else set()
    return True


def _collective(module: Module, instruction: Instruction, times: int, num_devices: int, beside: bool) -> Collective:
    size = module.operand_bytes(instruction)
    if instruction.opcode == "send":
        return Collective(instruction.quoted("_xla_megascale_transfer_type"), times, size, (), overlaps=True)
    kind = instruction.opcode.removesuffix("-start")
    group = first_group(instruction.attributes, num_devices)
    if kind == "all-gather":
        size *= len(group)
    elif kind == "all-reduce" and _is_scattered(module, instruction):
        kind = "reduce-scatter"
    overlaps = beside or instruction.opcode.endswith("-start") or bool(instruction.quoted("chain_id"))
    return Collective(kind, times, size, group, overlaps)


def _is_scattered(module: Module, instruction: Instruction) -> bool:
    """Returns whether it is a TPU's reduce-scatter: a fusion of an all-reduce with the slices that each chip keeps."""
    if instruction.computation == module.entry or "all-reduce-scatter" not in instruction.computation:
        return False
    parts = module.computations[instruction.computation].values()
    named = {instruction.name, *(part.name for part in parts if part.opcode == "get-tuple-element")}
    return any(part.opcode == "dynamic-slice" and named & set(part.operand_names[:1]) for part in parts)


def _is_free(module: Module, instruction: Instruction, target: str) -> bool:
    if instruction.opcode in _FREE or target in _FREE_CALLS or instruction.opcode.endswith("-done"):
        return True
    # The fusion that ends a collective spread over several.
    return any("AsyncCollectiveDone" in part.attributes for part in module.inside(instruction))
