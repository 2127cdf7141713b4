"""What a suite's results come to: a table a contender, averages, tests against the baselines, box plots."""

from collections.abc import Mapping, Sequence

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
        results: of each contender; at least one.
        failures: reasons by CONTENDER/SET.
        metrics: to average and to test by, besides those that a result of another problem is selected by.
        out: directory of the results, local or on a store.
        others: tables of other systems to compare with, by name.
    """
    own_metrics = (validation_metric(result.task) for own in results.values() for result in own)
    metrics = tuple(dict.fromkeys([*metrics, *own_metrics]))
    tables: dict[str, Table] = {str(contender): suite_table(own) for contender, own in results.items()} | dict(others)
    parts = ["# Results of the suite", ""]
    for name, table in tables.items():
        parts += [f"## {name}", "", summary_markdown(summarise(table, metrics))]
    ours = tables.get("finetuned", {})
    for name, table in tables.items():
        tests = [compare(ours, table, key) for key in metrics if _in_both(ours, table, key)]
        if name != "finetuned" and tests:
            parts += [f"## finetuned against {name}", "", comparison_markdown(tests)]
    if collapsed := [
        f"- {contender}: {sum(seed.collapsed for one in own for seed in one.seeds)} of "
        f"{sum(len(one.seeds) for one in own)} models collapsed to one class, so that their figures mean little: "
        f"{', '.join(one.name for one in own if any(seed.collapsed for seed in one.seeds))}"
        for contender, own in results.items()
        if any(seed.collapsed for one in own for seed in one.seeds)
    ]:
        parts += ["## Collapsed", "", *collapsed, ""]
    if failures:
        parts += ["## No result", "", *(f"- {line}" for line in failures_by_set(failures)), ""]
    text = "\n".join(parts)
    with storage.scratch_directory() as folder:
        for contender, own in results.items():
            write_suite(own, folder / f"{contender}.tsv")
        storage.write_text(folder / SUMMARY_FILE, text)
        if any(summarise(table, metrics) for table in tables.values()):
            draw_boxes(tables, folder / BOXES_FILE, metrics)
        names = tuple(sorted(path.name for path in folder.iterdir()))
        for name in names:
            storage.write(join(out, name), (folder / name).read_bytes())
    return text, names


def failures_by_set(failures: Mapping[str, str]) -> list[str]:
    """A sentence for each set and reason, from reasons by CONTENDER/SET."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, reason in failures.items():
        contender, _, own = name.partition("/")
        found.setdefault((own, reason), []).append(contender)
    return [f"{own} ({', '.join(contenders)}): {reason}" for (own, reason), contenders in sorted(found.items())]


def _in_both(ours: Table, other: Table, key: str) -> bool:
    return any(key in other[name] and key in row for name, row in ours.items() if name in other)
