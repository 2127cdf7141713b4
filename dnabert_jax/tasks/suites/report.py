"""Reports the results of a suite: a table for each contender, averages, tests against the baselines, box plots."""

from collections.abc import Iterator, Mapping, Sequence

from dnabert_jax import storage
from dnabert_jax.storage import Location, join
from dnabert_jax.tasks.measures.metrics import validation_metric
from dnabert_jax.tasks.measures.results import Result
from dnabert_jax.tasks.suites.directory import Contender
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

SUMMARY_FILE, BOXES_FILE = "summary.md", "boxes.png"


def write_report(
    results: Mapping[Contender, Sequence[Result]],
    failures: Mapping[str, str],
    metrics: Sequence[str],
    out: Location,
    others: Mapping[str, Table],
) -> tuple[str, tuple[str, ...]]:
    """Writes CONTENDER.tsv, summary.md and boxes.png into `out`; returns the summary and the names of the files.

    A picture that cannot be drawn is a warning.

    Args:
        failures: reasons by CONTENDER/SET.
        metrics: to average and to test by, besides those that a result of another problem is selected by.
        others: tables of other systems to compare with, by name.
    """
    selecting = (validation_metric(result.task) for of_contender in results.values() for result in of_contender)
    metrics = tuple(dict.fromkeys([*metrics, *selecting]))
    tables: dict[str, Table] = {**{name: suite_table(of_contender) for name, of_contender in results.items()}, **others}
    parts = ["# Results of the suite", ""]
    for name, table in tables.items():
        parts += [f"## {name}", "", summary_markdown(summarise(table, metrics))]
    ours = tables.get("finetuned", {})
    for name, table in tables.items():
        common = [(row, table[own]) for own, row in ours.items() if own in table]
        in_both = [key for key in metrics if any(key in row and key in other for row, other in common)]
        if name != "finetuned" and in_both:
            tests = [compare(ours, table, key) for key in in_both]
            parts += [f"## finetuned against {name}", "", comparison_markdown(tests)]
    if collapsed := list(_collapsed(results)):
        parts += ["## Collapsed", "", *collapsed, ""]
    if failures:
        parts += ["## No result", "", *(f"- {line}" for line in failures_by_set(failures)), ""]
    text = "\n".join(parts)
    with storage.scratch_directory() as folder:
        for contender, of_contender in results.items():
            write_suite(of_contender, folder / f"{contender}.tsv")
        storage.write_text(folder / SUMMARY_FILE, text)
        draw_boxes(tables, folder / BOXES_FILE, metrics)
        names = tuple(sorted(path.name for path in folder.iterdir()))
        for name in names:
            storage.write(join(out, name), (folder / name).read_bytes())
    return text, names


def _collapsed(results: Mapping[Contender, Sequence[Result]]) -> Iterator[str]:
    for contender, of_contender in results.items():
        seeds = [(seed.collapsed, result.name) for result in of_contender for seed in result.seeds]
        if names := [name for has_collapsed, name in seeds if has_collapsed]:
            count = f"{len(names)} of {len(seeds)} models collapsed to one class, so that their figures mean little"
            yield f"- {contender}: {count}: {', '.join(dict.fromkeys(names))}"


def failures_by_set(failures: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each set and reason, from reasons by CONTENDER/SET."""
    by_set: dict[tuple[str, str], list[str]] = {}
    for name, reason in failures.items():
        contender, _, set_name = name.partition("/")
        by_set.setdefault((set_name, reason), []).append(contender)
    return [f"{name} ({', '.join(contenders)}): {reason}" for (name, reason), contenders in sorted(by_set.items())]
