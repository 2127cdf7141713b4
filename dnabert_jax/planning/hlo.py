"""The text of an optimised HLO module, read into what a step does, told apart by who says how long it takes.

Only what a plan needs: what runs how often, how large it is, what the compiler says of it. The grammar is XLA's
(xla/hlo/parser/hlo_parser.cc in github.com/openxla/xla); JAX gives the text alone.

The compiler estimates the cycles of fusions and of most else that runs on a core. It says nothing of collectives, whose
time is computed from their bytes, of kernels (`pl.pallas_call`), from the FLOPs and bytes that their author states, and
of some other instructions, which are counted and not timed: copies between memories that run beside the core, above
all, and scalars.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from dnabert_jax.errors import JobError

_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([0-9,]*)\]")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_NAME = re.compile(r"%([\w.\-]+)")
_IOTA = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
_BITS = {"pred": 8, "token": 0, "opaque": 0}

_COLLECTIVES = (
    "all-gather", "all-reduce", "all-to-all", "collective-broadcast", "collective-permute", "ragged-all-to-all",
    "reduce-scatter",
)  # fmt: skip
_PALLAS = "tpu_custom_call"
_KERNELS = (_PALLAS, "__cudnn$")
_FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "partition-id", "after-all", "recv")
"""Opcodes that compute and move nothing, or whose work counts where it begins, as that of every -done does."""
_CALLED = {"while": ("condition", "body"), "call": ("to_apply",), "async-start": ("calls",)}
"""Opcodes that run other computations, and the attributes that name these."""
_FREE_CALLS = ("AllocateBuffer", "ConcatBitcast")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        computation: the name of that.
        name: without the %.
        shape: of the result, with layout.
        operands: names, or the text of a constant.
        attributes: all that follows, metadata and backend_config included.
        is_root: its result is that of the computation.
    """

    computation: str
    name: str
    shape: str
    opcode: str
    operands: str
    attributes: str
    is_root: bool

    @property
    def operand_names(self) -> list[str]:
        return _NAME.findall(self.operands)

    @property
    def cost_estimate(self) -> dict[str, str]:
        """What a kernel's author says of it (`pl.CostEstimate`): flops, bytes_accessed, transcendentals."""
        return json.loads(self.captured(r'"cost_estimate":(\{[^}]*\})') or "{}")

    def captured(self, pattern: str) -> str:
        """Returns the group of a pattern in the attributes, empty if it is not there."""
        match = re.search(pattern, self.attributes)
        return match[1] if match else ""

    def quoted(self, attribute: str) -> str:
        """Returns the value of attribute="value", empty if there is none."""
        return self.captured(rf'\b{attribute}="([^"]*)"')

    def called(self, attribute: str) -> str:
        """Returns the computation in attribute=%name; raises JobError if there is none."""
        name = self.captured(rf"\b{attribute}=%?([\w.\-]+)")
        if not name:
            raise JobError(f"The compiler's HLO is not understood: {self.opcode} {self.name} has no {attribute}.")
        return name


Computation = dict[str, Instruction]
"""Instructions by name, in the order of the schedule."""


@dataclasses.dataclass(frozen=True)
class Module:
    """A whole program."""

    entry: str
    computations: dict[str, Computation]

    def executed(self, name: str = "", times: int = 1) -> Iterator[tuple[Instruction, int]]:
        """Yields what a computation runs, by default the entry, and how often if that runs so many times.

        Loop bodies run times their trips, a fusion once, at its call.

        Raises:
            JobError: a loop runs nobody knows how often.
        """
        for instruction in self.computations[name or self.entry].values():
            called = _CALLED.get(instruction.opcode, ())
            runs = times * self._trip_count(instruction) if instruction.opcode == "while" else times
            for attribute in called:
                yield from self.executed(instruction.called(attribute), runs)
            if not called:
                yield instruction, times

    def inside(self, instruction: Instruction) -> Iterator[Instruction]:
        """Yields an instruction and, if it is a fusion, all that is fused in it."""
        yield instruction
        if instruction.opcode == "fusion":
            for part in self.computations[instruction.called("calls")].values():
                yield from self.inside(part)

    def operand_bytes(self, instruction: Instruction) -> int:
        """Returns the bytes of all operands, of which a token, the second one of a send, has none."""
        computation = self.computations[instruction.computation]
        return sum(num_bytes(computation[operand].shape) for operand in instruction.operand_names)

    def _trip_count(self, loop: Instruction) -> int:
        """Returns how often a loop runs: as the compiler says, or read off from a counter that goes up from 0 by 1.

        Raises:
            JobError: neither.
        """
        if known := loop.captured(r'"known_trip_count":\{"n":"(\d+)"'):
            return int(known)
        condition = self.computations[loop.called("condition")]
        body = self.computations[loop.called("body")]
        compare = next(instruction for instruction in condition.values() if instruction.is_root)
        left, right = ([*(condition.get(operand) for operand in compare.operand_names), None, None])[:2]
        if left and right and left.opcode == "get-tuple-element" and "direction=LT" in compare.attributes:
            place = int(re.search(r"index=(\d+)", left.attributes)[1])  # type: ignore[index]
            outside = self.computations[loop.computation]
            first = _constant(outside, outside[loop.operand_names[0]].operand_names[place])
            stop = _constant(condition, right.name)
            result = next(instruction for instruction in body.values() if instruction.is_root)
            step = body.get(result.operand_names[place])
            by_one = step and step.opcode == "add" and 1 in [_constant(body, name) for name in step.operand_names]
            if first == 0 and stop is not None and by_one:
                return stop
        raise JobError(f"The compiler's HLO does not say how often the loop {loop.name} runs.")


def _constant(computation: Computation, name: str) -> int | None:
    """Returns the value of an integer constant, copied about as it may be; None if it is something else."""
    instruction = computation.get(name)
    while instruction and instruction.opcode in ("copy", "bitcast", "copy-done", "copy-start"):
        instruction = computation.get(instruction.operand_names[0])
    found = re.fullmatch(r"\((-?\d+)\)", instruction.operands) if instruction else None
    return int(found[1]) if found and instruction and instruction.opcode == "constant" else None


def num_bytes(shape: str) -> int:
    """Returns the bytes of an array, or of all arrays of a tuple, unpadded: bf16[8,128]{1,0} has 2,048."""
    total = 0
    for dtype, dimensions in _ARRAY.findall(shape):
        bits = _BITS[dtype] if dtype in _BITS else int(re.findall(r"\d+", dtype)[0])
        total += math.prod(int(size) for size in dimensions.split(",") if size) * bits
    return total // 8


def parse_module(text: str) -> Module:
    """Reads `jax.stages.Compiled.as_text()`; raises JobError if the text is not an HLO module."""
    computations: dict[str, Computation] = {}
    entry = current = ""
    for line in text.splitlines():
        if line.startswith("}"):  # with the core that runs it, if that is not the TensorCore
            current = ""
        elif current:
            instruction = _parse_instruction(current, line)
            computations[current][instruction.name] = instruction
        elif found := _COMPUTATION.match(line):
            current = found[2]
            computations[current] = {}
            entry = current if found[1] else entry
    if not entry:
        raise JobError("The compiler's HLO is not understood: it has no ENTRY.")
    return Module(entry, computations)


def _parse_instruction(computation: str, line: str) -> Instruction:
    left, separator, right = line.strip().partition(" = ")
    # A tuple's shape has spaces, but only inside its parentheses.
    shape, rest = _balanced(right) if right.startswith("(") else right.partition(" ")[::2]
    opcode, parenthesis, _ = rest.strip().partition("(")
    if not separator or not parenthesis:
        raise JobError(f"The compiler's HLO is not understood: {line.strip()[:80]!r}.")
    operands, attributes = _balanced(rest.strip()[len(opcode) :])
    name, is_root = left.removeprefix("ROOT ").lstrip("%"), left.startswith("ROOT ")
    return Instruction(computation, name, shape, opcode, operands, attributes, is_root)


def _balanced(text: str) -> tuple[str, str]:
    """Returns the parentheses that the text starts with, to their end, and what follows."""
    depth = 0
    for found in re.finditer(r"[()]", text):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return text[: found.end()], text[found.end() :]
    raise JobError(f"The compiler's HLO is not understood: {text[:80]!r} has no end.")


def first_group(attributes: str, num_devices: int) -> tuple[int, ...]:
    """Returns the first group of devices in an instruction's replica_groups, in any of XLA's notations.

    Args:
        num_devices: of the program; they are one group if none is named.

    Raises:
        JobError: a notation that is not known.
    """
    text = attributes.partition("replica_groups=")[2]
    if not text or text.startswith("{}"):
        return tuple(range(num_devices))
    if found := re.match(r"\{\{([\d,]+)\}", text):  # {{0,1},{2,3}}
        return tuple(int(number) for number in found[1].split(","))
    if found := re.match(r"\[(\d+),(\d+)\]<=" + _IOTA, text):  # [2,4]<=[4,2]T(1,0)
        return tuple(_iota(found[3], found[4]).reshape(int(found[1]), int(found[2]))[0].tolist())
    if found := re.match(r"mesh\[([^\]]*)\](?:, device_ids=\(" + _IOTA + r"\))? \{([^}]*)\}", text):
        return _mesh_group(found[1], _iota(found[2], found[3]) if found[2] else None, found[4])
    raise JobError(f"The compiler's HLO is not understood: replica_groups={text[:60]!r}.")


def _iota(dimensions: str, permutation: str | None) -> np.ndarray:
    """Returns 0, 1, ... in an array of these dimensions, transposed."""
    sizes = [int(size) for size in dimensions.split(",")]
    ids = np.arange(math.prod(sizes)).reshape(sizes)
    return ids.transpose([int(axis) for axis in permutation.split(",")]) if permutation else ids


def _mesh_group(axes: str, ids: np.ndarray | None, chosen: str) -> tuple[int, ...]:
    """mesh['a'=2,'b'=4] {'b'}: the devices along b; 'b':(2)2 is the part of b of size 2 inside a part of size 2."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    splits: dict[str, list[tuple[int, bool]]] = {name: [(size, False)] for name, size in sizes.items()}
    for name, before, size in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", chosen):
        outer, inner = int(before or 1), int(size or sizes[name])
        splits[name] = [(outer, False), (inner, True), (sizes[name] // outer // inner, False)]
    parts = [part for name in sizes for part in splits[name]]
    ids = np.arange(math.prod(sizes.values())) if ids is None else ids
    array = ids.reshape([size for size, _ in parts])
    return tuple(array[tuple(slice(None) if along else 0 for _, along in parts)].ravel().tolist())


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
            stated = int(cost.get("bytes_accessed", 0))
            size = stated or module.operand_bytes(instruction) + num_bytes(instruction.shape)
            # attention_forward.2 is a call of the kernel of that name; cuDNN's are named by their target.
            kernels.append(Kernel(stem if target == _PALLAS else target, times, int(cost.get("flops", 0)), size))
        elif cycles := int(instruction.captured(r'"estimated_cycles":"(\d+)"') or 0):
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
