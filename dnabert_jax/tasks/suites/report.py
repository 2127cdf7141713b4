"""Reports the results of a suite: tables by method, set, factor and cell, averages, paired tests, curves, plots."""

import csv
import dataclasses
import itertools
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dnabert_jax import storage
from dnabert_jax.io import markdown
from dnabert_jax.io.markdown import escaped
from dnabert_jax.io.peak_index import PeakFile, peak_set_name
from dnabert_jax.io.pictures import COLORS, MARKS, accompanying, drawing
from dnabert_jax.storage import Location, is_url, join, visible_files
from dnabert_jax.tasks.datasets.labels import listed
from dnabert_jax.tasks.measures.metrics import better, validation_metric
from dnabert_jax.tasks.measures.results import Result, is_at_chance, over_seeds
from dnabert_jax.tasks.suites.suite import Method

Table = Mapping[str, Mapping[str, float]]
"""Metrics of data sets: name of the set, key of the metric, value; what is undefined is absent."""

Curve = Mapping[str, Mapping[str, Sequence[Result]]]
"""Results by the training rows that were asked for, from few to all, and by method."""

_Columns = Mapping[str, Sequence[float]]
_EXPERIMENT_COLUMNS = ("cell", "factor", "treatment")
_GROUPS = ("factor", "cell")
"""The columns by which sets are grouped."""
_NOTED_SETS = 10
"""Sets whose notes are in the summary."""
_LARGEST_GROUPS = 10
"""Factors, and cells, whose means are in the summary."""
_FEWEST_SETS = 6
"""Sets of which a two-sided signed-rank test can say p < 0.05."""
_PRINTED_NAMES = {"roc_auc": "ROC AUC", "mcc": "MCC", "f1": "F1", "f1_macro": "macro F1", "r2": "R2"}
_COLUMN_WIDTH = 3.4
"""Inches of a column of a paper."""
_PANEL = 1.8
_LABEL_LETTERS = 26
_FEW = 100
"""Sets up to which marks are large."""
_ABOVE, _BELOW, _EQUAL = ((MARKS[number], COLORS[number]) for number in range(3))


def write_report(
    results: Mapping[Method, Sequence[Result]],
    failures: Mapping[str, str],
    metrics: Sequence[str],
    out: Location,
    others: Mapping[str, Table],
    index: Mapping[str, PeakFile] | None = None,
    ours: str = "finetuned",
    about: str = "",
) -> tuple[str, tuple[str, ...]]:
    """Writes tables and pictures (docs/suites.md) into `out`; returns the summary and the names of files and folders.

    A picture that cannot be drawn is a warning.

    Args:
        failures: reasons by METHOD/SET.
        metrics: to average and to test by, besides those that a result of another problem is selected by.
        others: tables of other systems to compare with, by name.
        index: what `files.txt` says of peak files, by the last part of the names of sets.
        ours: the method that the others are compared with.
        about: a sentence on what was evaluated.
    """
    all_results = list(itertools.chain(*results.values()))
    selecting = [validation_metric(result.task) for result in all_results]
    metrics = tuple(dict.fromkeys([*metrics, *selecting]))
    tables: dict[str, Table] = {**{name: suite_table(of_method) for name, of_method in results.items()}, **others}
    sets = sorted({result.name for result in all_results})
    last_parts = {name: peak_set_name(name.rpartition("/")[2]) for name in sets}
    experiments = {name: index[part] for name, part in last_parts.items() if index and part in index}
    by_metric = {metric: MetricTable.of(tables, sets, metric) for metric in metrics}
    of_suite: dict[str, Table] = {
        name: {row: table[row] for row in table if row in sets} for name, table in tables.items()
    }
    parts = ["# Results of the suite", "", *([escaped(about), ""] if about else [])]
    for name, table in of_suite.items():
        parts += [f"## {escaped(name)}", "", _averages(table, metrics)]
    for name, table in tables.items() if ours in tables else ():
        if name != ours:
            tests = [line for metric in metrics for line in comparison(tables[ours], table, metric, ours, name)]
            parts += [f"## {ours} against {escaped(name)}", "", *(tests or ["No set has a metric in both."]), ""]
    for group in _GROUPS if experiments else ():
        parts += _group_summary(by_metric[selecting[0]], experiments, group)
    if warnings := _not_learned(results):
        parts += ["## Not learned", "", *warnings, ""]
    if notes := list(_notes(results)):
        parts += ["## The data", "", *notes, ""]
    if failures:
        parts += ["## No result", "", *_failures_by_set(failures), ""]
    text = "\n".join(parts)
    with storage.scratch_directory() as folder:
        for method, of_method in results.items():
            write_suite(of_method, folder / f"{method}.tsv", experiments)
        for by_set in by_metric.values():
            _write_metric(by_set, experiments, folder)
        storage.write_text(folder / "summary.md", text)
        draw_pairs(by_metric[selecting[0]], ours, folder / "pairs.png")
        _draw_boxes(of_suite, folder / "boxes.png", metrics)
        return text, _copied(folder, out)


def write_learning_curve(curve: Curve, metric: str, out: Location) -> tuple[str, tuple[str, ...]]:
    """Writes learning-curve as TSV, a row for each set and number of rows, as Markdown, and as PNG, SVG and PDF.

    A set with fewer rows than asked for is trained on all that it has. Means in the Markdown table and in the plot are
    over the sets that have the metric by every method with every number of rows.

    Returns:
        The Markdown, and the names of the files.
    """
    sets = sorted({result.name for results in curve.values() for result in itertools.chain(*results.values())})
    rows, tables = {}, {}
    cells: dict[tuple[str, int], dict[str, float]] = {}
    for asked, results in curve.items():
        rows[asked] = {result.name: result.sizes["train"] for result in itertools.chain(*results.values())}
        suites = {method: suite_table(of_method) for method, of_method in results.items()}
        tables[asked] = MetricTable.of(suites, sets, metric)
        for name, values in tables[asked].values.items():
            cells.setdefault((name, rows[asked][name]), {}).update(values)
    all_methods = list(dict.fromkeys(method for table in tables.values() for method in table.methods))
    # A method that failed on every set with some number of rows has no line.
    methods = tuple(method for method in all_methods if all(method in table.methods for table in tables.values()))
    complete = [
        name for name in sets if all(table.values.get(name, {}).keys() >= {*methods} for table in tables.values())
    ]
    shown = tables if complete else {}
    means = [table.means(complete, methods) for table in shown.values()]
    medians = [float(np.median([rows[asked][name] for name in complete])) for asked in shown]
    lines = [
        [asked, f"{median:,.0f}", *(f"{mean:.4f}" for mean in figures)]
        for asked, median, figures in zip(shown, medians, means, strict=True)
    ]
    text = markdown.table(["training rows asked for", "median", *methods], lines) + "\n"
    text += f"\nMean {_PRINTED_NAMES.get(metric, metric)} over {len(complete)} of {len(sets)} sets.\n"
    if missing := [method for method in all_methods if method not in methods]:
        text += f"Not here, as results are missing with some numbers of rows: {', '.join(missing)}.\n"
    with storage.scratch_directory() as folder:
        table_rows = [[*key, *map(row.get, all_methods)] for key, row in sorted(cells.items())]
        _write_tsv(folder / "learning-curve.tsv", ["name", "training_rows", *all_methods], table_rows)
        storage.write_text(folder / "learning-curve.md", text)
        if complete and methods:
            columns = dict(zip(methods, zip(*means, strict=True), strict=True))
            spreads = _spreads(curve, metric, methods) if len(sets) == 1 else {}
            _draw_curve(medians, columns, spreads, metric, len(complete), folder / "learning-curve.png")
        return text, _copied(folder, out)


def _copied(folder: Path, out: Location) -> tuple[str, ...]:
    """Copies the files in a folder, at any depth, each whole or not at all; returns the names of files and folders."""
    for path in visible_files(folder):
        copy = join(out, path.relative_to(folder).as_posix())
        if not is_url(copy):
            Path(copy).parent.mkdir(exist_ok=True)
        storage.write(copy, path.read_bytes())
    return tuple(sorted(path.name + "/" * path.is_dir() for path in folder.iterdir()))


def suite_table(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Returns the mean over seeds of each set's metrics, by name of the set, except those of single labels."""
    spreads = {result.name: over_seeds(result).items() for result in results}
    return {
        name: {key: spread.mean for key, spread in of_set if spread.mean is not None and "/" not in key}
        for name, of_set in spreads.items()
    }


def write_suite(results: Sequence[Result], path: Path, experiments: Mapping[str, PeakFile]) -> None:
    """Writes a row per set: sizes, seeds, seconds, mean over seeds of each metric and, if there are several, its sd.

    Tabs separate columns. An undefined metric is an empty cell. Cell, factor, treatment and laboratory are there if
    experiments are known.
    """
    rows = []
    for result in sorted(results, key=lambda result: result.name):
        row: dict[str, object] = {"name": result.name}
        if experiments:
            experiment = experiments.get(result.name, PeakFile(""))
            row |= {column: getattr(experiment, column) for column in (*_EXPERIMENT_COLUMNS, "lab")}
        row |= {"model": result.model, "problem": result.task.problem}
        row |= {split: result.sizes.get(split, 0) for split in ("train", "validation", "test")}
        row["seeds"] = " ".join(str(seed.seed) for seed in result.seeds)
        row["seconds"] = round(sum(seed.seconds for seed in result.seeds), 3)
        row["collapsed"] = sum(seed.collapsed for seed in result.seeds)
        for key, spread in over_seeds(result).items():
            if "/" not in key:
                row[key] = spread.mean
                if len(result.seeds) > 1:
                    row[f"{key}_sd"] = spread.deviation
        rows.append(row)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    _write_tsv(path, columns, [map(row.get, columns) for row in rows])


def _write_tsv(path: Path, head: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Writes rows with tabs between their cells; None is an empty cell."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([head, *rows])


@dataclasses.dataclass(frozen=True)
class MetricTable:
    """One metric by set and method.

    Attributes:
        values: by name of the set, then by method; what is undefined is absent.
    """

    metric: str
    methods: tuple[str, ...]
    values: Mapping[str, Mapping[str, float]]

    @staticmethod
    def of(tables: Mapping[str, Table], sets: Sequence[str], metric: str) -> "MetricTable":
        """Returns a metric of sets by the methods that have it of any of them."""
        values = {
            name: {method: table[name][metric] for method, table in tables.items() if metric in table.get(name, {})}
            for name in sets
        }
        methods = tuple(method for method in tables if any(method in row for row in values.values()))
        return MetricTable(metric, methods, {name: row for name, row in values.items() if row})

    @property
    def complete(self) -> list[str]:
        """Returns the sets of which all methods have a value."""
        return [name for name, row in self.values.items() if len(row) == len(self.methods)]

    def means(self, sets: Collection[str], methods: Sequence[str] | None = None) -> list[float]:
        """Returns the mean of each method, or of those that are named, over sets."""
        methods = self.methods if methods is None else methods
        return [float(np.mean([self.values[name][method] for name in sets])) for method in methods]

    def group_means(self, experiments: Mapping[str, PeakFile], group: str) -> list[tuple[str, int, list[float]]]:
        """Returns name, number of sets and means of each factor or cell, largest first, over the complete sets."""
        members: dict[str, list[str]] = {}
        for name in self.complete:
            if value := getattr(experiments.get(name), group, ""):
                members.setdefault(value, []).append(name)
        rows = [(value, len(names), self.means(names)) for value, names in members.items()]
        return sorted(rows, key=lambda row: (-row[1], row[0]))


def _write_metric(table: MetricTable, experiments: Mapping[str, PeakFile], folder: Path) -> None:
    """Writes by-set/METRIC.tsv and .md, and by-factor/METRIC.tsv and by-cell/METRIC.tsv, unless no set has the metric.

    The last row of a table by set has the means over the sets that all methods have. Without experiments there are no
    columns of them, and no tables by factor and cell.
    """
    if not table.values:
        return
    known = _EXPERIMENT_COLUMNS if experiments else ()
    rows: list[list[object]] = [
        [name, *(getattr(experiments.get(name), column, "") for column in known), *map(row.get, table.methods)]
        for name, row in table.values.items()
    ]
    if complete := table.complete:
        rows.append([f"mean of {_sets(len(complete))}", *[""] * len(known), *table.means(complete)])
    path = folder / "by-set" / table.metric
    path.parent.mkdir(exist_ok=True)
    head = ["name", *known, *table.methods]
    _write_tsv(path.with_suffix(".tsv"), head, rows)
    cells = [[f"{cell:.4f}" if isinstance(cell, float) else str(cell or "") for cell in row] for row in rows]
    storage.write_text(path.with_suffix(".md"), markdown.table(head, cells, texts=1 + len(known)) + "\n")
    for group in _GROUPS if experiments else ():
        path = folder / f"by-{group}" / f"{table.metric}.tsv"
        path.parent.mkdir(exist_ok=True)
        means = table.group_means(experiments, group)
        _write_tsv(path, [group, "sets", *table.methods], [[value, sets, *figures] for value, sets, figures in means])


def _averages(table: Table, metrics: Sequence[str]) -> str:
    """Returns a table of mean and median over sets of each metric that any set has."""
    rows = []
    for key in metrics:
        if values := [row[key] for row in table.values() if key in row]:
            left_out = len(table) - len(values)
            rows.append([key, f"{np.mean(values):.4f}", f"{np.median(values):.4f}", f"{len(values)}", f"{left_out}"])
    return markdown.table(["metric", "mean", "median", "sets", "left out"], rows) + "\n"


def comparison(ours: Table, theirs: Table, metric: str, our_name: str, their_name: str) -> list[str]:
    """Returns lines on a paired Wilcoxon signed-rank test over the sets that have a metric in both tables.

    There are none if no set has it. There is no p-value of fewer than 6 sets, where it cannot be below 0.05.
    """
    from scipy.stats import rankdata, wilcoxon

    tables = {"ours": ours, "the baseline": theirs}
    pairs: list[float] = []
    left_out: dict[str, list[str]] = {}
    for name in sorted({*ours, *theirs}):
        missing = [title for title, table in tables.items() if name not in table]
        undefined = [title for title, table in tables.items() if metric not in table.get(name, {})]
        if undefined:
            reason = f"not in {missing[0]}" if missing else f"undefined in {' and '.join(undefined)}"
            left_out.setdefault(reason, []).append(name)
        else:
            pairs.append(ours[name][metric] - theirs[name][metric])
    if not pairs:
        return []
    direction = better(metric)
    gains = np.array(pairs) if direction == "higher" else -np.array(pairs)
    more, fewer, equal = (int(compare(gains, 0).sum()) for compare in (np.greater, np.less, np.equal))
    p = "no set differs" if len(gains) >= _FEWEST_SETS else f"no p-value (fewer than {_FEWEST_SETS} sets)"
    if gains.any() and len(gains) >= _FEWEST_SETS:
        balance = np.sum(np.sign(gains) * rankdata(np.abs(gains)))
        favoured = escaped(our_name if balance > 0 else their_name if balance < 0 else "neither")
        p = f"p = {wilcoxon(gains).pvalue:.3g} by a two-sided paired Wilcoxon test, in favour of {favoured}"
    return [
        f"- {metric} ({direction} is better): {escaped(our_name)} is better on {more} of {_sets(len(gains))}, worse on "
        f"{fewer}, equal on {equal}; median difference {np.median(pairs):+.4f}; {p}.",
        *(f"  - left out: {escaped(listed(names))}, {reason}" for reason, names in left_out.items()),
    ]


def _group_summary(table: MetricTable, experiments: Mapping[str, PeakFile], group: str) -> Iterator[str]:
    """Yields a table of the means of the largest groups."""
    if not (means := table.group_means(experiments, group)):
        return
    largest = means[:_LARGEST_GROUPS]
    rows = [[value, str(sets), *(f"{mean:.4f}" for mean in figures)] for value, sets, figures in largest]
    yield from (f"## Mean {table.metric} by {group}", "")
    yield from (f"Sets that all methods have: {len(table.complete)} of {len(table.values)}.", "")
    yield from (markdown.table([group, "sets", *table.methods], rows), "")
    if len(means) > _LARGEST_GROUPS:
        yield from (f"These {group}s have the most sets. All {len(means)} are in by-{group}/.", "")


def _not_learned(results: Mapping[Method, Sequence[Result]]) -> list[str]:
    """Returns lines on models that collapsed, then on those that may be guessing."""
    collapsed, at_chance = [], []
    for method, of_method in results.items():
        seeds = [(seed.collapsed, result.name) for result in of_method for seed in result.seeds]
        if names := [name for has_collapsed, name in seeds if has_collapsed]:
            count = f"{len(names)} of {len(seeds)} models collapsed to one class, so that their figures mean little"
            collapsed.append(f"- {method}: {count}: {escaped(', '.join(dict.fromkeys(names)))}")
        if names := [result.name for result in of_method if is_at_chance(result)]:
            count = f"on {len(names)} of {len(of_method)} sets the interval of the ROC AUC or R2 reaches guessing"
            at_chance.append(f"- {method}: {count}: {escaped(', '.join(names))}")
    return collapsed + at_chance


def _notes(results: Mapping[Method, Sequence[Result]]) -> Iterator[str]:
    """Yields what was decided or seen as the sets were read, of the first sets."""
    noted = [result for result in itertools.chain(*results.values()) if result.notes]
    notes = {f"- {escaped(result.name)}: {escaped(' '.join(result.notes))}" for result in noted}
    yield from sorted(notes)[:_NOTED_SETS]
    if len(notes) > _NOTED_SETS:
        yield f"- and notes on {len(notes) - _NOTED_SETS} others, in their results"


def _failures_by_set(failures: Mapping[str, str]) -> list[str]:
    """Returns a line for each set and reason, from reasons by METHOD/SET."""
    by_set: dict[tuple[str, str], list[str]] = {}
    for name, reason in failures.items():
        method, _, set_name = name.partition("/")
        by_set.setdefault((set_name, reason), []).append(method)
    sentences = [f"{name} ({', '.join(methods)}): {reason}" for (name, reason), methods in sorted(by_set.items())]
    return [f"- {escaped(sentence)}" for sentence in sentences]


def _sets(count: int) -> str:
    return f"{count} set{'s' * (count != 1)}"


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
    width, height = (_COLUMN_WIDTH, _PANEL * lines) if columns == 2 else (_COLUMN_WIDTH * 0.75, _COLUMN_WIDTH * 0.75)
    ends = np.array([f(np.concatenate([*pairs.values()])) for f in (np.min, np.max)])
    ends += np.array([-0.06, 0.06]) * (np.ptp(ends) or 0.1)
    name = _PRINTED_NAMES.get(table.metric, table.metric)
    others = picture.with_suffix(".svg"), picture.with_suffix(".pdf")
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


def _draw_boxes(tables: Mapping[str, Table], picture: Path, metrics: Sequence[str]) -> None:
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


def _spreads(curve: Curve, metric: str, methods: Sequence[str]) -> dict[str, list[float]]:
    """Returns the deviation over seeds, for each number of rows, of the methods that have several seeds, on one set."""
    spreads = {
        method: [over_seeds(by_method[method][0])[metric].deviation for by_method in curve.values()]
        for method in methods
    }
    return {method: [s for s in column if s is not None] for method, column in spreads.items() if None not in column}


def _draw_curve(
    rows: Sequence[float], means: _Columns, spreads: _Columns, metric: str, sets: int, picture: Path
) -> None:
    others = picture.with_suffix(".svg"), picture.with_suffix(".pdf")
    with accompanying(picture, *others), drawing(picture, _COLUMN_WIDTH, 2.6, *others, font_size=7.0) as figure:
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
        axes.set_ylabel(_PRINTED_NAMES.get(metric, metric))
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.legend(frameon=False)
