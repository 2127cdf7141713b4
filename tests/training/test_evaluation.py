"""Held-out figures, against a base-by-base computation and against what is known in advance."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnabert_jax.config import MaskingConfig, MeshConfig, ModelConfig
from dnabert_jax.data.manifest import HELDOUT, TRAIN
from dnabert_jax.data.rows import open_rows
from dnabert_jax.parallel.mesh import RowPlacement, make_mesh
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, SEP
from dnabert_jax.training.evaluation import (
    Evaluation,
    Predictor,
    evaluate,
    evaluation_rows,
    frequency_table_logits,
    hidden_base_sums,
    kmer_frequencies,
)
from dnabert_jax.training.masking import MaskedRows, MaskedTokens

Evaluate = Callable[[Predictor, Any], Evaluation]


def hidden_bases_one_by_one(logits: np.ndarray, masked: MaskedRows, rows: np.ndarray, k: int) -> tuple[float, int, int]:
    """The definition of the module's docstring, base by base."""
    loss, correct, hidden = 0.0, 0, 0
    digits = KmerTokenizer(k).spelling[NUM_SPECIAL:]
    for row, shown, places, weights, row_logits in zip(
        rows, *map(np.asarray, (masked.input_ids, masked.predict_at, masked.weights)), logits, strict=True
    ):
        predicted = {int(p): row_logits[m] for m, p in enumerate(places) if weights[m]}
        for begin, end in zip(np.flatnonzero(row == CLS), np.flatnonzero(row == SEP), strict=True):
            kmers = range(begin + 1, end)
            for base in range(len(kmers) + k - 1):
                covering = [kmers[i] for i in range(max(0, base - k + 1), min(base, len(kmers) - 1) + 1)]
                if any(shown[place] == row[place] for place in covering):
                    continue
                votes = np.zeros(4)
                for place in covering:
                    offset = begin + 1 + base - place
                    exponentials = np.exp(predicted[place] - predicted[place].max())
                    probabilities = (exponentials / exponentials.sum())[NUM_SPECIAL : NUM_SPECIAL + 4**k]
                    for base_code in range(4):
                        votes[base_code] += probabilities[digits[:, offset] == base_code].sum()
                place = covering[0]
                hidden += 1
                truth = digits[row[place] - NUM_SPECIAL, begin + 1 + base - place]
                correct += int(votes.argmax() == truth)
                loss -= np.log(votes[truth] / votes.sum())
    return loss, correct, hidden


@pytest.mark.parametrize("k", [3, 4])
def test_hidden_bases_are_those_of_the_definition(k: int) -> None:
    model = ModelConfig(k=k)
    rng = np.random.default_rng(k)
    bases = rng.integers(0, 4, (6, 200))
    rows = np.zeros((6, 40), np.int32)
    for row, dna in zip(rows, bases, strict=True):
        for begin, count in ((0, 5), (7, 17), (26, 12)):
            ids = [NUM_SPECIAL + int("".join(map(str, dna[i : i + k])), 4) for i in range(count)]
            row[begin : begin + count + 2] = [CLS, *ids, SEP]
    masked = MaskedTokens(MaskingConfig(late_rate=0.5), model.tokenizer).hide(jnp.asarray(rows), jax.random.key(0), 0.4)
    logits = rng.normal(size=(6, masked.labels.shape[1], model.padded_vocabulary_size)).astype(np.float32) * 3
    logits[..., model.vocabulary_size :] = -np.inf
    loss, correct, hidden = hidden_base_sums(jnp.asarray(logits), masked, jnp.asarray(rows), model.tokenizer)
    expected = hidden_bases_one_by_one(logits, masked, rows, k)
    assert (int(correct), int(hidden)) == expected[1:]
    assert float(loss) == pytest.approx(expected[0], rel=1e-5)
    assert expected[2] > 50
    assert 0 < expected[1] < expected[2]


def test_a_lone_span_hides_one_base() -> None:
    model = ModelConfig(k=6)
    rows = jnp.array([[CLS, *range(100, 130), SEP]])
    places = jnp.arange(10, 16)[None]
    masked = MaskedRows(
        rows.at[0, places].set(4), places, jnp.take_along_axis(rows, places, 1), jnp.ones((1, 6)), jnp.int32(0)
    )
    *_, hidden = hidden_base_sums(jnp.zeros((1, 6, model.padded_vocabulary_size)), masked, rows, model.tokenizer)
    assert int(hidden) == 1


def evaluate_on(rows: Path, model: ModelConfig, batch: int = 16, rate: float = 0.15, devices: int = 8) -> Evaluate:
    placement = RowPlacement(make_mesh(MeshConfig(), jax.devices()[:devices]), batch)
    batches = evaluation_rows(open_rows(rows, HELDOUT), 40, placement)
    return functools.partial(evaluate, batches, placement, MaskedTokens(MaskingConfig(rate=rate), model.tokenizer))


@pytest.fixture(scope="module")
def evaluated(small_model: ModelConfig, sample_rows: Path) -> Evaluate:
    return evaluate_on(sample_rows, small_model)


def table(parameters: jax.Array, masked: MaskedRows) -> jax.Array:
    return jnp.broadcast_to(parameters, (*masked.labels.shape, parameters.size))


def test_a_table_scores_the_cross_entropy_of_its_frequencies(
    evaluated: Evaluate, small_model: ModelConfig, sample_rows: Path
) -> None:
    counts = kmer_frequencies(open_rows(sample_rows, TRAIN))
    files = open_rows(sample_rows, TRAIN)
    assert counts.sum() == len(files) * 64
    assert counts[NUM_SPECIAL:].sum() == files.entry.kmers
    logits = frequency_table_logits(counts, small_model.padded_vocabulary_size)
    assert math.isclose(np.exp(logits).sum(), 1, rel_tol=1e-5)
    result = evaluated(table, logits)
    frequencies = counts[NUM_SPECIAL:] / counts[NUM_SPECIAL:].sum()
    entropy = -(frequencies * np.log(frequencies)).sum()
    assert result.loss == pytest.approx(entropy, abs=0.1)
    assert result.accuracy == pytest.approx(frequencies.max(), abs=0.03)
    assert 0.2 < result.hidden_base_accuracy < 0.4
    assert 0.12 * 40 * 60 < result.masked_kmers < 0.18 * 40 * 64


def test_the_truth_scores_one(small_model: ModelConfig, evaluated: Evaluate) -> None:
    def oracle(_: object, masked: MaskedRows) -> jax.Array:
        return 50 * jax.nn.one_hot(masked.labels, small_model.padded_vocabulary_size)

    result = evaluated(oracle, None)
    assert result.loss == pytest.approx(0, abs=1e-5)
    assert (result.accuracy, result.hidden_base_accuracy) == (1, 1)
    assert result.hidden_base_loss == pytest.approx(0, abs=1e-5)
    assert result.hidden_bases > 100


def test_figures_do_not_depend_on_batch_or_mesh(
    evaluated: Evaluate, small_model: ModelConfig, sample_rows: Path
) -> None:
    """So that runs can be compared."""
    logits = np.random.default_rng(0).normal(size=small_model.padded_vocabulary_size).astype(np.float32)
    expected = evaluated(table, logits)
    for batch, devices in ((8, 1), (40, 8), (64, 4)):
        figures = evaluate_on(sample_rows, small_model, batch, devices=devices)(table, logits)
        assert (figures.masked_kmers, figures.hidden_bases) == (expected.masked_kmers, expected.hidden_bases)
        assert figures.loss == pytest.approx(expected.loss, rel=1e-6)
        assert (figures.accuracy, figures.hidden_base_accuracy) == (expected.accuracy, expected.hidden_base_accuracy)


def test_rows_are_filled_up_with_padding(sample_rows: Path) -> None:
    files = open_rows(sample_rows, HELDOUT)
    placement = RowPlacement(make_mesh(MeshConfig(), jax.devices()), 16)
    whole = np.concatenate(evaluation_rows(files, 40, placement))
    assert whole.shape == (48, 64)
    assert not whole[40:].any()
    assert whole[:40].any(axis=1).all()
    assert len(np.concatenate(evaluation_rows(files, 10**9, placement))) >= len(files)


def test_the_config_of_a_run_decides_the_evaluation_rate(sample_rows: Path, small_model: ModelConfig) -> None:
    uniform = np.zeros(small_model.padded_vocabulary_size, np.float32)
    low, high = (evaluate_on(sample_rows, small_model, rate=rate)(table, uniform).masked_kmers for rate in (0.1, 0.2))
    assert high / low == pytest.approx(2, rel=0.25)
