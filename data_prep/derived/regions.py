"""Sets of intervals of one contig, and what overlaps them."""

import numpy as np
from jaxtyping import Bool, Int64


class Regions:
    """A set of intervals of one contig, to ask what overlaps it.

    Args:
        starts, ends: 0-based, half-open, in any order, overlapping or not.
        margin: bases by which each is widened at both ends.
    """

    def __init__(self, starts: Int64[np.ndarray, " n"], ends: Int64[np.ndarray, " n"], margin: int = 0):
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order] - margin, np.maximum.accumulate(ends[order]) + margin
        first = np.ones(len(starts), bool)
        first[1:] = starts[1:] > ends[:-1]
        self._starts = starts[first]
        self._ends = ends[np.append(first[1:], True)] if len(ends) else ends

    def overlap(self, starts: Int64[np.ndarray, " w"], length: int) -> Bool[np.ndarray, " w"]:
        """Of each window of `length` bases, whether it has a base in the set."""
        if not len(self._starts):
            return np.zeros(len(starts), bool)
        last = np.searchsorted(self._starts, starts + length) - 1
        return (last >= 0) & (self._ends[last] > starts)


def regions_of(intervals: list[tuple[int, int]], margin: int = 0) -> Regions:
    """The set of a list of intervals."""
    both = np.array(intervals, np.int64).reshape(-1, 2)
    return Regions(both[:, 0], both[:, 1], margin)
