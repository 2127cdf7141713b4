"""Times several ways to do one job in alternation, since these machines drift; ratios are taken round by round.

`compare` times functions. `compare_sides` times this project beside peers, each in a process of its own that makes a
step when asked to: so neither's threads disturb the other, and each has its own peak of memory.
"""

import argparse
import contextlib
import math
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Ready = dict[str, Any]
"""Facts that a side states before its first step: its `result`, which must equal that of the other sides; the amount,
such as tokens, that a step has `computed`, padding included; and, from this project's side, what the comparison is
`about`."""

Side = Callable[[], tuple[Callable[[], float], Ready]]
"""Makes the step of a side, which returns a number that must be finite, and what it says beforehand."""


def compare(ways: Mapping[str, Callable[[], object]], amount: Mapping[str, float], unit: str, rounds: int = 5) -> str:
    """Returns a Markdown table of the rate of each way, and how many times the rate of the last one it is.

    Args:
        ways: what to run, by name; each is run once first, not counted.
        amount: units of work that a run of each does.
        unit: of the work, in words.
        rounds: how often each is timed.
    """
    rates = measure(ways, amount, rounds)
    *_, reference = rates.values()
    lines = [f"{machine()}; {rounds} rounds in alternation", ""]
    lines += [f"| | million {unit} a second: median (min - max) | times the last row |", "|---|---|---|"]
    for name, values in rates.items():
        ratio = statistics.median(value / base for value, base in zip(values, reference, strict=True))
        low, middle, high = (value / 1e6 for value in (min(values), statistics.median(values), max(values)))
        lines.append(f"| {name} | {middle:.3g} ({low:.3g} - {high:.3g}) | {ratio:.3g} |")
    return "\n".join(lines)


def measure(
    ways: Mapping[str, Callable[[], object]], amount: Mapping[str, float], rounds: int
) -> dict[str, list[float]]:
    """Returns the rate of each way, round by round, in units of work a second; each is run once first, not counted."""
    for run in ways.values():
        run()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            begin = time.perf_counter()
            run()
            rates[name].append(amount[name] / (time.perf_counter() - begin))
    return rates


def machine() -> str:
    """Returns processor and cores."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    return f"{model or platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def spread(values: Sequence[float], digits: int) -> str:
    """Returns the median (min - max)."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} - {high})"


def flags(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser that shows the docstring of a program as it is."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def flags_of_sides(
    description: str | None, peers: Sequence[str], usual: Sequence[str] = (), preset: str = "dnabert6"
) -> argparse.ArgumentParser:
    """Returns a parser of the flags that all comparisons of sides have.

    Args:
        peers: whom this project may be compared with.
        usual: whom it is compared with by default; all if none is given.
        preset: size of the model by default.
    """
    from dnabert_jax.families import PRESETS

    parser = flags(description)
    parser.add_argument("--preset", default=preset, choices=list(PRESETS), help="size of the model (%(default)s)")
    parser.add_argument("--peers", nargs="+", choices=peers, default=usual or peers, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each, in alternation (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side (%(default)s)")
    return parser


def compare_sides(
    arguments: argparse.Namespace, ours: Side, peer: Callable[[str], Side], work: int, difference: float,
    unit: str = "useful tokens", digits: int = 0,
) -> None:  # fmt: skip
    """Prints a table with a row for each peer, which runs beside this project alone.

    Args:
        arguments: of `flags_of_sides`.
        ours: this project's side, which starts first and may write files.
        peer: makes the side of a peer that the arguments name.
        work: units that a step does, padding left out.
        difference: that results of two sides may have.
        digits: of the rates, behind the point.
    """
    threads, rounds = arguments.threads, arguments.rounds
    with SideProcess(ours, threads) as mine:
        print(
            f"{machine()}; {threads} threads a side; load {os.getloadavg()[0]:.1f}; {rounds} rounds in "
            f"alternation; {', '.join(f'{name} {version(name)}' for name in ('jax', 'torch', 'transformers'))}\n\n"
            f"{mine.ready['about']}\n\n"
            f"| beside | its {unit} a second: median (min - max) | this project's beside it "
            "| this project is faster, times | its core-seconds a step | this project's | its padding | its peak GB |\n"
            "|---|---|---|---|---|---|---|---|",
            flush=True,
        )
        for name in arguments.peers:
            with SideProcess(peer(name), threads) as theirs:
                check_results(mine.ready["result"], name, theirs.ready["result"], difference)
                rates = measure({"ours": mine.step, "theirs": theirs.step}, {"ours": work, "theirs": work}, rounds)
                faster = [our / their for our, their in zip(rates["ours"], rates["theirs"], strict=True)]
                print(
                    f"| {name} | {spread(rates['theirs'], digits)} | {spread(rates['ours'], digits)} "
                    f"| {spread(faster, 2)} | {spread(theirs.core_seconds[-rounds:], 1)} "
                    f"| {spread(mine.core_seconds[-rounds:], 1)} | {1 - work / theirs.ready['computed']:.0%} "
                    f"| {theirs.peak_memory():.1f} |",
                    flush=True,
                )
        print(f"\nPeak memory of this project: {mine.peak_memory():.1f} GB.")


def check_results(ours: Any, name: str, theirs: Any, limit: float) -> None:
    """Leaves the program unless both sides compute the same function, to float32's accuracy."""
    difference = float(np.abs(np.subtract(ours, theirs)).max())
    if not difference < limit:
        raise SystemExit(f"The results of {name} differ from this project's by {difference}: another model.")


def adamw(model: Any, weight_decay: float, **settings: Any) -> Any:
    """Returns PyTorch's AdamW for a model, whose vectors do not decay."""
    import torch

    decays = {decay: [part for part in model.parameters() if (part.ndim > 1) == bool(decay)] for decay in (0, 1)}
    groups = [{"params": parameters, "weight_decay": weight_decay * decay} for decay, parameters in decays.items()]
    return torch.optim.AdamW(groups[::-1], **settings)


def quiet_transformers() -> None:
    """Has PyTorch compute with the threads of this side, and transformers say nothing."""
    import torch
    import transformers

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    transformers.utils.logging.set_verbosity_error()


def check_one_cpu() -> None:
    """Leaves the program unless JAX has one CPU device."""
    import jax

    if jax.devices()[0].platform != "cpu" or jax.device_count() > 1:
        raise SystemExit(f"{jax.devices()} is not one CPU: unset XLA_FLAGS and set JAX_PLATFORMS=cpu.")


class SideProcess(contextlib.AbstractContextManager["SideProcess"]):
    """A side in its own process; use as a context.

    Args:
        make: the side.
        threads: with how many it computes.

    Attributes:
        ready: what it said before its first step.
        core_seconds: processor time of each step, over all threads.
    """

    def __init__(self, make: Side, threads: int):
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.ready: Ready = self._process.submit(_begin, make, threads).result()
        self.core_seconds: list[float] = []

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()

    def step(self) -> None:
        """Makes one step."""
        result, core_seconds = self._process.submit(_step).result()
        if not math.isfinite(result):
            raise SystemExit(f"The result of a step is {result}: nothing to compare.")
        self.core_seconds.append(core_seconds)

    def peak_memory(self) -> float:
        """Returns that of a step, in GB: resident, everything included but what the first step needed besides."""
        return self._process.submit(_peak_memory).result()


_side: dict[str, Any] = {"stepped": False}
"""In the process of a side, its step and whether it was made once."""


def _begin(make: Side, threads: int) -> Ready:
    # Before the numerical libraries are loaded: they make as many threads as there are cores for the process.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    _side["step"], ready = make()
    return ready


def _step() -> tuple[float, float]:
    begin = time.process_time()
    result = _side["step"]()
    core_seconds = time.process_time() - begin
    if not _side["stepped"]:
        # The first step compiled: forget its peak (proc(5), clear_refs).
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        _side["stepped"] = True
    return result, core_seconds


def _peak_memory() -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM"))
