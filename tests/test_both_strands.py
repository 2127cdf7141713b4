"""A model of both strands says the same of a sequence and of its reverse complement, in whatever is asked of it."""

from typing import Any

import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interpret.attribution import gradient_times_input, integrated_gradients
from dnabert_jax.interpret.mutagenesis import mutation_effects
from dnabert_jax.interpret.target import choose_target
from tests.test_pretrained import random_dna, random_model

SEQUENCES = [random_dna(length, length) for length in (23, 9, 40)]
TURNED = [sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1] for sequence in SEQUENCES]


@pytest.fixture(scope="module", params=["cls", "mean", "mean-max"])
def model(small_model: ModelConfig, request: pytest.FixtureRequest) -> DNAModel:
    task = TaskConfig("single_label_classification", ("a", "b", "c"), pooling=request.param, strands="both")
    return DNAModel(random_model(small_model, task))


def test_predictions_average_the_logits_of_both_strands(model: DNAModel) -> None:
    logits = [np.log(model.predict(strand, strands="forward")) for strand in (SEQUENCES, TURNED)]
    merged = np.exp((logits[0] + logits[1]) / 2)
    expected = merged / merged.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(SEQUENCES), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(TURNED), expected, atol=1e-5)
    assert np.abs(model.predict(SEQUENCES, strands="forward") - expected).max() > 1e-3


def test_effects_of_mutations_are_those_of_the_predictions(model: DNAModel) -> None:
    target = choose_target(model, "A test", "b", "probability")
    [found] = mutation_effects(model, [("s", SEQUENCES[1])], target)
    [turned] = mutation_effects(model, [("s", TURNED[1])], target)
    changed = "T" + SEQUENCES[1][1:] if SEQUENCES[1][0] != "T" else "A" + SEQUENCES[1][1:]
    effect = model.predict(changed)[1] - model.predict(SEQUENCES[1])[1]
    assert found.effects[0, "ACGT".index(changed[0])] == pytest.approx(effect, abs=1e-5)
    # On the other strand bases stand in the other order, and A, C, G, T are T, G, C, A.
    np.testing.assert_allclose(found.effects, turned.effects[::-1, ::-1], atol=1e-5)


@pytest.mark.parametrize("scale", ["logit", "log-odds"])
def test_attributions_turn_with_the_sequence_and_are_complete(model: DNAModel, scale: Any) -> None:
    target = choose_target(model, "A test", "b", scale)
    named, turned = ([(str(n), text) for n, text in enumerate(texts)] for texts in (SEQUENCES, TURNED))
    for one, other in zip(
        gradient_times_input(model, named, target), gradient_times_input(model, turned, target), strict=True
    ):
        np.testing.assert_allclose(one[1], other[1][::-1], atol=1e-5)
        assert np.abs(one[1]).max() > 1e-3
    for one in integrated_gradients(model, named, target, steps=24):
        assert one.gap < 0.02
