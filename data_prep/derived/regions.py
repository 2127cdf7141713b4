"""Intervals of a genome: peaks (narrowPeak or BED), a blacklist (BED), and what overlaps them."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from dnabert_jax.errors import InputError
from dnabert_jax.io.text_lines import fields_of_lines, interval_of

_SUMMIT_COLUMN = 9


class Peak(NamedTuple):
    """A peak on a contig: 0-based, half-open, and its summit, 0-based; `reverse` if its strand column says "-"."""

    start: int
    end: int
    summit: int
    reverse: bool


def read_peaks(path: Path, name: str, noted: Counter[str]) -> dict[str, list[Peak]]:
    """Peaks by contig.

    Args:
        path: of a narrowPeak or BED file, plain or gzip.
        name: to call it by in errors.
        noted: counts the peaks whose middle stands for a summit that the file does not give (-1, or no such column),
            and those whose summit is just beyond their last base.

    Raises:
        InputError: no such file, no peak in it, or a summit that is outside of its peak.
    """
    peaks: dict[str, list[Peak]] = defaultdict(list)
    for number, fields in fields_of_lines(path, name, 3, "narrowPeak or BED"):
        start, end = interval_of(fields[1], fields[2], number, name)
        text = fields[_SUMMIT_COLUMN] if len(fields) > _SUMMIT_COLUMN else "-1"
        if text == "-1":
            noted["peaks without summit, of which the middle was taken"] += 1
            summit = (start + end) // 2
        elif text.isdecimal() and start + int(text) <= end:
            # Some files of ENCODE count to the end, one base too far.
            noted["peaks with the summit at their end, of which the last base was taken"] += start + int(text) == end
            summit = min(start + int(text), end - 1)
        else:
            raise InputError(f"Line {number:,} of {name} has the summit {text!r}, which is not within its peak.")
        peaks[fields[0]].append(Peak(start, end, summit, fields[5:6] == ["-"]))
    if not peaks:
        raise InputError(f"{name} has no peaks.")
    return dict(peaks)


def read_bed(path: Path, name: str) -> dict[str, list[tuple[int, int]]]:
    """Intervals by contig, 0-based, half-open.

    Raises:
        InputError: no such file, or a line is no interval.
    """
    intervals: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, fields in fields_of_lines(path, name, 3, "BED"):
        intervals[fields[0]].append(interval_of(fields[1], fields[2], number, name))
    return dict(intervals)


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
