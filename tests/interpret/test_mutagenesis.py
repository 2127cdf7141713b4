"""Mutagenesis: each effect is the difference of two predictions, and no sequence is computed twice."""

from typing import Any

import numpy as np
import pytest

import dnabert_jax.interpret.mutagenesis
import dnabert_jax.stream
from dnabert_jax import DNAModel
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.mutagenesis import Mutations, mutation_effects
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.sequence.bases import base_codes


def test_effects_are_differences_of_predictions(
    model: DNAModel, sequences: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the sequences are not all in hand at once.
    monkeypatch.setattr(dnabert_jax.interpret.mutagenesis, "_VARIANTS_TOGETHER", 90)
    target = choose_target(model, "It", "acceptor", "probability")
    found = list(mutation_effects(model, iter(sequences), target))
    assert [one.name for one in found] == [name for name, _ in sequences]
    for one, (_, text) in zip(found, sequences, strict=True):
        mutants = [text[:place] + base + text[place + 1 :] for place in range(len(text)) for base in "ACGT"]
        predicted = model.predict([text, *mutants])[:, 1]
        assert one.reference == pytest.approx(predicted[0], abs=1e-6)
        np.testing.assert_allclose(one.effects.ravel(), predicted[1:] - predicted[0], atol=1e-5)
        own = ["ACGT".find(base) for base in text]
        assert all(one.effects[place, column] == 0 for place, column in enumerate(own) if column >= 0)
    assert max(np.abs(one.effects).max() for one in found) > 0.01


def test_the_score_of_a_base_is_what_its_substitutions_take_away() -> None:
    effects = np.array([[0, -3, -1, -2], [0.5, 0, 0.5, 0.5], [4, -2, 1, 1]], np.float32)
    scores = Mutations("a", 0.0, effects).scores(base_codes(b"ACN"))
    assert scores.tolist() == [2, -0.5, -1]


def test_what_is_the_same_is_computed_once(model: DNAModel, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[bytes] = []
    whole = model.ids_within_limit

    def counting(codes: np.ndarray, name: str) -> np.ndarray:
        if name == "a variant":
            computed.append(codes.tobytes())
        return whole(codes, name)

    monkeypatch.setattr(model, "ids_within_limit", counting)
    texts = ["ACGTACG", "ACGTACG", "ACGTACC"]
    done: list[int] = []
    target = choose_target(model, "It", "donor")
    found = list(mutation_effects(model, [("", text) for text in texts], target, done.append))
    assert len(computed) == len(set(computed))
    # Two that differ in one base: each is a variant of the other, and the two other bases there are variants of both.
    assert len(computed) == sum(done) == 2 * (1 + 21) - 4
    assert np.array_equal(found[0].effects, found[1].effects)
    change = found[2].reference - found[0].reference
    assert found[0].effects[6, 1] == pytest.approx(change, abs=1e-6)


def test_a_sequence_that_is_too_long_is_named(model: DNAModel) -> None:
    with pytest.raises(InputError, match=r"sequence 1 \(long\) has 23 "):
        next(mutation_effects(model, [("long", "A" * 25)], choose_target(model, "It", "donor")))


def test_log_odds_are_those_of_the_probability(model: DNAModel, sequences: list[tuple[str, str]]) -> None:
    label = choose_target(model, "It", "acceptor", "log-odds")
    found = [one.reference for one in mutation_effects(model, sequences, label)]
    probability = model.predict([text for _, text in sequences])[:, 1]
    np.testing.assert_allclose(found, np.log(probability / (1 - probability)), atol=1e-5)


def test_variants_of_a_sequence_are_not_padded_on_a_cpu(model: DNAModel, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: set[tuple[int, int]] = set()
    whole = model.encoder.last_of_cls

    def noting(ids: np.ndarray) -> Any:
        shapes.add(ids.shape)
        return whole(ids)

    monkeypatch.setattr(model.encoder, "last_of_cls", noting)
    target = choose_target(model, "It", "donor")
    next(mutation_effects(model, [("", "ACGTACGTACG")], target))
    # 9 k-mers, [CLS] and [SEP]; 34 sequences.
    assert {length for _, length in shapes} == {11}
    shapes.clear()
    monkeypatch.setattr(dnabert_jax.stream, "_on_cpu", lambda: False)
    next(mutation_effects(model, [("", "ACGTACGTACG")], target))
    assert {length for _, length in shapes} == {16}
