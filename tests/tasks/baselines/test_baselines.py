"""Baselines find planted words; words are counted as in strings; strands, padding and label names change nothing."""

import dataclasses
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from Bio.Seq import reverse_complement

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes
from dnabert_jax.tasks.baselines import baselines, linear
from dnabert_jax.tasks.baselines.baselines import CnnBaseline, CnnBaselineConfig, baseline_scores, fit_cnn_baseline
from dnabert_jax.tasks.datasets.labelled import LabelledData, LabelledSplit
from dnabert_jax.tasks.datasets.sequences import Sequences
from dnabert_jax.tasks.measures.metrics import measure
from tests.tasks.conftest import BINARY, CLASSES

SEVERAL = TaskConfig("multi_label_classification", ("CTCF", "MAX"))
NUMBERS = TaskConfig("regression", ("few", "many"))
KMERS = linear.KmerBaselineConfig(longest=5, informative=4)
CNN = CnnBaselineConfig(
    detectors=24, width=8, hidden=16, dropout=0.1, epochs=8, batch_size=16, peak_learning_rate=2e-2,
    least_steps=1, patience_steps=1,
)  # fmt: skip
WORDS = ("TGACTCAG", "CCACGTGG")


def rows(sequences: list[str], width: int = 0) -> np.ndarray:
    table = np.full((len(sequences), max(width, *map(len, sequences)) + 2), AMBIGUOUS, np.uint8)
    for row, sequence in zip(table, sequences, strict=True):
        row[1 : 1 + len(sequence)] = base_codes(sequence.encode())
    return table


def planted(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Sequences of different lengths, and which of the words each holds, on either strand."""
    random = np.random.default_rng(seed)
    holds = random.integers(2, size=(count, 2))
    sequences = []
    for row in holds:
        letters = "".join(random.choice(list("ACGT"), random.integers(36, 47)))
        for word, place, held in zip(WORDS, (2, 20), row, strict=True):
            if held:
                word = reverse_complement(word) if random.random() < 0.5 else word
                place += int(random.integers(6))
                letters = letters[:place] + word + letters[place + 8 :]
        sequences.append(letters)
    return sequences, holds


def labels_of(task: TaskConfig, holds: np.ndarray) -> np.ndarray:
    if task is NUMBERS:
        return np.stack([holds.sum(axis=1) - 3.0, 1000.0 * holds[:, 0]], axis=1).astype(np.float32)
    if task is SEVERAL:
        return holds.astype(np.uint8)
    return (holds[:, 0] + (holds.prod(axis=1) if len(task.labels) > 2 else 0)).astype(np.int32)


def split(task: TaskConfig, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    sequences, holds = planted(count, seed)
    return rows(sequences), labels_of(task, holds)


def fit(task: TaskConfig, config: CnnBaselineConfig = CNN, seed: int = 0) -> CnnBaseline:
    return fit_cnn_baseline(task, config, split(task, 400, 0), split(task, 100, 1), seed)


@pytest.fixture(scope="module")
def fitted() -> CnnBaseline:
    return fit(CLASSES)


@pytest.mark.parametrize(
    ("name", "task", "metric", "least"),
    [
        ("kmer", BINARY, "roc_auc", 0.9),
        ("kmer", CLASSES, "roc_auc", 0.9),
        ("cnn", CLASSES, "roc_auc", 0.9),
        ("cnn", SEVERAL, "roc_auc_macro", 0.9),
        ("cnn", NUMBERS, "r2", 0.6),
    ],
)
def test_baselines_find_planted_words(
    name: str, task: TaskConfig, metric: str, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(baselines.BASELINES, name, {"kmer": KMERS, "cnn": CNN}[name])
    splits: Any = {}
    for part, count, seed in (("train", 400, 0), ("validation", 100, 1), ("test", 200, 2)):
        sequences, holds = planted(count, seed)
        codes = [base_codes(sequence.encode()) for sequence in sequences]
        stored = Sequences.of((row, np.array([len(row)])) for row in codes)
        splits[part] = LabelledSplit(stored, labels_of(task, holds), np.arange(count), "x.csv")
    scores = baseline_scores(name, LabelledData(task, splits), 7)
    assert measure(task, scores, splits["test"].labels, resamples=0).values[metric].value > least


def counted(sequence: str, config: linear.KmerBaselineConfig) -> list[int]:
    """How often each word occurs, most frequent first, with '-' for a gap; words are not named by columns."""
    words: Counter[str] = Counter()
    for length in range(config.informative, config.longest + 1):
        for start in range(len(sequence) - length + 1):
            piece = sequence[start : start + length]
            for gaps in itertools.combinations(range(1, length - 1), length - config.informative):
                word = "".join("-" if place in gaps else letter for place, letter in enumerate(piece))
                if "N" not in word:
                    words[min(word, reverse_complement(word))] += 1
    return sorted(words.values(), reverse=True)


@pytest.mark.parametrize(("longest", "informative"), [(3, 3), (6, 6), (6, 4), (5, 2), (8, 6)])
def test_words_are_counted_as_in_strings_and_strands_are_one(longest: int, informative: int) -> None:
    config = linear.KmerBaselineConfig(longest, informative)
    sequences = [*planted(12, 0)[0], "ACACACACACACACAC", "GATTACANNGATTNACAGATTACA", "AAAAAAAA", "ACGTACGT", "AC"]
    counts = linear.kmer_counts(rows(sequences), config)
    for row, sequence in zip(counts, sequences, strict=True):
        assert sorted(row.data, reverse=True) == counted(sequence, config), sequence
    assert (
        linear.kmer_counts(rows([reverse_complement(sequence) for sequence in sequences]), config) != counts
    ).nnz == 0
    assert linear.kmer_counts(rows(["AC"]), config).nnz == (informative == 2)
    # A column is a word: those of a part of a sequence are among its own.
    part, whole = linear.kmer_counts(rows([sequences[0][5:20], sequences[0]]), config).toarray()
    assert (whole >= part).all()


@pytest.mark.parametrize("metric", ["loss", "mcc"])
def test_the_penalty_is_that_of_the_best_metric_and_of_equal_ones_the_strongest(metric: str) -> None:
    train, validation = ((linear.kmer_features(x, KMERS), y) for x, y in (split(BINARY, 201, 0), split(BINARY, 100, 1)))

    def figure(*penalties: float) -> tuple[float, float]:
        models = linear.fit_linear(BINARY, penalties, metric, train, validation)
        scores = linear.model_scores(BINARY, models, validation[0])
        return measure(BINARY, scores, validation[1], resamples=0).values[metric].value, models[0].C

    penalties = (1.0, 1e-9, 0.01, 100.0)
    assert figure(*penalties) == (max if metric == "mcc" else min)(map(figure, penalties))
    if metric == "mcc":
        # So strong that all predict the more frequent class.
        assert figure(1e-8, 1e-9, 1e-7) == (0, 1e-9)
        with pytest.raises(InputError, match=r"mcc .*'no'"):
            linear.fit_linear(BINARY, (1.0,), "mcc", train, (validation[0], validation[1] * 0))


@pytest.mark.parametrize(
    ("task", "change", "value"),
    [
        (BINARY, lambda codes, labels: (codes, labels * 0), "the label"),
        (BINARY, lambda codes, labels: (codes[:0], labels[:0]), "the label"),
        (BINARY, lambda codes, labels: (codes, labels + 5), " [56]:"),
        (NUMBERS, lambda codes, labels: (codes, labels * [1, 0]), "many"),
        (SEVERAL, lambda codes, labels: (codes, labels * [1, 0]), "MAX"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(task: TaskConfig, change, value: str) -> None:
    train, validation = split(task, 40, 0), split(task, 30, 1)
    with pytest.raises(InputError, match=value):
        linear.fit_kmer_baseline(task, KMERS, change(*train), validation)
    if len(train[0]) and value != "the label":
        with pytest.raises(InputError, match=value):
            fit_cnn_baseline(task, CNN, change(*train), validation, 0)


def test_the_epoch_of_the_least_validation_loss_is_kept(fitted: CnnBaseline) -> None:
    codes, labels = split(CLASSES, 100, 1)
    scores, least = fitted.scores(codes), min(fitted.validation)
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert fitted.validation[fitted.epoch - 1] == least < fitted.validation[0]
    assert -np.log(scores[np.arange(100), labels]).mean() == pytest.approx(least, rel=1e-4)


def test_training_stops_when_patience_ends_but_not_before_a_motif_can_be_found() -> None:
    # Labels of the validation split that say the opposite, so that each epoch is worse than the first.
    codes, labels = split(CLASSES, 100, 1)
    stopped = fit_cnn_baseline(CLASSES, CNN, split(CLASSES, 400, 0), (codes, 2 - labels), 0)
    assert len(stopped.validation) < CNN.epochs
    assert len(stopped.validation) - stopped.epoch == CNN.patience
    codes, labels = split(CLASSES, 40, 0)
    slow = dataclasses.replace(CNN, least_steps=40, patience_steps=40)
    assert len(fit_cnn_baseline(CLASSES, slow, (codes, labels), (codes, 2 - labels), 0).validation) == 14
    with pytest.raises(JobError, match="epoch 1"):
        fit(CLASSES, dataclasses.replace(CNN, peak_learning_rate=1e38))


def test_strands_and_padding_change_nothing(fitted: CnnBaseline) -> None:
    sequences = [*planted(20, 3)[0], "ACGNNNNNNNNNNNNNNNNNNGATTACA", "ACG", "NNN"]
    scores = fitted.scores(rows(sequences))
    for others in (
        rows([reverse_complement(sequence) for sequence in sequences]),
        rows(sequences, 90),
        rows(sequences)[:, 1:],
    ):
        assert fitted.scores(others) == pytest.approx(scores, abs=1e-5)
    alone = [fitted.scores(rows([sequence])) for sequence in sequences]
    assert np.concatenate(alone) == pytest.approx(scores, abs=1e-5)
    assert np.ptp(scores[:20, 0]) > 0.5


def test_the_seed_determines_all_and_one_compilation_serves_many_sets(fitted: CnnBaseline) -> None:
    codes = split(CLASSES, 50, 2)[0]
    scores = fitted.scores(codes)
    compiled = baselines._step._cache_size(), baselines._batch_scores._cache_size()
    renamed = TaskConfig("single_label_classification", ("a", "b", "c"))
    again = fit(renamed)
    assert again.validation == fitted.validation
    assert (again.scores(codes) == scores).all()
    assert fit(CLASSES, seed=1).validation != fitted.validation
    # Another number of sequences, no longer than before, is no other shape.
    fit_cnn_baseline(CLASSES, CNN, split(CLASSES, 77, 0), split(CLASSES, 50, 1), 0)
    assert (baselines._step._cache_size(), baselines._batch_scores._cache_size()) == compiled
