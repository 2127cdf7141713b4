"""A learning curve has the means of the sets and methods that are there with every number of rows."""

from pathlib import Path

import numpy as np

from dnabert_jax.config import TaskConfig
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult
from dnabert_jax.tasks.suites.learning_curve import write_learning_curve

TASK = TaskConfig("single_label_classification", ("0", "1"))


def result(name: str, rows: int, right: int) -> Result:
    """Of ten examples, so many positives have a higher score than all negatives, and the others a lower one."""
    scores = np.array([*np.linspace(0.4, 0.6, 5), *[0.9] * right, *[0.1] * (5 - right)])
    metrics = measure(TASK, np.stack([1 - scores, scores], axis=1), np.array([0] * 5 + [1] * 5), resamples=0)
    return Result(name, "m", TASK, {"train": rows}, (SeedResult(0, 1.0, metrics),))


def test_means_are_over_what_is_there_throughout(tmp_path: Path) -> None:
    curve = {
        "10": {"probe": [result("a", 10, 1), result("b", 10, 2)], "kmer": [result("a", 10, 3)]},
        "all": {
            "probe": [result("a", 300, 4), result("b", 20, 5), result("c", 50, 5)],
            "kmer": [result("a", 300, 5), result("b", 20, 0)],
            "cnn": [result("a", 300, 5)],
        },
    }
    text = write_learning_curve(curve, "roc_auc", tmp_path)
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")] == [
        ["training rows asked for", "median", "probe", "kmer"],
        ["---", "---:", "---:", "---:"],
        ["10", "10", "0.2000", "0.6000"],
        ["all", "300", "0.8000", "1.0000"],
    ]
    assert "cnn" in text
    assert [line.split("\t") for line in (tmp_path / "learning-curve.tsv").read_text().splitlines()] == [
        ["name", "training_rows", "probe", "kmer", "cnn"],
        ["a", "10", "0.2", "0.6", ""],
        ["a", "300", "0.8", "1.0", "1.0"],
        ["b", "10", "0.4", "", ""],
        ["b", "20", "1.0", "0.0", ""],
        ["c", "50", "1.0", "", ""],
    ]
    for ending in ("png", "svg", "pdf"):
        assert (tmp_path / f"learning-curve.{ending}").stat().st_size > 5_000
