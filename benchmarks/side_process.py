"""The two sides of a comparison, each in a process of its own that makes a step when asked to.

So neither side's threads disturb the other, and each has its own peak of memory.
"""

import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from benchmarks.alternation import measure

HEAD = (
    "| beside | its useful tokens a second: median (min - max) | this project's beside it "
    "| this project is faster, times | its core-seconds a step | this project's | its padding | its peak GB |\n"
    "|---|---|---|---|---|---|---|---|"
)
"""Of the table whose rows `row` makes."""

Ready = dict[str, Any]
"""What a side says before its first step, so that results can be compared; and the tokens that a step has `computed`,
padding included."""

Side = Callable[[Any], tuple[Callable[[], float], Ready]]
"""Makes the step of a side, which returns a number that must be finite, and what it says beforehand."""


class SideProcess:
    """A side in its own process; use as a context.

    Args:
        make: the side.
        task: what it computes, with how many `threads`.

    Attributes:
        ready: what it said before its first step.
        core_seconds: processor time of each step, over all threads; not of the first.
    """

    def __init__(self, make: Side, task: Any):
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, task, there))
        self._process.start()
        there.close()
        self.ready: Ready = self._connection.recv()
        self.core_seconds: list[float] = []
        self._steps = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join()

    def step(self) -> None:
        """Makes one step."""
        self._connection.send("step")
        result, core_seconds = self._connection.recv()
        if not math.isfinite(result):
            raise SystemExit(f"The result of a step is {result}: nothing to compare.")
        if self._steps:
            self.core_seconds.append(core_seconds)
        self._steps += 1

    def peak_memory(self) -> float:
        """Of a step, in GB: resident, everything included but what was needed before the second step."""
        self._connection.send("memory")
        return self._connection.recv()


def _serve(make: Side, task: Any, connection: Connection) -> None:
    # Before the numerical libraries are loaded: they make as many threads as there are cores for the process.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    step, ready = make(task)
    connection.send(ready)
    steps = 0
    while True:
        try:
            wish = connection.recv()
        except EOFError:
            return
        if wish == "memory":
            connection.send(_peak_memory())
            continue
        begin = time.process_time()
        result = step()
        connection.send((result, time.process_time() - begin))
        steps += 1
        if steps == 1:
            # The first step compiled: forget its peak (proc(5), clear_refs).
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _peak_memory() -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM"))


def row(name: str, ours: SideProcess, peer: SideProcess, useful: int, rounds: int) -> str:
    """Measures a peer beside this project, steps of so many useful tokens: a row of the table."""
    rates = measure({"ours": ours.step, "theirs": peer.step}, {"ours": useful, "theirs": useful}, rounds)
    faster = [mine / theirs for mine, theirs in zip(rates["ours"], rates["theirs"], strict=True)]
    padding = 1 - useful / peer.ready["computed"]
    return (
        f"| {name} | {spread(rates['theirs'], 0)} | {spread(rates['ours'], 0)} | {spread(faster, 2)} "
        f"| {spread(peer.core_seconds[-rounds:], 1)} | {spread(ours.core_seconds[-rounds:], 1)} "
        f"| {padding:.0%} | {peer.peak_memory():.1f} |"
    )


def spread(values: list[float], digits: int) -> str:
    """Median (min - max)."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} - {high})"
