"""The text of an optimised HLO module, read into computations and instructions.

Only what a plan needs: what runs how often, how large it is, what the compiler says of it. The grammar is XLA's
(xla/hlo/parser/hlo_parser.cc in github.com/openxla/xla); JAX gives the text alone.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator

import numpy as np

from dnabert_jax.errors import JobError

_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([0-9,]*)\]")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_NAME = re.compile(r"%([\w.\-]+)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_COST = re.compile(r'"cost_estimate":(\{[^}]*\})')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_IOTA = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
_BITS = {"pred": 8, "token": 0, "opaque": 0}


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
    def estimated_cycles(self) -> int:
        """The compiler's estimate, 0 if it made none."""
        found = _CYCLES.search(self.attributes)
        return int(found[1]) if found else 0

    @property
    def cost_estimate(self) -> dict[str, int]:
        """What a kernel's author says of it (`pl.CostEstimate`): flops, bytes_accessed, transcendentals."""
        found = _COST.search(self.attributes)
        return {name: int(value) for name, value in json.loads(found[1]).items()} if found else {}

    def quoted(self, attribute: str) -> str:
        """Returns the value of attribute="value", empty if there is none."""
        found = re.search(rf'\b{attribute}="([^"]*)"', self.attributes)
        return found[1] if found else ""

    def called(self, attribute: str) -> str:
        """Returns the computation in attribute=%name; raises JobError if there is none."""
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.attributes)
        if not found:
            raise JobError(f"The compiler's HLO is not understood: {self.opcode} {self.name} has no {attribute}.")
        return found[1]


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
            match instruction.opcode:
                case "while":
                    trips = times * self._trip_count(instruction)
                    yield from self.executed(instruction.called("condition"), trips)
                    yield from self.executed(instruction.called("body"), trips)
                case "call":
                    yield from self.executed(instruction.called("to_apply"), times)
                case "async-start":
                    yield from self.executed(instruction.called("calls"), times)
                case _:
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
        known = _TRIPS.search(loop.attributes)
        if known:
            return int(known[1])
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
        if line == "}":
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
    shape, rest = _balanced(right) if right.startswith("(") else right.split(" ", 1)
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
