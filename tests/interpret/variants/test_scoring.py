"""Scores of variants against brute force: strings are cut and changed, and the model is asked for each."""

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dnabert_jax.interpret.variants.scoring as scoring_module
from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.effect_size import log_odds_ratio, weighted_difference
from dnabert_jax.interpret.motifs.regions import high_score_runs
from dnabert_jax.interpret.variants.alleles import Allele, alleles_of
from dnabert_jax.interpret.variants.scoring import VariantScorer, VariantScoring
from dnabert_jax.io.genome import Genome, open_genome
from dnabert_jax.io.vcf import VcfRecord
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import bind, parameter_shapes
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.vocabulary import MASK
from dnabert_jax.training.saved_model import Description, SavedModel

CONTIG = "".join(random.Random(5).choices("ACGT", k=60))  # noqa: S311
TURN = str.maketrans("ACGT", "TGCA")
WINDOW = 15
VARIANTS = [(20, 1, "A"), (20, 1, "G"), (0, 1, "C"), (59, 1, "T"), (30, 3, "G"), (30, 1, "GATC"), (7, 2, "TT")]


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Genome]:
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text(f">chr1\n{CONTIG}\n")
    with open_genome(path, ["1", "2", "chr1"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def pretrained(saved: SavedModel) -> DNAModel:
    """Random weights around those of no effect: of LayerNorm's scales 1, of all others 0."""
    rng = np.random.default_rng(1)

    def weights(path: Any, leaf: Any) -> np.ndarray:
        return np.asarray((path[-1].key == "scale") + 0.3 * rng.normal(size=leaf.shape), np.float32)

    parameters = jax.tree_util.tree_map_with_path(weights, parameter_shapes(LanguageModel, saved.config))
    return DNAModel(SavedModel(Description(saved.config, None, {}), 0, parameters))


def alleles() -> list[Allele]:
    return [Allele("chr1", at, length, base_codes(text.encode()), text, "") for at, length, text in VARIANTS]


def cut(position: int, reference: int, alternative: str) -> list[tuple[str, str, int, int]]:
    """Of each strand: the two windows, by string arithmetic, and where the alleles begin in them."""
    changed = CONTIG[:position] + alternative + CONTIG[position + reference :]
    start = min(max(position + reference // 2 - WINDOW // 2, 0), len(CONTIG) - WINDOW)
    own = CONTIG[start : start + WINDOW]
    start_changed = min(start, len(changed) - WINDOW)
    other = changed[start_changed : start_changed + WINDOW]
    first, first_changed = position - start, position - start_changed
    turned = [text.translate(TURN)[::-1] for text in (own, other)]
    return [
        (own, other, first, first_changed),
        (*turned, WINDOW - first - reference, WINDOW - first_changed - len(alternative)),
    ]


def scored(model: DNAModel, genome: Genome, **settings: Any) -> list[dict[str, float]]:
    scorer = VariantScorer(model, VariantScoring(window=WINDOW, **settings))
    return [one.scores for one in scorer.score(alleles(), genome)]


def test_effects_are_those_of_predictions_of_the_windows(
    model: DNAModel, genome: Genome, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several rounds, the last one not full.
    monkeypatch.setattr(scoring_module, "_ALLELES_TOGETHER", 3)
    found = scored(model, genome, label="donor")
    assert len(found) == len(VARIANTS)
    for own, variant in zip(found, VARIANTS, strict=True):
        odds = []
        for before, after, *_ in cut(*variant):
            p = model.predict([before, after])[:, 0].astype(np.float64)
            odds.append(np.log(p / (1 - p)))
        mean = np.mean(odds, axis=0)
        p = 1 / (1 + np.exp(-mean))
        assert [own["reference"], own["alternative"]] == pytest.approx(p, abs=1e-5)
        assert own["difference"] == pytest.approx(weighted_difference(*mean[:, None])[0], abs=1e-5)
        assert own["log_odds_ratio"] == pytest.approx(log_odds_ratio(*mean[:, None])[0], abs=1e-4)
    assert max(abs(own["log_odds_ratio"]) for own in found) > 0.01


def test_likelihood_is_of_masked_kmers_alone(pretrained: DNAModel, genome: Genome) -> None:
    found = scored(pretrained, genome, kinds=("likelihood",))
    k = pretrained.config.k
    network = bind(LanguageModel, jax.device_put(pretrained._model.parameters), pretrained.config)
    logits_of = nnx.jit(lambda network, ids: network(ids))

    def mean_log_probability(text: str, first: int, length: int) -> float:
        ids = pretrained.encode(text)
        covering = [j + 1 for j in range(len(text) - k + 1) if j < first + length and j + k > first]
        masked = np.array(ids)
        masked[covering] = MASK
        padded = np.asarray(logits_of(network, jnp.asarray(masked[None])), np.float64)
        logits = padded[0, :, : pretrained.config.vocabulary_size]
        chance = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(np.mean([chance[place, ids[place]] for place in covering]))

    for own, variant in zip(found, VARIANTS, strict=True):
        _, reference, alternative = variant
        ratios = [
            mean_log_probability(after, at, len(alternative)) - mean_log_probability(before, first, reference)
            for before, after, first, at in cut(*variant)
        ]
        assert own["log_likelihood_ratio"] == pytest.approx(np.mean(ratios), abs=1e-4)
    assert max(abs(own["log_likelihood_ratio"]) for own in found) > 0.01


def test_distances_are_of_mean_vectors_and_attention_of_the_reference(pretrained: DNAModel, genome: Genome) -> None:
    found = scored(pretrained, genome, kinds=("embedding", "attention"))
    for own, variant in zip(found, VARIANTS, strict=True):
        windows = cut(*variant)
        vectors = [pretrained.embed([before, after]).astype(np.float64) for before, after, *_ in windows]
        distances = [np.linalg.norm(a - b) for a, b in vectors]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in vectors]
        assert own["euclidean_distance"] == pytest.approx(np.mean(distances), abs=1e-5)
        assert own["cosine_distance"] == pytest.approx(1 - np.mean(cosines), abs=1e-5)
        attention, inside = [], []
        for before, _, first, _ in windows:
            ((_, scores),) = attention_scores(pretrained, [("", before)])
            attention.append(scores[first : first + variant[1]].mean() / scores.mean())
            regions = {base for start, end in high_score_runs(scores, 5) for base in range(start, end)}
            inside.append(bool(regions & set(range(first, first + variant[1]))))
        assert own["attention"] == pytest.approx(np.mean(attention), abs=1e-4)
        assert own["attention_region"] == np.mean(inside)


def test_a_model_that_looks_at_no_base_looks_at_all_alike(
    pretrained: DNAModel, genome: Genome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where [CLS] attends to itself alone."""
    monkeypatch.setattr(
        scoring_module, "attention_scores", lambda _, sequences, **__: (("", np.zeros(WINDOW)) for _ in sequences)
    )
    for own in scored(pretrained, genome, kinds=("attention",)):
        assert own == {"attention": 1.0, "attention_region": 0.0}


def test_identical_windows_are_computed_once(model: DNAModel, genome: Genome, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[bytes] = []
    whole = model.ids_within_limit

    def counting(codes: np.ndarray, name: str) -> np.ndarray:
        computed.append(codes.tobytes())
        return whole(codes, name)

    monkeypatch.setattr(model, "ids_within_limit", counting)
    scored(model, genome, label="donor")
    assert len(computed) == len(set(computed))
    # Two variants at one place share their reference windows.
    assert len(computed) <= 2 * (2 * len(VARIANTS) - 1)


def test_alleles_are_taken_as_they_are_asked_for(model: DNAModel, genome: Genome) -> None:
    taken = 0

    def endless() -> Iterator[Allele]:
        nonlocal taken
        while True:
            taken += 1
            yield alleles()[0]

    scorer = VariantScorer(model, VariantScoring(window=WINDOW, label="donor"))
    next(scorer.score(endless(), genome))
    assert taken == scoring_module._ALLELES_TOGETHER


@pytest.mark.parametrize(
    ("columns", "matches", "reason"),
    [
        ("1 21 {ref} T", True, ""),
        ("chr1 21 {ref} t", True, ""),
        ("1 21 {other} T", False, "REF.*genome"),
        ("2 21 {ref} T", None, "contig"),
        ("1 60 {ref}{ref} T", None, "REF.*end"),
        ("1 0 {ref} T", None, "REF.*end"),
        ("1 21 {ref} <DEL>", True, "symbolic"),
        ("1 21 {ref} *", True, "symbolic"),
        ("1 21 {ref} G]1:40]", True, "symbolic"),
        ("1 21 {ref} .", None, "no alternative"),
        ("1 21 {ref} TTTTTTTTTTTTTTTT", True, "window"),
        ("1 21 {ref} TQ", True, "ALT.*DNA"),
        ("1 21 {ref}- T", None, "REF.*DNA"),
        ("1 21 {ref} N", True, "ALT.*N"),
        ("1 21 {ref} Tr", True, "ALT.*N"),
    ],
)
def test_what_cannot_be_scored_has_its_reason(genome: Genome, columns: str, matches: bool | None, reason: str) -> None:
    base = CONTIG[20]
    contig, position, ref, alt = columns.format(ref=base, other="A" if base != "A" else "C").split()
    record = VcfRecord(1, [contig, position, ".", ref, alt, ".", ".", "."], int(position), "\n")
    ((_, allele),) = alleles_of([record], genome, WINDOW, 3)
    assert (allele.matches, bool(allele.left_out)) == (matches, bool(reason))
    assert re.search(reason, allele.left_out)


def test_an_unknown_reference_is_left_out(write: Callable[..., Path]) -> None:
    path = write("g.fa", ">chr1\nACGTNNNACGT\n")
    records = [
        VcfRecord(1, ["chr1", at, ".", ref, "A", ".", ".", "."], int(at), "\n") for at, ref in (("5", "N"), ("4", "T"))
    ]
    with open_genome(path, ["chr1"]) as unknown:
        left_out = [bool(allele.left_out) for _, allele in alleles_of(records, unknown, 5, 3)]
    assert left_out == [True, False]


def test_a_model_is_asked_for_what_it_has(model: DNAModel, pretrained: DNAModel) -> None:
    for own, scoring, sentence in (
        (model, VariantScoring(label="donor"), "--window"),
        (model, VariantScoring(window=99, label="donor"), "3 to 24"),
        (model, VariantScoring(window=9), "--label"),
        (model, VariantScoring(kinds=("likelihood",), window=9), "masked"),
        (model, VariantScoring(kinds=("embedding",), window=9, label="donor"), "effect"),
        (pretrained, VariantScoring(kinds=("effect",)), "classifier"),
        (pretrained, VariantScoring(placements=0), "placements is 0"),
    ):
        with pytest.raises(InputError, match=sentence):
            VariantScorer(own, scoring)
    assert VariantScorer(pretrained, VariantScoring()).window == 24


def test_a_regression_has_differences() -> None:
    config = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_positions=24)
    task = TaskConfig("regression", ("expression",))
    own = DNAModel(SavedModel(Description(config, task, {}), 0, {}))
    columns = VariantScorer(own, VariantScoring(window=9)).columns
    assert columns == ["reference", "alternative", "effect", "difference"]
