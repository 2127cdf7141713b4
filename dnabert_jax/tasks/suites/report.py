"""Reports the results of a suite: tables by method, set, factor and cell, averages, tests against baselines, plots."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dnabert_jax import storage
from dnabert_jax.io import markdown
from dnabert_jax.io.markdown import escaped
from dnabert_jax.io.peak_index import PeakFile
from dnabert_jax.storage import Location, is_url, join, visible_files
from dnabert_jax.tasks.measures.metrics import validation_metric
from dnabert_jax.tasks.measures.results import Result, is_at_chance
from dnabert_jax.tasks.suites.by_set import (
    GROUPS,
    Experiments,
    MetricTable,
    draw_pairs,
    experiments_of,
    group_means,
    metric_table,
    write_metric,
)
from dnabert_jax.tasks.suites.suite import Method
from dnabert_jax.tasks.suites.summary import (
    Table,
    compare,
    comparison_markdown,
    draw_boxes,
    suite_table,
    summarise,
    summary_markdown,
    write_suite,
)

SUMMARY_FILE, BOXES_FILE, PAIRS_FILE = "summary.md", "boxes.png", "pairs.png"
_NOTED_SETS = 10
"""Sets whose notes are in the summary."""
_LARGEST_GROUPS = 10
"""Factors, and cells, whose means are in the summary."""


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
    selecting = [validation_metric(result.task) for of_method in results.values() for result in of_method]
    metrics = tuple(dict.fromkeys([*metrics, *selecting]))
    tables: dict[str, Table] = {**{name: suite_table(of_method) for name, of_method in results.items()}, **others}
    sets = {result.name for of_method in results.values() for result in of_method}
    experiments = experiments_of(sets, index or {})
    by_metric = {metric: metric_table(tables, sets, metric) for metric in metrics}
    parts = ["# Results of the suite", "", *([escaped(about), ""] if about else [])]
    of_suite = {name: {own: table[own] for own in table if own in sets} for name, table in tables.items()}
    for name, table in of_suite.items():
        parts += [f"## {escaped(name)}", "", summary_markdown(summarise(table, metrics))]
    parts += _comparisons(tables, metrics, ours)
    for group in GROUPS if experiments else ():
        parts += _groups(by_metric[selecting[0]], experiments, group)
    if warnings := [*_collapsed(results), *_at_chance(results)]:
        parts += ["## Not learned", "", *warnings, ""]
    if notes := list(_notes(results)):
        parts += ["## The data", "", *notes, ""]
    if failures:
        parts += ["## No result", "", *(f"- {escaped(line)}" for line in failures_by_set(failures)), ""]
    text = "\n".join(parts)
    with storage.scratch_directory() as folder:
        for method, of_method in results.items():
            write_suite(of_method, folder / f"{method}.tsv", experiments)
        for by_set in by_metric.values():
            if by_set.values:
                write_metric(by_set, experiments, folder)
        storage.write_text(folder / SUMMARY_FILE, text)
        draw_pairs(by_metric[selecting[0]], ours, folder / PAIRS_FILE)
        draw_boxes(of_suite, folder / BOXES_FILE, metrics)
        copy_files(folder, out)
        return text, tuple(sorted(path.name + "/" * path.is_dir() for path in folder.iterdir()))


def copy_files(folder: Path, out: Location) -> None:
    """Copies the files in a folder, at any depth, into a directory or store, each whole or not at all."""
    for path in visible_files(folder):
        copy = join(out, path.relative_to(folder).as_posix())
        if not is_url(copy):
            Path(copy).parent.mkdir(exist_ok=True)
        storage.write(copy, path.read_bytes())


def _comparisons(tables: Mapping[str, Table], metrics: Sequence[str], ours: str) -> Iterator[str]:
    """Yields the tests of our method against each other."""
    our_table = tables.get(ours, {})
    for name, table in tables.items():
        if our_table and name != ours:
            common = [(row, table[own]) for own, row in our_table.items() if own in table]
            in_both = [key for key in metrics if any(key in row and key in other for row, other in common)]
            tests = comparison_markdown([compare(our_table, table, key) for key in in_both], ours, name)
            yield from (
                f"## {ours} against {escaped(name)}",
                "",
                tests if in_both else "No set has a metric in both.\n",
            )


def _groups(table: MetricTable, experiments: Experiments, group: str) -> Iterator[str]:
    """Yields a table of the means of the largest groups."""
    means = group_means(table, experiments, group)
    if means:
        largest = means[:_LARGEST_GROUPS]
        rows = [[value, str(sets), *(f"{mean:.4f}" for mean in figures)] for value, sets, figures in largest]
        counted = f"Sets that all methods have: {len(table.complete)} of {len(table.values)}."
        yield from (
            f"## Mean {table.metric} by {group}",
            "",
            counted,
            "",
            markdown.table([group, "sets", *table.methods], rows),
            "",
        )
    if len(means) > _LARGEST_GROUPS:
        yield from (f"These {group}s have the most sets. All {len(means)} are in by-{group}/.", "")


def _collapsed(results: Mapping[Method, Sequence[Result]]) -> Iterator[str]:
    for method, of_method in results.items():
        seeds = [(seed.collapsed, result.name) for result in of_method for seed in result.seeds]
        if names := [name for has_collapsed, name in seeds if has_collapsed]:
            count = f"{len(names)} of {len(seeds)} models collapsed to one class, so that their figures mean little"
            yield f"- {method}: {count}: {escaped(', '.join(dict.fromkeys(names)))}"


def _notes(results: Mapping[Method, Sequence[Result]]) -> Iterator[str]:
    """Yields what was decided or seen as the sets were read, of the first sets."""
    notes = {
        f"- {escaped(result.name)}: {escaped(' '.join(result.notes))}"
        for of_method in results.values()
        for result in of_method
        if result.notes
    }
    yield from sorted(notes)[:_NOTED_SETS]
    if len(notes) > _NOTED_SETS:
        yield f"- and notes on {len(notes) - _NOTED_SETS} others, in their results"


def _at_chance(results: Mapping[Method, Sequence[Result]]) -> Iterator[str]:
    for method, of_method in results.items():
        if names := [result.name for result in of_method if is_at_chance(result)]:
            count = f"on {len(names)} of {len(of_method)} sets the interval of the ROC AUC or R2 reaches guessing"
            yield f"- {method}: {count}: {escaped(', '.join(names))}"


def failures_by_set(failures: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each set and reason, from reasons by METHOD/SET."""
    by_set: dict[tuple[str, str], list[str]] = {}
    for name, reason in failures.items():
        method, _, set_name = name.partition("/")
        by_set.setdefault((set_name, reason), []).append(method)
    return [f"{name} ({', '.join(methods)}): {reason}" for (name, reason), methods in sorted(by_set.items())]
