"""How long collectives take on the network of a slice: bytes by the bandwidth of the links that a group can use.

Rings, as in Austin et al. 2025, "How to Scale Your Model" (jax-ml.github.io/scaling-book/sharding): n chips gather or
scatter S bytes in S (n - 1) / n by the bandwidth, and reduce them everywhere in twice that. The bandwidth is that of
one direction of all links along the axes of the torus that the group spans. No latency, and no other traffic, which is
why the result is a lower bound for small arrays and for groups that share links.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from dnabert_jax.errors import JobError
from dnabert_jax.parallel.chips import POD_AXIS, Chip

_CUBE = 4
"""v4 and v5p are wired in cubes of so many a side, and slices of whole cubes close along every axis."""
_SHARES = {"all-gather": 1, "reduce-scatter": 1, "all-reduce": 2, "all-to-all": 1}
"""How often each byte but a chip's own share travels."""
_IOTA = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"


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


class Interconnect:
    """The network of a slice, and that between slices.

    Args:
        devices: of one slice, in the order of the mesh; TPUs, which say where they are.
    """

    def __init__(self, chip: Chip, devices: Sequence[Any], slices: int = 1):
        self._chip, self._slices = chip, slices
        self._places = np.array([device.coords for device in devices])
        self._extent = self._places.max(axis=0) + 1

    def seconds(self, kind: str, size: int, group: Sequence[int]) -> float | None:
        """Returns the time of one collective; None if the bandwidth between slices, which it needs, is not published.

        Args:
            kind: all-gather, reduce-scatter, all-reduce, all-to-all or collective-permute; between slices as XLA's
                multi-slice runtime calls it, ALL_REDUCE for example.
            size: bytes of the whole array: what is gathered, or what a chip has before it is reduced or sent.
            group: of devices, by place in `devices`; none if a chip sends to its peers in the other slices.
        """
        if not group:
            if self._chip.dcn_bandwidth is None:
                return None
            peers = self._slices - 1
            times = (
                peers if kind == "ALL_GATHER" else _SHARES.get(kind.lower().replace("_", "-"), 1) * peers / self._slices
            )
            return size * times / self._chip.dcn_bandwidth
        if kind not in _SHARES:
            return size / self._chip.link_bandwidth
        shares = _SHARES[kind] * (len(group) - 1) / len(group)
        return size * shares / (self.links(group) * self._chip.link_bandwidth)

    def links(self, group: Sequence[int]) -> int:
        """Returns the links, one direction each, over which a chip exchanges with its group: two along a ring."""
        places = self._places[list(group)]
        count = 0
        for axis, extent in enumerate(self._extent):
            spanned = len(set(places[:, axis]))
            if spanned > 1:
                count += 2 if spanned == extent and self._is_ring(int(extent)) else 1
        return max(count, 1)

    def _is_ring(self, extent: int) -> bool:
        if self._chip.links == 4:  # a 2D torus, of which only an axis of full length closes
            return extent == POD_AXIS
        return all(size % _CUBE == 0 for size in self._extent)
