"""Words are counted as a loop over strings counts them, and the penalty is chosen on the validation split alone."""

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy.special import expit, softmax

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.baselines.kmer import KmerBaselineConfig, fit_kmer_baseline, kmer_counts
from dnabert_jax.tasks.measures.metrics import measure
from tests.tasks.baselines.conftest import complement, rows

BINARY = TaskConfig("single_label_classification", ("no", "yes"))
CLASSES = TaskConfig("single_label_classification", ("none", "donor", "acceptor"))
SEVERAL = TaskConfig("multi_label_classification", ("CTCF", "MAX"))
NUMBERS = TaskConfig("regression", ("x", "y"))
LETTERS = np.array(list("ATCG"))


def random_sequences(count: int, shortest: int = 12, longest: int = 30, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return ["".join(random.choice(LETTERS, random.integers(shortest, longest + 1))) for _ in range(count)]


def counted(sequence: str, config: KmerBaselineConfig) -> list[int]:
    """How often each word occurs, most frequent first, with '-' for a gap; words are not named by columns."""
    words: Counter[str] = Counter()
    for length in range(config.informative, config.longest + 1):
        for start in range(len(sequence) - length + 1):
            piece = sequence[start : start + length]
            for gaps in itertools.combinations(range(1, length - 1), length - config.informative):
                word = "".join("-" if place in gaps else letter for place, letter in enumerate(piece))
                if "N" not in word:
                    words[min(word, complement(word)) if config.reverse_complement else word] += 1
    return sorted(words.values(), reverse=True)


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize(("longest", "informative"), [(3, 3), (6, 6), (6, 4), (5, 2), (8, 6)])
def test_words_are_counted_as_in_strings(longest: int, informative: int, merged: bool) -> None:
    config = KmerBaselineConfig(longest=longest, informative=informative, reverse_complement=merged)
    sequences = [*random_sequences(12), "ACACACACACACACAC", "GATTACANNGATTNACAGATTACA", "AAAAAAAA", "ACGTACGTACGT"]
    counts = kmer_counts(rows(sequences), config)
    patterns = sum(
        1 for n in range(informative, longest + 1) for _ in itertools.combinations(range(n - 2), n - informative)
    )
    mirrored = len({min(p, p[::-1]) for p in gap_patterns(longest, informative)}) if merged else patterns
    assert counts.shape == (len(sequences), mirrored * 4**informative)
    for row, sequence in zip(counts, sequences, strict=True):
        assert sorted(row.data, reverse=True) == counted(sequence, config), sequence


def gap_patterns(longest: int, informative: int) -> list[str]:
    return [
        "".join("-" if place in gaps else "x" for place in range(length))
        for length in range(informative, longest + 1)
        for gaps in itertools.combinations(range(1, length - 1), length - informative)
    ]


def test_a_column_is_one_word() -> None:
    config = KmerBaselineConfig(longest=5, informative=3, reverse_complement=False)
    counts = kmer_counts(rows(["GATCA", "CCGATCACC", "GACCA"]), config).toarray()
    # Every word of the first sequence is in the second; the third has G---A's letters, but other words.
    present = counts[0] > 0
    assert (counts[1][present] >= counts[0][present]).all()
    assert not (counts[2][present] >= counts[0][present]).all()


def test_strands_are_one_if_they_are_merged() -> None:
    sequences = random_sequences(20)
    other = [complement(sequence) for sequence in sequences]
    for config in (KmerBaselineConfig(4, 4), KmerBaselineConfig(6, 4), KmerBaselineConfig(1, 1)):
        assert (kmer_counts(rows(sequences), config) != kmer_counts(rows(other), config)).nnz == 0
    config = KmerBaselineConfig(6, 4, reverse_complement=False)
    assert (kmer_counts(rows(sequences), config) != kmer_counts(rows(other), config)).nnz > 0


def test_sequences_shorter_than_a_word_have_none() -> None:
    assert kmer_counts(rows(["ACGT", "ACG"]), KmerBaselineConfig(8, 6)).nnz == 0


def planted(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random sequences; those of class 1, 2 have each a word of its own, on either strand."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=count)
    sequences = []
    for sequence, label in zip(random_sequences(count, 40, 60, seed), labels, strict=True):
        word = ("", "TGACTCAGC", "CCACGTGGA")[label]
        place = random.integers(len(sequence) - 9)
        word = complement(word) if random.random() < 0.5 else word
        sequences.append(sequence[:place] + word + sequence[place + len(word) :])
    return rows(sequences), labels


CONFIG = KmerBaselineConfig(longest=5, informative=4)


@pytest.mark.parametrize("task", [BINARY, CLASSES])
def test_planted_words_are_found(task: TaskConfig) -> None:
    size = len(task.labels)
    train, validation, test = (planted(count, size, seed) for seed, count in enumerate((400, 100, 200)))
    baseline = fit_kmer_baseline(task, CONFIG, train, validation)
    metrics = measure(task, baseline.scores(test[0]), test[1], resamples=0)
    assert metrics.values["roc_auc"].value > 0.9
    areas = []
    for seed in range(6):
        shuffled = (train[0], np.random.default_rng(seed).permutation(train[1]))
        chance = fit_kmer_baseline(task, CONFIG, shuffled, validation)
        areas.append(measure(task, chance.scores(test[0]), test[1], resamples=0).values["roc_auc"].value)
    assert abs(np.mean(areas) - 0.5) < 0.1


def normalised(codes: np.ndarray) -> np.ndarray:
    counts = kmer_counts(codes, CONFIG).toarray()
    return counts / np.sqrt((counts**2).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("task", [BINARY, CLASSES])
def test_the_penalty_is_that_of_the_least_validation_loss(task: TaskConfig) -> None:
    train, validation = (planted(200, len(task.labels), seed) for seed in (0, 1))
    # Wrong labels, so that neither the weakest nor the strongest penalty is the best.
    for _, labels in (train, validation):
        labels[::4] = np.roll(labels[::4], 1)
    baseline = fit_kmer_baseline(task, CONFIG, train, validation)
    assert set(baseline.fit.validation) == set(CONFIG.inverse_penalties)
    for penalty, loss in baseline.fit.validation.items():
        alone = fit_kmer_baseline(task, KmerBaselineConfig(5, 4, inverse_penalties=(penalty,)), train, validation)
        scores = alone.scores(validation[0])
        assert loss == pytest.approx(-np.log(scores[np.arange(200), validation[1]]).mean())
        # The scores are those of the weights: the fit sees nothing but normalised counts.
        model = alone.fit.models[0]
        logits = normalised(validation[0]) @ model.coef_.T + model.intercept_
        expected = softmax(logits, axis=1) if len(task.labels) > 2 else np.hstack([1 - expit(logits), expit(logits)])
        assert scores == pytest.approx(expected)
        if penalty == baseline.fit.inverse_penalty:
            assert baseline.scores(validation[0]) == pytest.approx(scores)
    assert baseline.fit.validation[baseline.fit.inverse_penalty] == min(baseline.fit.validation.values())
    assert CONFIG.inverse_penalties[0] < baseline.fit.inverse_penalty < max(CONFIG.inverse_penalties)


def test_a_metric_of_which_more_is_better_can_choose() -> None:
    train, validation = planted(200, 2, 0), planted(100, 2, 1)
    config = KmerBaselineConfig(5, 4, inverse_penalties=(100.0, 0.01, 1.0), select_by="mcc")
    baseline = fit_kmer_baseline(BINARY, config, train, validation)
    best = max(baseline.fit.validation.values())
    assert baseline.fit.validation[baseline.fit.inverse_penalty] == best


def test_of_equal_penalties_the_strongest_is_taken() -> None:
    # So strong that all predict the more frequent class.
    config = KmerBaselineConfig(5, 4, inverse_penalties=(1e-5, 1e-6, 1e-4), select_by="mcc")
    baseline = fit_kmer_baseline(BINARY, config, planted(201, 2, 0), planted(100, 2, 1))
    assert baseline.fit.validation == {1e-6: 0.0, 1e-5: 0.0, 1e-4: 0.0}
    assert baseline.fit.inverse_penalty == 1e-6


def test_each_label_of_several_is_fitted_alone() -> None:
    train, validation = planted(200, 3, 0), planted(100, 3, 1)
    several = [(codes, np.stack([labels == 1, labels == 2], 1).astype(int)) for codes, labels in (train, validation)]
    config = KmerBaselineConfig(5, 4, inverse_penalties=(10.0,))
    scores = fit_kmer_baseline(SEVERAL, config, *several).scores(validation[0])
    for c in range(2):
        one = [(codes, labels[:, c]) for codes, labels in several]
        assert scores[:, c] == pytest.approx(fit_kmer_baseline(BINARY, config, *one).scores(validation[0])[:, 1])


@pytest.mark.parametrize("penalty", [0.5, 50.0])
def test_numbers_are_fitted_as_ridge_regression_in_closed_form(penalty: float) -> None:
    (codes, labels), (held_out, truth) = planted(120, 3, 0), planted(60, 3, 1)
    targets = np.stack([labels - 5.0, 1000.0 * (labels == 2)], axis=1)
    values = np.stack([truth - 5.0, 1000.0 * (truth == 2)], axis=1)
    config = KmerBaselineConfig(5, 4, inverse_penalties=(penalty,))
    baseline = fit_kmer_baseline(NUMBERS, config, (codes, targets), (held_out, values))
    features = normalised(codes)
    centred, mean = features - features.mean(axis=0), targets.mean(axis=0)
    # In its dual form, as there are more words than sequences.
    inner = centred @ centred.T + np.eye(120) / penalty
    expected = (normalised(held_out) - features.mean(axis=0)) @ centred.T @ np.linalg.solve(inner, targets - mean)
    assert baseline.scores(held_out) == pytest.approx(expected + mean, rel=1e-4, abs=1e-3)
    assert baseline.fit.validation[penalty] == pytest.approx(np.square(expected + mean - values).mean(), rel=1e-4)
    assert baseline.description == "ridge regression on 4 of 5 letters at most, strands merged"


def test_a_class_without_training_examples_has_no_probability() -> None:
    train, validation = planted(100, 2, 0), planted(50, 2, 1)
    config = KmerBaselineConfig(5, 4, select_by="mcc")
    scores = fit_kmer_baseline(CLASSES, config, train, validation).scores(validation[0])
    assert scores.shape == (50, 3)
    assert (scores[:, 2] == 0).all()
    assert scores.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        (BINARY, lambda t, v: ((t[0], t[1] * 0), v), "the label is always the same"),
        (BINARY, lambda t, v: ((t[0][:0], t[1][:0]), v), "the label is always the same"),
        (BINARY, lambda t, v: (t, (v[0], v[1] * 0)), "leaves mcc undefined: every example is 'no'"),
        (BINARY, lambda t, v: (t, (v[0], v[1] + 5)), "A label is"),
        (NUMBERS, lambda t, v: ((t[0], np.stack([t[1], t[1] * 0 + 3.0], 1)), v), "y is always the same"),
        (SEVERAL, lambda t, v: ((t[0], np.stack([t[1], t[1] * 0], 1)), v), "MAX is always the same"),
        (SEVERAL, lambda t, v: (t, v), "'mcc'"),
    ],
)
def test_what_cannot_be_fitted(task, change, message) -> None:
    train, validation = change(planted(60, 2, 0), planted(30, 2, 1))
    select = "roc_auc_macro" if "MAX" in message else "loss" if task is NUMBERS else "mcc"
    config = KmerBaselineConfig(4, 3, select_by=select)
    with pytest.raises(InputError, match=message):
        fit_kmer_baseline(task, config, train, validation)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"longest": 5, "informative": 6}, "informative is 6 of 5"),
        ({"longest": 4, "informative": 1}, "at least 2"),
        ({"longest": 4, "informative": 0}, "at least 2"),
        ({"longest": 16, "informative": 8}, "421,724,160 features"),
        ({"inverse_penalties": ()}, "give one or several"),
        ({"inverse_penalties": (1.0, 0.0)}, "all above 0"),
    ],
)
def test_settings_that_contradict_themselves(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KmerBaselineConfig(**settings)


def test_the_description_says_what_is_counted() -> None:
    assert KmerBaselineConfig(6, 6, False).description == "6-mers"
    assert KmerBaselineConfig().description == "6 of 8 letters at most, strands merged"
