"""Summarises the results of a suite of data sets: a table, averages as in the paper, box plots, and a baseline."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from dnabert_jax import storage
from dnabert_jax.errors import InputError
from dnabert_jax.io import markdown
from dnabert_jax.io.markdown import escaped
from dnabert_jax.io.peak_index import PeakFile
from dnabert_jax.io.pictures import accompanying, drawing
from dnabert_jax.tasks.datasets.labels import listed
from dnabert_jax.tasks.measures.metrics import better
from dnabert_jax.tasks.measures.results import Result, over_seeds

Table = Mapping[str, Mapping[str, float]]
"""Metrics of data sets: name of the set, key of the metric, value; what is undefined is absent."""

PAPER_METRICS = ("accuracy", "f1", "f1_macro", "mcc", "roc_auc")
"""Accuracy, F1, MCC and AUC are what Ji et al. 2021 average over the 690 sets; f1 is there for two classes only."""

_SPLITS = ("train", "validation", "test")
_DEVIATION = "_sd"


@dataclasses.dataclass(frozen=True)
class Summary:
    """A metric over the sets of a suite, without those for which it is undefined."""

    mean: float
    median: float
    sets: int
    left_out: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A paired Wilcoxon signed-rank test of a suite against a baseline.

    Attributes:
        better, worse, equal: sets where ours is so; the test does without the last.
        median_difference: ours less the baseline.
        favours: whose ranks sum to more.
        p_value: two-sided; None of fewer than 6 sets, where it cannot be below 0.05, or if no set differs.
        left_out: sets that are not in both tables, and why.
    """

    metric: str
    direction: Literal["higher", "lower"]
    sets: int
    better: int
    worse: int
    equal: int
    median_difference: float
    favours: Literal["ours", "baseline", "neither"]
    p_value: float | None
    left_out: dict[str, str]


def suite_table(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Returns the mean over seeds of each set's metrics, by name of the set, except those of single labels."""
    spreads = {result.name: over_seeds(result).items() for result in results}
    return {
        name: {key: spread.mean for key, spread in of_set if spread.mean is not None and "/" not in key}
        for name, of_set in spreads.items()
    }


def write_suite(results: Sequence[Result], path: Path, experiments: Mapping[str, PeakFile] | None = None) -> None:
    """Writes a row per set: sizes, seeds, seconds, mean over seeds of each metric and, if there are several, its sd.

    Tabs separate columns. An undefined metric is an empty cell. Cell, factor, treatment and laboratory are there if
    experiments are known.
    """
    rows = []
    for result in sorted(results, key=lambda result: result.name):
        row: dict[str, object] = {"name": result.name}
        if experiments:
            experiment = experiments.get(result.name, PeakFile(""))
            row |= {column: getattr(experiment, column) for column in ("cell", "factor", "treatment", "lab")}
        row |= {"model": result.model, "problem": result.task.problem}
        row |= {split: result.sizes.get(split, 0) for split in _SPLITS}
        row["seeds"] = " ".join(str(seed.seed) for seed in result.seeds)
        row["seconds"] = round(sum(seed.seconds for seed in result.seeds), 3)
        row["collapsed"] = sum(seed.collapsed for seed in result.seeds)
        for key, spread in over_seeds(result).items():
            if "/" not in key:
                row[key] = spread.mean
                if len(result.seeds) > 1:
                    row[key + _DEVIATION] = spread.deviation
        rows.append(row)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    write_tsv(path, columns, [[row.get(column) for column in columns] for row in rows])


def write_tsv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes rows with tabs between their cells; None is an empty cell."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    storage.write_text(path, file.getvalue())


def summarise(table: Table, metrics: Sequence[str] = PAPER_METRICS) -> dict[str, Summary]:
    """Returns mean and median over sets of each metric that any set has."""
    summaries = {}
    for key in metrics:
        values = [row[key] for row in table.values() if key in row]
        if values:
            left_out = tuple(name for name, row in table.items() if key not in row)
            summaries[key] = Summary(float(np.mean(values)), float(np.median(values)), len(values), left_out)
    return summaries


_FEWEST_SETS = 6
"""Sets of which a two-sided signed-rank test can say p < 0.05."""


def compare(ours: Table, baseline: Table, metric: str) -> Comparison:
    """Returns a paired Wilcoxon test over the sets that both tables have; raises InputError if there are none."""
    from scipy.stats import rankdata, wilcoxon

    direction = better(metric)
    tables = {"ours": ours, "the baseline": baseline}
    left_out, pairs = {}, []
    for name in sorted({*ours, *baseline}):
        missing = [title for title, table in tables.items() if name not in table]
        undefined = [title for title, table in tables.items() if metric not in table.get(name, {})]
        if missing or undefined:
            left_out[name] = f"not in {missing[0]}" if missing else f"undefined in {' and '.join(undefined)}"
        else:
            pairs.append(ours[name][metric] - baseline[name][metric])
    if not pairs:
        raise InputError(f"No data set has {metric} in both tables.")
    differences = np.array(pairs)
    gains = differences if direction == "higher" else -differences
    balance = np.sum(np.sign(gains) * rankdata(np.abs(gains)))
    return Comparison(
        metric=metric,
        direction=direction,
        sets=len(gains),
        better=int((gains > 0).sum()),
        worse=int((gains < 0).sum()),
        equal=int((gains == 0).sum()),
        median_difference=float(np.median(differences)),
        favours="ours" if balance > 0 else "baseline" if balance < 0 else "neither",
        p_value=float(wilcoxon(gains).pvalue) if gains.any() and len(gains) >= _FEWEST_SETS else None,
        left_out=left_out,
    )


def summary_markdown(summaries: Mapping[str, Summary]) -> str:
    """Returns a table of the averages."""
    rows = [[k, f"{s.mean:.4f}", f"{s.median:.4f}", f"{s.sets}", f"{len(s.left_out)}"] for k, s in summaries.items()]
    return markdown.table(["metric", "mean", "median", "sets", "left out"], rows) + "\n"


def comparison_markdown(comparisons: Sequence[Comparison], ours: str, other: str) -> str:
    """Returns a sentence for each test of a method, ours, against another."""
    lines: list[str] = []
    for test in comparisons:
        p = "no set differs" if test.sets >= _FEWEST_SETS else f"no p-value (fewer than {_FEWEST_SETS} sets)"
        if test.p_value is not None:
            favoured = {"ours": ours, "baseline": other, "neither": "neither"}[test.favours]
            p = f"p = {test.p_value:.3g} by a two-sided paired Wilcoxon test, in favour of {escaped(favoured)}"
        lines += [
            f"- {test.metric} ({test.direction} is better): {escaped(ours)} is better on {test.better} of {test.sets} "
            f"set{'s' * (test.sets != 1)}, worse on {test.worse}, equal on {test.equal}; median difference "
            f"{test.median_difference:+.4f}; {p}.",
        ]
        by_reason: dict[str, list[str]] = {}
        for name, reason in test.left_out.items():
            by_reason.setdefault(reason, []).append(name)
        lines += [f"  - left out: {escaped(listed(names))}, {reason}" for reason, names in by_reason.items()]
    return "\n".join(lines) + "\n"


def draw_boxes(tables: Mapping[str, Table], picture: Path, metrics: Sequence[str] = PAPER_METRICS) -> None:
    """Draws, for each metric that any table has, a box of its n sets for each table, by name of the model, as PNG.

    Boxes are quartiles with whiskers of 1.5 interquartile ranges; each set is a dot. Without a metric nothing is drawn.
    """
    keys = [key for key in metrics if any(key in row for table in tables.values() for row in table.values())]
    if not keys:
        return
    width = 1.2 + len(keys) * (0.8 + 0.7 * len(tables))
    with accompanying(picture), drawing(picture, width, 4.2) as figure:
        for axes, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
            values = [[row[key] for row in table.values() if key in row] for table in tables.values()]
            labels = [f"{name} (n = {len(column)})" for name, column in zip(tables, values, strict=True)]
            axes.boxplot(values, tick_labels=labels, widths=0.6, showfliers=False, medianprops={"color": "black"})
            for position, column in enumerate(values, start=1):
                spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(column))
                axes.plot(position + spread, column, "o", markersize=2.5, alpha=0.4, color=f"C{position - 1}")
            axes.set_title(key)
            axes.tick_params(axis="x", rotation=30)
            axes.grid(axis="y", alpha=0.3)
