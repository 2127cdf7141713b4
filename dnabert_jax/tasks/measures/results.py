"""What became of one data set: JSON for programs, Markdown for readers."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dnabert_jax.config import TaskConfig, TrainingLengths, require
from dnabert_jax.io.markdown import escaped, table
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.datasets.labels import label_matrix
from dnabert_jax.tasks.measures.metrics import ConfusionMatrix, Metric, Metrics

RESULT_FILE = "result.json"

_SHOWN_CLASSES = 20
"""Up to how many classes all confusions are shown, and how many of the largest of more classes."""
_COUNT = "{:,}".format


@dataclasses.dataclass(frozen=True)
class SeedResult:
    """A model trained with one seed, and measured on the test split.

    Attributes:
        seconds: of wall time, of which models that were trained together have equal shares.
        collapsed: whether it says the same of every sequence of the validation split, so that its figures mean little.
    """

    seed: int
    seconds: float
    metrics: Metrics
    collapsed: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """One data set and one model, with one or several seeds.

    What has a default is not in the results of earlier versions.

    Attributes:
        model: what was trained, in words: a checkpoint, or a baseline.
        task: problem and names of the labels; of two classes, the second is the positive one.
        counts: examples of each label by split, in the order of the labels; none of a regression.
        base_model: what was fine-tuned, as it was given.
        data: the file or directory that was read, as it was given.
        date: when it was measured, in UTC and ISO 8601.
        best: which of the seeds did best on the validation split.
        notes: sentences on how the data were read and split.
    """

    name: str
    model: str
    task: TaskConfig
    sizes: dict[str, int]
    seeds: tuple[SeedResult, ...]
    counts: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    lengths: TrainingLengths | None = None
    base_model: str = ""
    data: str = ""
    date: str = ""
    best: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(bool(self.seeds), f"The result of {self.name} has no seed.")
        require(0 <= self.best < len(self.seeds), f"The result of {self.name} has no seed number {self.best}.")
        for seed in self.seeds:
            # Those of earlier versions have figures of single labels twice.
            measured = set(seed.metrics.values) >= set(self.task.kind.metric_keys(self.task.labels))
            require(measured, f"The result of {self.name} with seed {seed.seed} lacks metrics of its task.")


class OverSeeds(NamedTuple):
    """The mean of a metric over the seeds where it is defined, and the standard deviation of the sample.

    The mean is None without such a seed, the deviation with fewer than two.
    """

    mean: float | None
    deviation: float | None


def new_result(
    name: str,
    model: str,
    data: LabelledData,
    seeds: tuple[SeedResult, ...],
    task: TaskConfig | None = None,
    base_model: str = "",
    best: int = 0,
) -> Result:
    """Returns a result dated today, with sizes, counts and lengths of the data; the task is theirs if not given."""
    sizes = {str(split): len(rows) for split, rows in data.splits.items()}
    counts: dict[str, tuple[int, ...]] = {}
    for split, rows in data.splits.items() if data.task.kind.has_classes else ():
        matrix = label_matrix(rows.labels, len(data.task.labels))
        counts[str(split)] = tuple(matrix.sum(axis=0, dtype=np.int64).tolist())
    bases = data.splits["train"].sequences.lengths
    lengths = TrainingLengths(int(bases.min()), int(np.median(bases)), int(bases.max()))
    source = base_model, data.source, dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return Result(name, model, task or data.task, sizes, seeds, counts, lengths, *source, best, data.notes)


def over_seeds(result: Result) -> dict[str, OverSeeds]:
    """Returns mean and spread of each metric that is reported, by key."""
    spreads, keys = {}, result.task.kind.metric_keys(result.task.labels)
    # The loss of a regression is its squared rmse.
    for key in keys if result.task.kind.has_classes else keys[1:]:
        values = [v for seed in result.seeds if (v := seed.metrics.values[key].value) is not None]
        mean = float(np.mean(values)) if values else None
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        spreads[key] = OverSeeds(mean, deviation)
    return spreads


def is_at_chance(result: Result) -> bool:
    """Returns whether the interval of the best seed's ROC AUC, or R2, on the test split reaches down to guessing."""
    kind = result.task.kind
    low = result.seeds[result.best].metrics.values[kind.default_metric].low
    return low is not None and low <= kind.by_chance


def result_markdown(result: Result) -> str:
    """Returns a heading, where the result comes from, metrics with intervals, confusions, and counts of labels."""
    several = len(result.seeds) > 1
    lines = [f"## {escaped(result.name)}", "", *(f"- {escaped(what)}: {escaped(s)}" for what, s in origin(result)), ""]
    head = ["metric", *(["mean", "sd"] if several else []), *(f"seed {seed.seed}" for seed in result.seeds)]
    rows = []
    for key, spread in over_seeds(result).items():
        summary = [_number(spread.mean), _number(spread.deviation)] if several else []
        rows.append([key, *summary, *(_cell(seed.metrics.values[key]) for seed in result.seeds)])
    lines += ["### Metrics on the test split", "", table(head, rows)]
    if result.task.positive:
        lines += ["", f"Precision, recall, F1 and the curves are those of the class '{escaped(result.task.positive)}'."]
    if collapsed := [str(seed.seed) for seed in result.seeds if seed.collapsed]:
        lines += ["", f"Collapsed to one class, so that figures mean little: seed {', '.join(collapsed)}."]
    first = result.seeds[0].metrics
    if first.resamples:
        lines += ["", f"In brackets: {first.level:.0%} bootstrap intervals of {first.resamples:,} resamples."]
    notes = {f"{key}: {note}." for seed in result.seeds for key, *_ in rows if (note := seed.metrics.values[key].note)}
    lines += ["", *(f"- {escaped(note)}" for note in sorted(notes))] if notes else []
    lines += [*_confusions(result), *_counts(result)]
    return "\n".join(lines) + "\n"


def origin(result: Result) -> list[tuple[str, str]]:
    """Returns what a result is of, as pairs of a word and what it stands for; earlier versions knew less."""
    sizes = ", ".join(f"{split} {count:,}" for split, count in result.sizes.items())
    seconds = sum(seed.seconds for seed in result.seeds)
    lengths = dataclasses.asdict(result.lengths) if result.lengths else {}
    facts = (
        ("Method", f"{result.model}, {seconds:,.0f} seconds"),
        ("Model", result.base_model),
        ("Data", result.data),
        ("Date", result.date),
        ("Examples", sizes),
        ("Notes", " ".join(result.notes)),
        ("Bases of a training sequence", ", ".join(f"{name} {bases:,}" for name, bases in lengths.items())),
        ("Positive class", result.task.positive),
    )
    return [(what, value) for what, value in facts if value]


def _confusions(result: Result) -> Iterator[str]:
    """Yields the confusion matrix of the best seed; of many classes, its largest confusions; of labels, four counts."""
    best = result.seeds[result.best]
    if not best.metrics.confusion:
        return
    yield from ("", f"### Confusion on the test split, seed {best.seed}", "")
    if result.task.kind.exclusive:
        yield table(*confusion_table(best.metrics.confusion[0]))
    else:
        rows = [[each.classes[1], *map(_COUNT, reversed(sum(each.counts, ())))] for each in best.metrics.confusion]
        yield table(["label", "has it, predicted", "has it, missed", "not, but predicted", "neither"], rows)


def confusion_table(matrix: ConfusionMatrix) -> tuple[list[str], list[list[str]]]:
    """Returns the head and rows of a confusion matrix, or of its largest confusions if it has many classes."""
    classes = matrix.classes
    if len(classes) <= _SHOWN_CLASSES:
        rows = [[name, *map(_COUNT, row)] for name, row in zip(classes, matrix.counts, strict=True)]
        return ["true class", *(f"predicted {name}" for name in classes)], rows
    counts = np.array(matrix.counts)
    np.fill_diagonal(counts, 0)
    largest = np.argsort(-counts, axis=None, kind="stable")[:_SHOWN_CLASSES]
    cells = zip(*np.unravel_index(largest, counts.shape), strict=True)
    rows = [[classes[i], classes[j], _COUNT(counts[i, j])] for i, j in cells if counts[i, j]]
    return ["true class", "predicted class", "examples"], rows


def _counts(result: Result) -> Iterator[str]:
    """Yields how many examples of each label a split has; of many labels, the fewest and the most."""
    if not result.counts:
        return
    yield from ("", "### Examples of each label", "")
    if len(result.task.labels) > _SHOWN_CLASSES:
        for split, counts in result.counts.items():
            yield f"- {split}: {min(counts):,} to {max(counts):,} of each of {len(counts):,} labels"
        return
    columns = zip(*result.counts.values(), strict=True)
    rows = [[label, *map(_COUNT, counts)] for label, counts in zip(result.task.labels, columns, strict=True)]
    yield table(["label", *result.counts], rows)


def _cell(metric: Metric) -> str:
    interval = "" if metric.low is None else f" [{_number(metric.low)}, {_number(metric.high)}]"
    return _number(metric.value) + interval


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"
