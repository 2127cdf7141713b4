"""Times several ways to do one job in alternation, since these machines drift; ratios are taken round by round."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping


def compare(ways: Mapping[str, Callable[[], object]], amount: Mapping[str, float], unit: str, rounds: int = 5) -> str:
    """A Markdown table of the rate of each way, and how many times the rate of the last one it is.

    Args:
        ways: what to run, by name; each is run once first, not counted.
        amount: units of work that a run of each does.
        unit: of the work, in words.
        rounds: how often each is timed.
    """
    rates = measure(ways, amount, rounds)
    *_, reference = ways
    lines = [
        f"{machine()}; {rounds} rounds in alternation",
        "",
        f"| | million {unit} a second: median (min - max) | times the last row |",
    ]
    lines.append("|---|---|---|")
    for name, values in rates.items():
        ratios = [value / base for value, base in zip(values, rates[reference], strict=True)]
        low, middle, high = (value / 1e6 for value in (min(values), statistics.median(values), max(values)))
        lines.append(f"| {name} | {middle:.3g} ({low:.3g} - {high:.3g}) | {statistics.median(ratios):.3g} |")
    return "\n".join(lines)


def measure(
    ways: Mapping[str, Callable[[], object]], amount: Mapping[str, float], rounds: int
) -> dict[str, list[float]]:
    """The rate of each way, round by round, in units of work a second; each is run once first, not counted."""
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
    """Processor and cores."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    return f"{model or platform.processor()}, {len(os.sched_getaffinity(0))} cores"
