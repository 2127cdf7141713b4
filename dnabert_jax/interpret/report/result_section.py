"""Directories of `dnabert-jax finetune` and `dnabert-jax evaluate`: figures, curves, and tables of suites."""

import dataclasses
from pathlib import Path
from typing import Any

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.report.column_table import column_table
from dnabert_jax.tasks.measures.curves import CURVES_FILE, Curves
from dnabert_jax.tasks.measures.results import RESULT_FILE, Result, confusion_table, origin, over_seeds
from dnabert_jax.tasks.suites.suite import METHODS
from dnabert_jax.typed_json import read_json


def result_section(directory: Path) -> dict[str, Any]:
    """Returns the result of a fine-tuning or a suite; raises InputError if the directory has none that can be read."""
    if (directory / RESULT_FILE).is_file():
        return _finetuned(directory)
    tables = [
        {"name": name, **column_table(directory / f"{name}.tsv")}
        for name in METHODS
        if (directory / f"{name}.tsv").is_file()
    ]
    if not tables:
        raise InputError(
            f"{directory} has no result: give a directory that `dnabert-jax finetune` or `evaluate` wrote."
        )
    return {"name": directory.resolve().name, "tables": tables}


def _finetuned(directory: Path) -> dict[str, Any]:
    result = read_json(Result, directory / RESULT_FILE)
    rows = []
    for key, spread in over_seeds(result).items():
        seeds = [seed.metrics.values[key] for seed in result.seeds]
        rows.append(
            {
                "metric": key,
                "mean": spread.mean,
                "sd": spread.deviation,
                "seeds": [[one.value, one.low, one.high] for one in seeds],
                "note": next((one.note for one in seeds if one.note), ""),
            }
        )
    first = result.seeds[0].metrics
    section: dict[str, Any] = {
        "name": result.name,
        "model": result.model,
        "origin": origin(result),
        "sizes": result.sizes,
        "seeds": [seed.seed for seed in result.seeds],
        "collapsed": [seed.seed for seed in result.seeds if seed.collapsed],
        "metrics": rows,
        "interval": first.level if first.resamples else None,
        "labels": result.task.labels,
        "problem": result.task.problem,
    }
    if first.confusion and result.task.problem == "single_label_classification":
        best = result.seeds[result.best]
        head, body = confusion_table(best.metrics.confusion[0])
        section["confusion"] = {"seed": best.seed, "head": head, "rows": body}
    curves = directory / "curves" / CURVES_FILE
    if curves.is_file():
        section["curves"] = dataclasses.asdict(read_json(Curves, curves))
    return section
