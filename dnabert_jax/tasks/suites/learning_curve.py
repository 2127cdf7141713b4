"""Learning curves: a metric of each method against the training rows that it was given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnabert_jax import storage
from dnabert_jax.io import markdown
from dnabert_jax.io.pictures import accompanying, drawing
from dnabert_jax.tasks.measures.results import Result, over_seeds
from dnabert_jax.tasks.suites.by_set import PRINTED_NAMES
from dnabert_jax.tasks.suites.summary import write_tsv

CURVE = "learning-curve"
"""The name of the table and of the plot, without their endings."""

# Of the colours of Okabe and Ito, which people of any colour vision tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKS = "ovs^Dpx"

Curve = Mapping[str, Mapping[str, Sequence[Result]]]
"""Results by the training rows that were asked for, from few to all, and by method."""


class _Point(NamedTuple):
    rows: int
    mean: float
    deviation: float | None


class _Line(NamedTuple):
    """A method, for each number of rows that was asked for: the rows, the metric, and its deviation over seeds."""

    rows: list[float]
    means: list[float]
    deviations: list[float | None]


def write_learning_curve(curve: Curve, metric: str, folder: Path) -> str:
    """Writes learning-curve as TSV, a row for each set and number of rows, as Markdown, and as PNG, SVG and PDF.

    A set with fewer rows than asked for is trained on all that it has. Means in the Markdown table, which is returned,
    and in the plot are over the sets that have the metric by every method with every number of rows.
    """
    points = {
        asked: {method: _points(results, metric) for method, results in by_method.items()}
        for asked, by_method in curve.items()
    }
    all_methods = dict.fromkeys(method for by_method in points.values() for method in by_method)
    # A method that failed on every set with some number of rows has no line.
    methods = [method for method in all_methods if all(by_method.get(method) for by_method in points.values())]
    sets = sorted({name for by_method in points.values() for by_set in by_method.values() for name in by_set})
    table: dict[tuple[str, int], dict[str, float]] = {}
    for by_method in points.values():
        for method, by_set in by_method.items():
            for name, point in by_set.items():
                table.setdefault((name, point.rows), {})[method] = point.mean
    body = [[*key, *(row.get(method, "") for method in all_methods)] for key, row in sorted(table.items())]
    write_tsv(folder / f"{CURVE}.tsv", ["name", "training_rows", *all_methods], body)
    complete = [
        name
        for name in sets
        if all(name in by_method.get(method, {}) for by_method in points.values() for method in methods)
    ]
    lines = {
        method: _line([[by_method[method][name] for name in complete] for by_method in points.values()])
        for method in methods
        if complete
    }
    medians = next(iter(lines.values())).rows if lines else []
    rows = [
        [asked, f"{median:,.0f}", *(f"{line.means[number]:.4f}" for line in lines.values())]
        for number, (asked, median) in enumerate(zip(points, medians, strict=False))
    ]
    text = markdown.table(["training rows asked for", "median", *lines], rows) + "\n"
    text += f"\nMean {PRINTED_NAMES.get(metric, metric)} over {len(complete)} of {len(sets)} sets.\n"
    if missing := [method for method in all_methods if method not in methods]:
        text += f"Not here, as results are missing with some numbers of rows: {', '.join(missing)}.\n"
    storage.write_text(folder / f"{CURVE}.md", text)
    if lines:
        _draw(lines, metric, len(complete), folder / f"{CURVE}.png")
    return text


def _points(results: Sequence[Result], metric: str) -> dict[str, _Point]:
    spreads = {result.name: (result.sizes["train"], over_seeds(result).get(metric)) for result in results}
    return {
        name: _Point(rows, spread.mean, spread.deviation)
        for name, (rows, spread) in spreads.items()
        if spread is not None and spread.mean is not None
    }


def _line(points: list[list[_Point]]) -> _Line:
    return _Line(
        [float(np.median([point.rows for point in asked])) for asked in points],
        [float(np.mean([point.mean for point in asked])) for asked in points],
        # Of several sets, the spread over seeds of each says nothing about that of their mean.
        [asked[0].deviation if len(asked) == 1 else None for asked in points],
    )


def _draw(lines: Mapping[str, _Line], metric: str, sets: int, picture: Path) -> None:
    others = picture.with_suffix(".svg"), picture.with_suffix(".pdf")
    with accompanying(picture, *others), drawing(picture, 3.4, 2.6, *others, font_size=7.0) as figure:
        axes = figure.subplots()
        for (method, line), color, mark in zip(lines.items(), _COLORS, _MARKS, strict=False):
            spread = None if None in line.deviations else line.deviations
            axes.errorbar(
                line.rows, line.means, yerr=spread, label=method, color=color, marker=mark, markersize=3, linewidth=1,
                capsize=2,
            )  # fmt: skip
        ticks = sorted({rows for line in lines.values() for rows in line.rows})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{rows:,.0f}" for rows in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("training rows" if sets == 1 else f"training rows (median of {sets} sets)")
        axes.set_ylabel(PRINTED_NAMES.get(metric, metric))
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.legend(frameon=False)
