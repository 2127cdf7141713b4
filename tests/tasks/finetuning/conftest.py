"""Random encoders and sequences, and fine-tunings that are judged as a test says."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interop.huggingface import shapes_of_parts
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, SEP
from dnabert_jax.tasks.finetuning.config import FittingObserver
from dnabert_jax.tasks.finetuning.encoding import EncodedSplit
from dnabert_jax.tasks.finetuning.fitting import Fitted, Fitting
from dnabert_jax.training.state import Parameters

TASK = TaskConfig("single_label_classification", ("no", "yes"))


class Counting(FittingObserver):
    """Takes up the steps as they are made, and restarts."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.restarts: list[str] = []

    def stepped(self, done: int, total: int) -> None:
        self.steps.append(done)
        assert done <= total

    def restarted(self, job: str, seed: int) -> None:
        self.restarts.append(f"{job} {seed}")


def likelihood(logits: np.ndarray, targets: np.ndarray) -> float:
    return float((np.asarray(jax.nn.log_softmax(logits)) * targets).sum(axis=1).mean())


@dataclasses.dataclass(frozen=True)
class Judged(Fitting):
    score: Callable[..., float] = likelihood
    collapsed: Callable[..., bool] = lambda *_: False

    def judge(self, logits: Any, targets: Any) -> tuple[float, bool]:
        return self.score(logits, targets), self.collapsed(logits, targets)


def random_parts(model: ModelConfig, task: TaskConfig | None, parts: list[str], seed: int = 0) -> Parameters:
    generator = np.random.default_rng(seed)
    shapes = shapes_of_parts(model, task, parts)
    return jax.tree.map(lambda leaf: generator.normal(0, 0.1, leaf.shape).astype(np.float32), shapes)


def sequences(model: ModelConfig, count: int, seed: int, shortest: int, longest: int) -> EncodedSplit:
    """Sequences of several lengths; in half of them every k-mer is one of a few."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    rows = []
    for label in labels:
        last = model.vocabulary_size - 56 * label
        kmers = generator.integers(NUM_SPECIAL, last, generator.integers(shortest, longest + 1))
        rows.append(np.array([CLS, *kmers, SEP], np.uint16))
    offsets = np.cumsum([0, *map(len, rows)])
    return EncodedSplit(np.concatenate(rows), offsets, np.eye(2, dtype=np.float32)[labels], model.tokenizer)


def assert_same(ones: list[Fitted], others: list[Fitted], atol: float = 0) -> None:
    for one, other in zip(ones, others, strict=True):
        assert (one.name, one.seed, one.epoch, one.collapsed) == (other.name, other.seed, other.epoch, other.collapsed)
        for ours, theirs in ((one.losses, other.losses), (one.figures, other.figures)):
            np.testing.assert_allclose(ours, theirs, atol=min(atol, 1e-5), rtol=0)
        assert_close(one.parameters, other.parameters, atol)


def assert_close(ours: Parameters, theirs: Parameters, atol: float = 1e-5) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=0), ours, theirs)
