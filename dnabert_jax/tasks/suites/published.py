"""Reads figures of other systems to compare with: tables as papers and programs print them."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from dnabert_jax.config import require
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.measures.metrics import is_metric, possible_values
from dnabert_jax.tasks.suites.report import Table

_SET_NAMES = ("name", "set", "dataset", "data_set", "set_name")
_METRIC_NAMES = {
    "acc": "accuracy", "auc": "roc_auc", "auroc": "roc_auc", "rocauc": "roc_auc", "auc_roc": "roc_auc",
    "aupr": "auprc", "auc_pr": "auprc", "pr_auc": "auprc", "average_precision": "auprc", "f1_score": "f1",
    "macro_f1": "f1_macro", "macro_precision": "precision_macro", "macro_recall": "recall_macro",
}  # fmt: skip
"""Other names of metrics; all are compared in lower case, with an underscore for whatever is no letter or digit."""


def read_published(path: Path, sets: Sequence[str]) -> Table:
    """Returns the metrics in a table as `read_table` does, with the names that the sets of a suite have.

    A row is matched to the set with the same name or, failing that, to the only set with the same last path component,
    as `CTCF` to `tf/CTCF`.

    Raises:
        InputError: no row is of a set of the suite, or the table cannot be read.
    """
    table = read_table(path)
    rest = _by_last_part(table), _by_last_part(sets)
    renamed = {
        theirs: rest[1][part]
        for part, theirs in rest[0].items()
        if part in rest[1] and theirs not in sets and rest[1][part] not in table
    }
    matched = {renamed.get(name, name): row for name, row in table.items()}
    if not set(matched) & set(sets):
        raise InputError(
            f"{path} has no set of this suite: it has {next(iter(table), 'no rows')!r}, the suite has {sets[0]!r}. "
            "Names must agree, or their parts behind the last slash."
        )
    return matched


def _by_last_part(names: Collection[str]) -> dict[str, str]:
    """Returns the name for each last part of names that is of one name alone."""
    by_part = {name.rpartition("/")[2]: name for name in names}
    counts = Counter(name.rpartition("/")[2] for name in names)
    return {part: name for part, name in by_part.items() if counts[part] == 1}


def read_table(path: Path) -> dict[str, dict[str, float]]:
    """Returns the metrics in a table, by set: one that `write_suite` wrote, or that of another system.

    The column of the sets is called name, set or dataset; those of metrics have the names of ours, or usual ones such
    as ACC and AUROC, in any case. Other columns are not read; an empty cell is an undefined metric.
    """
    from dnabert_jax.io.tables import open_table  # which loads Arrow

    file = open_table(path)
    usual = {column: re.sub("[^a-z0-9]+", "_", column.lower()).strip("_") for column in file.names}
    metrics = {column: _METRIC_NAMES.get(name, name) for column, name in usual.items()}
    metrics = {column: metric for column, metric in metrics.items() if is_metric(metric)}
    names = [column for wanted in _SET_NAMES for column, name in usual.items() if name == wanted]
    if not names or not metrics:
        raise InputError(
            f"{path} needs a column 'name', 'set' or 'dataset' and columns called like metrics, such as mcc. "
            f"Its columns are {', '.join(file.names)}."
        )
    by_metric: dict[str, str] = {}
    for column, metric in metrics.items():
        if by_metric.setdefault(metric, column) != column:
            raise InputError(f"{path} has two columns of {metric}, {by_metric[metric]} and {column}: remove one.")
    table: dict[str, dict[str, float]] = {}
    for batch in file.batches([names[0], *metrics]):
        for row in batch.to_pylist():
            name = (row.pop(names[0]) or "").strip()
            require(name not in table, f"{path} has the set {name!r} twice.")
            table[name] = {
                metrics[column]: _number(text, metrics[column], f"{path}, {name}, {column}")
                for column, text in row.items()
                if text
            }
    return table


def _number(text: str, metric: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{place}: {text!r} is not a finite number; leave the cell empty if the metric is undefined.")
    least, greatest = possible_values(metric)
    if not least <= value <= greatest:
        share = f" Give shares, not percent, such as {value / 100:g}." if 1 < abs(value) <= 100 else ""
        raise InputError(f"{place}: {metric} cannot be {value:g}, only {least:g} to {greatest:g}.{share}")
    return value
