"""Planted words are found in every kind of task; strands, padding and the names of labels change nothing."""

import dataclasses

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.tasks.baselines import cnn as cnn_baseline
from dnabert_jax.tasks.baselines.cnn import CnnBaseline, CnnBaselineConfig, fit_cnn_baseline
from dnabert_jax.tasks.measures.metrics import measure
from tests.tasks.baselines.conftest import complement, rows

CLASSES = TaskConfig("single_label_classification", ("none", "donor", "acceptor"))
SEVERAL = TaskConfig("multi_label_classification", ("CTCF", "MAX"))
NUMBERS = TaskConfig("regression", ("few", "many"))
CONFIG = CnnBaselineConfig(
    detectors=24,
    width=8,
    hidden=16,
    dropout=0.1,
    epochs=8,
    batch_size=16,
    peak_learning_rate=2e-2,
    patience=3,
    least_steps=1,
    patience_steps=1,
)
WORDS = ("TGACTCAG", "CCACGTGG")

Split = tuple[np.ndarray, np.ndarray]


def planted(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Sequences of different lengths, and which of the words each holds, on either strand."""
    random = np.random.default_rng(seed)
    holds = random.integers(2, size=(count, 2))
    sequences = []
    for of_row in holds:
        letters = "".join(random.choice(list("ACGT"), random.integers(36, 47)))
        for word, place, held in zip(WORDS, (2, 20), of_row, strict=True):
            if held:
                word = complement(word) if random.random() < 0.5 else word
                place += int(random.integers(6))
                letters = letters[:place] + word + letters[place + 8 :]
        sequences.append(letters)
    return sequences, holds


def labels_of(task: TaskConfig, holds: np.ndarray) -> np.ndarray:
    if task.problem == "regression":
        return np.stack([holds.sum(axis=1) - 3.0, 1000.0 * holds[:, 0]], axis=1)
    return holds if task.problem == "multi_label_classification" else holds[:, 0] + holds.prod(axis=1)


def split(task: TaskConfig, count: int, seed: int) -> Split:
    sequences, holds = planted(count, seed)
    return rows(sequences), labels_of(task, holds)


def fit(task: TaskConfig, config: CnnBaselineConfig = CONFIG, seed: int = 0) -> CnnBaseline:
    return fit_cnn_baseline(task, config, split(task, 400, 0), split(task, 100, 1), seed)


@pytest.fixture(scope="module")
def fitted() -> CnnBaseline:
    return fit(CLASSES)


@pytest.mark.parametrize(
    ("task", "metric", "least"), [(SEVERAL, "roc_auc_macro", 0.9), (NUMBERS, "r2", 0.6)], ids=["several", "numbers"]
)
def test_planted_words_are_found(task: TaskConfig, metric: str, least: float) -> None:
    codes, labels = split(task, 200, 2)
    assert measure(task, fit(task).scores(codes), labels, resamples=0).values[metric].value > least


def test_the_epoch_of_the_least_validation_loss_is_kept(fitted: CnnBaseline) -> None:
    codes, labels = split(CLASSES, 100, 1)
    scores = fitted.scores(codes)
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    least = min(fitted.validation)
    assert fitted.validation[fitted.epoch - 1] == least < fitted.validation[0]
    assert -np.log(scores[np.arange(100), labels]).mean() == pytest.approx(least, rel=1e-4)
    codes, labels = split(CLASSES, 200, 2)
    assert measure(CLASSES, fitted.scores(codes), labels, resamples=0).values["roc_auc"].value > 0.9


def test_it_stops_when_patience_is_at_an_end(fitted: CnnBaseline) -> None:
    # Labels of the validation split that say the opposite, so that each epoch is worse than the first.
    codes, labels = split(CLASSES, 100, 1)
    again = fit_cnn_baseline(CLASSES, CONFIG, split(CLASSES, 400, 0), (codes, 2 - labels), 0)
    assert len(again.validation) < CONFIG.epochs
    assert len(again.validation) - again.epoch == CONFIG.patience


def test_strands_and_padding_change_nothing(fitted: CnnBaseline) -> None:
    sequences = [*planted(20, 3)[0], "ACGNNNNNNNNNNNNNNNNNNGATTACA", "ACG", "NNN"]
    scores = fitted.scores(rows(sequences))
    assert fitted.scores(rows([complement(one) for one in sequences])) == pytest.approx(scores, abs=1e-5)
    assert fitted.scores(rows(sequences, 90)) == pytest.approx(scores, abs=1e-5)
    assert fitted.scores(rows(sequences)[:, 1:]) == pytest.approx(scores, abs=1e-5)
    assert np.concatenate([fitted.scores(rows([one])) for one in sequences]) == pytest.approx(scores, abs=1e-5)
    assert np.ptp(scores[:20, 0]) > 0.5


def test_the_seed_determines_all_and_one_compilation_serves_many_sets(fitted: CnnBaseline) -> None:
    codes = split(CLASSES, 50, 2)[0]
    scores = fitted.scores(codes)
    compiled = cnn_baseline._step._cache_size(), cnn_baseline._batch_scores._cache_size()
    renamed = TaskConfig("single_label_classification", ("a", "b", "c"))
    again = fit(renamed)
    assert again.validation == fitted.validation
    assert (again.scores(codes) == scores).all()
    assert fit(CLASSES, seed=1).validation != fitted.validation
    # Another number of sequences, no longer than before, is no other shape.
    fit_cnn_baseline(CLASSES, CONFIG, split(CLASSES, 77, 0), split(CLASSES, 50, 1), 0)
    assert (cnn_baseline._step._cache_size(), cnn_baseline._batch_scores._cache_size()) == compiled


def test_what_cannot_be_fitted() -> None:
    codes, labels = split(CLASSES, 40, 0)
    with pytest.raises(InputError, match="the label is always the same"):
        fit_cnn_baseline(CLASSES, CONFIG, (codes, labels * 0), (codes, labels), 0)
    with pytest.raises(InputError, match="'r2'"):
        fit_cnn_baseline(CLASSES, dataclasses.replace(CONFIG, select_by="r2"), (codes, labels), (codes, labels), 0)
    # However few sequences there are, there is time for the motif to be found.
    slow = dataclasses.replace(CONFIG, least_steps=40, patience_steps=40)
    assert len(fit_cnn_baseline(CLASSES, slow, (codes, labels), (codes, 2 - labels), 0).validation) == 14
    with pytest.raises(JobError, match="not finite in epoch 1"):
        fit(CLASSES, dataclasses.replace(CONFIG, peak_learning_rate=1e38))
    for settings, message in (({"width": 0}, "width"), ({"dropout": 1.0}, "dropout"), ({"patience": 0}, "patience")):
        with pytest.raises(InputError, match=message):
            CnnBaselineConfig(**settings)
    assert CnnBaselineConfig(32, 12).description == "CNN, 32 detectors of 12 bases, strands merged"
