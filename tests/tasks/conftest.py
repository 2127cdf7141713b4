"""Small tables of random DNA, and small tasks with scores that know something of the labels."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dnabert_jax.config import TaskConfig
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult

BINARY = TaskConfig("single_label_classification", ("no", "yes"))
CLASSES = TaskConfig("single_label_classification", ("none", "donor", "acceptor"))
SEVERAL = TaskConfig("multi_label_classification", ("CTCF", "MAX", "MYC"))
NUMBERS = TaskConfig("regression", ("liver", "skin"))


def dna(count: int, shortest: int = 8, longest: int = 30, seed: int = 0) -> list[str]:
    """Random sequences of different lengths."""
    draw = random.Random(seed)  # noqa: S311
    return ["".join(draw.choices("ACGT", k=draw.randint(shortest, longest))) for _ in range(count)]


def write_table(path: Path, counts: Sequence[int], row: Callable[[int], tuple[str, object]]) -> Path:
    """Writes rows of three splits, of which each has a sequence and a label; returns the path."""
    lines = ["split,sequence,label"]
    for split, count in zip(("train", "dev", "test"), counts, strict=True):
        lines += [",".join(map(str, (split, *row(number)))) for number in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path


def example(task: TaskConfig, count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels; scores are rounded so that many are equal."""
    generator = np.random.default_rng(seed)
    size = len(task.labels)
    if not task.kind.has_classes:
        labels = generator.normal(size=(count, size)).round(1)
        return (labels + generator.normal(size=labels.shape)).round(1), labels
    if not task.kind.exclusive:
        labels = (generator.random((count, size)) < np.resize([0.5, 0.3, 0.2], size)).astype(int)
        # Never just 0.5, which two classes and one of several labels decide otherwise.
        return (0.3 * labels + 0.6 * generator.random(labels.shape)).round(2) + 0.001, labels
    labels = generator.integers(size, size=count)
    logits = (1.2 * np.eye(size)[labels] + generator.normal(size=(count, size))).round(1)
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), labels


def result(
    task: TaskConfig, seeds: tuple[int, ...] = (1, 2, 5), resamples: int = 20, name: str = "CTCF_A549"
) -> Result:
    """Returns what became of a set, of a model for each seed."""
    metrics = [measure(task, *example(task, seed=seed), resamples=resamples) for seed in seeds]
    results = tuple(SeedResult(seed, 2.5, figures) for seed, figures in zip(seeds, metrics, strict=True))
    return Result(name, "tiny", task, {"train": 1000, "validation": 100, "test": 60}, results)
