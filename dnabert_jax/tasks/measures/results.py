"""What became of one data set: JSON for programs, Markdown for readers."""

import dataclasses
from pathlib import Path

import numpy as np

from dnabert_jax import storage
from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.measures.metrics import Metric, Metrics, metric_keys
from dnabert_jax.typed_json import to_json

RESULT_FILE = "result.json"
"""Of a fine-tuning, in its directory."""


@dataclasses.dataclass(frozen=True)
class SeedResult:
    """A model trained with one seed.

    Attributes:
        seed: of the training.
        seconds: of wall time, of which models that were trained together have equal shares.
        metrics: of the test split.
        collapsed: whether it says the same of every sequence of the validation split, so that its figures mean little.
    """

    seed: int
    seconds: float
    metrics: Metrics
    collapsed: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """One data set and one model, with one or several seeds.

    Attributes:
        name: of the data set.
        model: what was trained, in words: a checkpoint, or a baseline.
        task: problem and names of the labels.
        sizes: examples by split.
        seeds: one result each.
    """

    name: str
    model: str
    task: TaskConfig
    sizes: dict[str, int]
    seeds: tuple[SeedResult, ...]

    def __post_init__(self) -> None:
        if not self.seeds:
            raise InputError(f"The result of {self.name} has no seed.")
        for seed in self.seeds:
            if set(seed.metrics.values) != set(metric_keys(self.task)):
                raise InputError(f"The result of {self.name} with seed {seed.seed} has not the metrics of its task.")


@dataclasses.dataclass(frozen=True)
class OverSeeds:
    """A metric over seeds.

    Attributes:
        mean: over the seeds where it is defined; None if it is so nowhere.
        deviation: the sample's standard deviation; None with fewer than two.
        defined: seeds where it is defined.
    """

    mean: float | None
    deviation: float | None
    defined: int


def over_seeds(result: Result) -> dict[str, OverSeeds]:
    """Mean and spread of each metric, by key."""
    found = {}
    for key in metric_keys(result.task):
        values = [v for seed in result.seeds if (v := seed.metrics.values[key].value) is not None]
        mean = float(np.mean(values)) if values else None
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[key] = OverSeeds(mean, deviation, len(values))
    return found


def write_result(result: Result, path: Path) -> None:
    """Writes JSON that `typed_json.read_json(Result, path)` reads; the file appears whole or not at all."""
    storage.write(path, to_json(result).encode())


def result_markdown(result: Result) -> str:
    """A heading, a table of metrics with intervals, mean and spread over seeds, and what is undefined and why."""
    several = len(result.seeds) > 1
    seconds = sum(seed.seconds for seed in result.seeds)
    sizes = ", ".join(f"{split} {count:,}" for split, count in result.sizes.items())
    lines = [f"## {result.name}", "", f"{result.model}. Examples: {sizes}. {seconds:,.0f} seconds.", ""]
    head = ["metric", *(["mean", "sd"] if several else []), *(f"seed {seed.seed}" for seed in result.seeds)]
    lines += [_row(head), _row(["---"] + ["---:"] * (len(head) - 1))]
    for key, spread in over_seeds(result).items():
        summary = [_number(spread.mean), _number(spread.deviation)] if several else []
        lines.append(_row([key, *summary, *(_cell(seed.metrics.values[key]) for seed in result.seeds)]))
    if result.task.problem == "single_label_classification" and len(result.task.labels) == 2:
        lines += [
            "",
            f"Precision, recall, F1 and the curves are those of the class {_escaped(result.task.labels[1])!r}.",
        ]
    if collapsed := [str(seed.seed) for seed in result.seeds if seed.collapsed]:
        lines += ["", f"Collapsed to one class, so that figures mean little: seed {', '.join(collapsed)}."]
    first = result.seeds[0].metrics
    if first.resamples:
        lines += ["", f"In brackets: {first.level:.0%} bootstrap intervals of {first.resamples:,} resamples."]
    notes = {
        f"{key}: {seed.metrics.values[key].note}."
        for key in first.values
        for seed in result.seeds
        if seed.metrics.values[key].note
    }
    lines += ["", *(f"- {_escaped(note)}" for note in sorted(notes))] if notes else []
    return "\n".join(lines) + "\n"


def _cell(metric: Metric) -> str:
    interval = "" if metric.low is None else f" [{_number(metric.low)}, {_number(metric.high)}]"
    return _number(metric.value) + interval


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
