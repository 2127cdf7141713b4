"""Tables of one metric of a suite, with a row for each set and a column for each method; means of groups; plots."""

import dataclasses
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from dnabert_jax import storage
from dnabert_jax.io import markdown
from dnabert_jax.io.peak_index import PeakFile, peak_set_name
from dnabert_jax.io.pictures import COLORS, MARKS, accompanying, drawing
from dnabert_jax.tasks.suites.summary import Table, write_tsv

EXPERIMENT_COLUMNS = ("cell", "factor", "treatment")
GROUPS = ("factor", "cell")
"""The columns by which sets are grouped."""

PRINTED_NAMES = {"roc_auc": "ROC AUC", "mcc": "MCC", "f1": "F1", "f1_macro": "macro F1", "r2": "R2"}
_COLUMN_WIDTH = 3.4
"""Inches of a column of a paper."""
_PANEL = 1.8
_LABEL_LETTERS = 26
_FEW = 100
"""Sets up to which marks are large."""
_ABOVE, _BELOW, _EQUAL = ((MARKS[number], COLORS[number]) for number in range(3))

Experiments = Mapping[str, PeakFile]
"""The index entry of each set that has one, by name of the set."""


def experiments_of(sets: Collection[str], index: Mapping[str, PeakFile]) -> dict[str, PeakFile]:
    """Returns the index entry of each set, looked up by the last part of its name."""
    parts = {name: peak_set_name(name.rpartition("/")[2]) for name in sets}
    return {name: index[part] for name, part in parts.items() if part in index}


@dataclasses.dataclass(frozen=True)
class MetricTable:
    """One metric by set and method.

    Attributes:
        values: by name of the set, then by method; what is undefined is absent.
    """

    metric: str
    methods: tuple[str, ...]
    values: Mapping[str, Mapping[str, float]]

    @property
    def complete(self) -> list[str]:
        """Returns the sets of which all methods have a value."""
        return [name for name, row in self.values.items() if len(row) == len(self.methods)]

    def means(self, sets: Collection[str]) -> list[float]:
        """Returns the mean of each method over sets."""
        return [float(np.mean([self.values[name][method] for name in sets])) for method in self.methods]


def metric_table(tables: Mapping[str, Table], sets: Collection[str], metric: str) -> MetricTable:
    """Returns a metric of sets by the methods that have it of any of them."""
    values = {
        name: {method: table[name][metric] for method, table in tables.items() if metric in table.get(name, {})}
        for name in sorted(sets)
    }
    methods = tuple(method for method in tables if any(method in row for row in values.values()))
    return MetricTable(metric, methods, {name: row for name, row in values.items() if row})


def group_means(table: MetricTable, experiments: Experiments, group: str) -> list[tuple[str, int, list[float]]]:
    """Returns name, number of sets and means of each factor or cell, largest first, over the sets that are complete."""
    members: dict[str, list[str]] = {}
    for name in table.complete:
        if value := getattr(experiments.get(name), group, ""):
            members.setdefault(value, []).append(name)
    rows = [(value, len(names), table.means(names)) for value, names in members.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def write_metric(table: MetricTable, experiments: Experiments, folder: Path) -> None:
    """Writes by-set/METRIC.tsv and .md, and by-factor/METRIC.tsv and by-cell/METRIC.tsv.

    The last row of a table by set has the means over the sets that all methods have. Without experiments there are no
    columns of them, and no tables by factor and cell.
    """
    known = EXPERIMENT_COLUMNS if experiments else ()
    rows: list[list[object]] = [
        [name, *(getattr(experiments.get(name), column, "") for column in known), *map(row.get, table.methods)]
        for name, row in table.values.items()
    ]
    if complete := table.complete:
        rows.append([f"mean of {_sets(len(complete))}", *[""] * len(known), *table.means(complete)])
    path = folder / "by-set" / table.metric
    path.parent.mkdir(exist_ok=True)
    head = ["name", *known, *table.methods]
    write_tsv(path.with_suffix(".tsv"), head, rows)
    cells = [[f"{cell:.4f}" if isinstance(cell, float) else str(cell or "") for cell in row] for row in rows]
    storage.write_text(path.with_suffix(".md"), markdown.table(head, cells, texts=1 + len(known)) + "\n")
    for group in GROUPS if experiments else ():
        path = folder / f"by-{group}" / f"{table.metric}.tsv"
        path.parent.mkdir(exist_ok=True)
        means = group_means(table, experiments, group)
        write_tsv(path, [group, "sets", *table.methods], [[value, sets, *figures] for value, sets, figures in means])


def draw_pairs(table: MetricTable, ours: str, picture: Path) -> None:
    """Draws each set's metric by another method (x) and by ours (y), a panel for each other method.

    Beside the PNG file are an SVG and a PDF file. It is as wide as a column of a paper; without pairs nothing is drawn.
    """
    pairs = {
        method: np.array([[row[method], row[ours]] for row in table.values.values() if {method, ours} <= {*row}])
        for method in table.methods
        if method != ours
    }
    pairs = {method: points for method, points in pairs.items() if len(points)}
    if not pairs:
        return
    columns = min(len(pairs), 2)
    lines = -(-len(pairs) // columns)
    others = picture.with_suffix(".svg"), picture.with_suffix(".pdf")
    width, height = (_COLUMN_WIDTH, _PANEL * lines) if columns == 2 else (_COLUMN_WIDTH * 0.75, _COLUMN_WIDTH * 0.75)
    ends = np.array([f(np.concatenate([*pairs.values()])) for f in (np.min, np.max)])
    ends += np.array([-0.06, 0.06]) * (np.ptp(ends) or 0.1)
    name = PRINTED_NAMES.get(table.metric, table.metric)
    with accompanying(picture, *others), drawing(picture, width, height, *others, font_size=7.0) as figure:
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels[len(pairs) :]:
            axes.set_axis_off()
        for axes, (method, points) in zip(panels, pairs.items(), strict=False):
            above, below, equal = (compare(points[:, 1], points[:, 0]) for compare in (np.greater, np.less, np.equal))
            axes.plot(ends, ends, "--", color="grey", linewidth=0.7)
            size = 3 if len(points) <= _FEW else 1.8
            for chosen, (mark, color) in ((above, _ABOVE), (below, _BELOW), (equal, _EQUAL)):
                axes.plot(*points[chosen].T, mark, color=color, markersize=size, alpha=0.7, markeredgewidth=0)
            axes.set_title(f"{above.sum()} above", loc="left", color=_ABOVE[1])
            axes.set_title(f"{below.sum()} below", loc="right", color=_BELOW[1])
            axes.set(xlim=ends, ylim=ends, aspect="equal")
            sets = _sets(len(points)) + f", {equal.sum()} equal" * bool(equal.any())
            axes.set_xlabel(f"{textwrap.fill(f'{name}, {method}', _LABEL_LETTERS)}\n{sets}")
            axes.set_ylabel(f"{name}, {ours}")
            axes.locator_params(nbins=4)
            axes.grid(alpha=0.3, linewidth=0.5)


def _sets(count: int) -> str:
    return f"{count} set{'s' * (count != 1)}"
