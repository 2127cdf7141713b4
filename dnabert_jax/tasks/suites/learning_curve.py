"""Learning curves: a metric of each method against the training rows that it was given."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dnabert_jax import storage
from dnabert_jax.io import markdown
from dnabert_jax.io.pictures import COLORS, MARKS, accompanying, drawing
from dnabert_jax.tasks.measures.results import Result, over_seeds
from dnabert_jax.tasks.suites.by_set import PRINTED_NAMES, metric_table
from dnabert_jax.tasks.suites.summary import suite_table, write_tsv

CURVE = "learning-curve"
"""The name of the table and of the plot, without their endings."""

Curve = Mapping[str, Mapping[str, Sequence[Result]]]
"""Results by the training rows that were asked for, from few to all, and by method."""


def write_learning_curve(curve: Curve, metric: str, folder: Path) -> str:
    """Writes learning-curve as TSV, a row for each set and number of rows, as Markdown, and as PNG, SVG and PDF.

    A set with fewer rows than asked for is trained on all that it has. Means in the Markdown table, which is returned,
    and in the plot are over the sets that have the metric by every method with every number of rows.
    """
    results = [(asked, result) for asked, of_asked in curve.items() for own in of_asked.values() for result in own]
    rows = {(asked, result.name): result.sizes["train"] for asked, result in results}
    sets = sorted({result.name for _, result in results})
    tables = {
        asked: metric_table({method: suite_table(own) for method, own in of_asked.items()}, sets, metric)
        for asked, of_asked in curve.items()
    }
    all_methods = dict.fromkeys(method for table in tables.values() for method in table.methods)
    cells: dict[tuple[str, int], dict[str, float]] = {}
    for asked, table in tables.items():
        for name, values in table.values.items():
            cells.setdefault((name, rows[asked, name]), {}).update(values)
    body = [[*key, *(row.get(method, "") for method in all_methods)] for key, row in sorted(cells.items())]
    write_tsv(folder / f"{CURVE}.tsv", ["name", "training_rows", *all_methods], body)
    # A method that failed on every set with some number of rows has no line.
    methods = [method for method in all_methods if all(method in table.methods for table in tables.values())]
    complete = [
        name for name in sets if all(table.values.get(name, {}).keys() >= {*methods} for table in tables.values())
    ]
    means = {
        asked: [float(np.mean([table.values[name][method] for name in complete])) for method in methods]
        for asked, table in tables.items()
        if complete
    }
    medians = [float(np.median([rows[asked, name] for name in complete])) for asked in means]
    lines = [
        [asked, f"{median:,.0f}", *(f"{mean:.4f}" for mean in means[asked])]
        for asked, median in zip(means, medians, strict=True)
    ]
    text = markdown.table(["training rows asked for", "median", *methods], lines) + "\n"
    text += f"\nMean {PRINTED_NAMES.get(metric, metric)} over {len(complete)} of {len(sets)} sets.\n"
    if missing := [method for method in all_methods if method not in methods]:
        text += f"Not here, as results are missing with some numbers of rows: {', '.join(missing)}.\n"
    storage.write_text(folder / f"{CURVE}.md", text)
    if complete and methods:
        spreads = _spreads(curve, metric, methods) if len(sets) == 1 else {}
        columns = dict(zip(methods, zip(*means.values(), strict=True), strict=True))
        _draw(medians, columns, spreads, metric, len(complete), folder / f"{CURVE}.png")
    return text


def _spreads(curve: Curve, metric: str, methods: Sequence[str]) -> dict[str, list[float]]:
    """Returns the deviation over seeds, for each number of rows, of the methods that have several seeds, on one set."""
    spreads = {
        method: [over_seeds(of_asked[method][0])[metric].deviation for of_asked in curve.values()] for method in methods
    }
    return {
        method: known for method, own in spreads.items() if len(known := [s for s in own if s is not None]) == len(own)
    }


def _draw(
    rows: Sequence[float],
    means: Mapping[str, Sequence[float]],
    spreads: Mapping[str, Sequence[float]],
    metric: str,
    sets: int,
    picture: Path,
) -> None:
    others = picture.with_suffix(".svg"), picture.with_suffix(".pdf")
    with accompanying(picture, *others), drawing(picture, 3.4, 2.6, *others, font_size=7.0) as figure:
        axes = figure.subplots()
        for (method, values), color, mark in zip(means.items(), COLORS, MARKS, strict=False):
            axes.errorbar(
                rows, values, yerr=spreads.get(method), label=method, color=color, marker=mark, markersize=3,
                linewidth=1, capsize=2,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(rows, [f"{count:,.0f}" for count in rows])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("training rows" if sets == 1 else f"training rows (median of {sets} sets)")
        axes.set_ylabel(PRINTED_NAMES.get(metric, metric))
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.legend(frameon=False)
