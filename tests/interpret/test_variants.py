"""Windows and scores of variants against brute force: strings are cut and changed, and the model is asked for each."""

import dataclasses
import functools
import itertools
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from Bio.Seq import reverse_complement as other_strand

import dnabert_jax.interpret.variants.scoring as scoring_module
from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.motifs.words import high_score_runs
from dnabert_jax.interpret.mutagenesis import log_odds_ratio, weighted_difference
from dnabert_jax.interpret.variants.alleles import Allele, alleles_of, window_pairs
from dnabert_jax.interpret.variants.scoring import VariantScorer
from dnabert_jax.io.genome import Genome, open_genome
from dnabert_jax.io.vcf import VcfRecord
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import bind
from dnabert_jax.sequence.bases import base_codes, reverse_complement
from dnabert_jax.sequence.vocabulary import MASK
from dnabert_jax.training.saved_model import SavedModel
from tests.random_models import random_model

CONTIG = "".join(random.Random(5).choices("ACGT", k=60))  # noqa: S311
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
    return DNAModel(random_model(saved.config, spread=0.3))


def coded(text: str) -> np.ndarray:
    return base_codes(text.encode())


def record(position: int, ref: str, alt: str, contig: str = "chr1") -> VcfRecord:
    return VcfRecord(1, [contig, str(position), ".", ref, alt, ".", ".", "."], position, "\n")


def alleles() -> list[Allele]:
    records = [record(at + 1, CONTIG[at : at + length], text) for at, length, text in VARIANTS]
    return [Allele(own, text, "chr1") for own, (*_, text) in zip(records, VARIANTS, strict=True)]


@pytest.mark.parametrize("bases", [9, 16, 60, 90])
@pytest.mark.parametrize(("reference", "alternative"), [(1, "G"), (1, "GATTACA"), (6, "G"), (2, "CC")])
def test_both_windows_are_cut_from_contigs_that_differ_in_the_allele_alone(
    bases: int, reference: int, alternative: str
) -> None:
    for position in range(len(CONTIG) - reference + 1):
        changed = CONTIG[:position] + alternative + CONTIG[position + reference :]
        for placements in (1, 3):
            found = list(window_pairs(coded(CONTIG), position, reference, coded(alternative), bases, placements, False))
            assert 1 <= len(found) <= placements
            for before, after in found:
                for window, contig, length in ((before, CONTIG, reference), (after, changed, len(alternative))):
                    start = position - window.first
                    assert window.length == length
                    assert len(window.codes) == min(bases, len(contig))
                    assert 0 <= window.first <= len(window.codes) - length
                    assert np.array_equal(window.codes, coded(contig[start : start + len(window.codes)]))
    # On the other strand, windows and alleles are the same, turned.
    forward, reverse = window_pairs(coded(CONTIG), 10, reference, coded(alternative), 12, 1, True)
    for before, after in zip(forward, reverse, strict=True):
        assert np.array_equal(after.codes, reverse_complement(before.codes))
        assert after.first + after.length == len(before.codes) - before.first
    # The variant is in the middle, or at even parts.
    contig = np.zeros(400, np.uint8)
    for position, placements, firsts in ((200, 1, [50]), (200, 3, [75, 50, 25]), (0, 3, [0])):
        found = window_pairs(contig, position, 1, coded("G"), 100, placements, False)
        assert [(before.first, after.first) for before, after in found] == [(first, first) for first in firsts]


def cut(position: int, reference: int, alternative: str) -> list[tuple[str, str, int, int]]:
    """Of each strand: the two windows, by string arithmetic, and where the alleles begin in them."""
    changed = CONTIG[:position] + alternative + CONTIG[position + reference :]
    start = min(max(position + reference // 2 - WINDOW // 2, 0), len(CONTIG) - WINDOW)
    own = CONTIG[start : start + WINDOW]
    start_changed = min(start, len(changed) - WINDOW)
    other = changed[start_changed : start_changed + WINDOW]
    first, first_changed = position - start, position - start_changed
    turned = map(other_strand, (own, other))
    return [
        (own, other, first, first_changed),
        (*turned, WINDOW - first - reference, WINDOW - first_changed - len(alternative)),
    ]


def scored(model: DNAModel, genome: Genome, **settings: Any) -> list[dict[str, float]]:
    return [scores for _, scores in VariantScorer(model, window=WINDOW, **settings).score(alleles(), genome)]


def test_effects_are_those_of_predictions_of_the_windows(
    model: DNAModel, genome: Genome, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several rounds, the last one not full.
    monkeypatch.setattr(scoring_module, "_ALLELES_TOGETHER", 3)
    scores = scored(model, genome, label="donor")
    for row, variant in zip(scores, VARIANTS, strict=True):
        p = np.array([model.predict(windows[:2])[:, 0] for windows in cut(*variant)], np.float64)
        mean = np.log(p / (1 - p)).mean(axis=0)
        assert [row["reference"], row["alternative"]] == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-5)
        assert row["difference"] == pytest.approx(weighted_difference(*mean[:, None])[0], abs=1e-5)
        assert row["log_odds_ratio"] == pytest.approx(log_odds_ratio(*mean[:, None])[0], abs=1e-4)
    assert max(abs(row["log_odds_ratio"]) for row in scores) > 0.01


@functools.partial(jax.jit, static_argnums=2)
def logits_of(parameters: dict[str, Any], ids: np.ndarray, config: ModelConfig) -> jax.Array:
    return bind(LanguageModel, {part: parameters[part] for part in ("backbone", "head")}, config)(ids)


def hidden_tokens(
    model: DNAModel, text: str, spans: list[tuple[int, int]], first: int, length: int
) -> list[tuple[tuple[int, int], int, np.ndarray]]:
    """Of each token that covers an allele: its span, its id, and the chance of each id where all of them are masked."""
    tokenizer = model.config.tokenizer
    ids = tokenizer.framed(tokenizer.encode_text(text)).astype(np.int32)
    covering = [place for place, (start, end) in enumerate(spans, 1) if start < first + length and end > first]
    masked = np.array(ids)
    masked[covering] = MASK
    logits = np.asarray(logits_of(model._model.parameters, masked[None], model.config), np.float64)[0]
    chances = np.asarray(jax.nn.softmax(logits[:, : model.config.vocabulary_size]))
    return [(spans[place - 1], ids[place], chances[place]) for place in covering]


def assert_ratios(scores: list[dict[str, float]], log_probability: Callable[..., float], frames: int = 1) -> None:
    for row, (position, reference, alternative) in zip(scores, VARIANTS, strict=True):
        ratios = [
            log_probability(after[frame:], at - frame, len(alternative))
            - log_probability(before[frame:], first - frame, reference)
            for before, after, first, at in cut(position, reference, alternative)
            for frame in range(min(frames, first + 1))
        ]
        assert row["log_likelihood_ratio"] == pytest.approx(np.mean(ratios), abs=1e-4)
    assert max(abs(row["log_likelihood_ratio"]) for row in scores) > 0.01


def test_likelihood_is_of_masked_kmers_alone(pretrained: DNAModel, genome: Genome) -> None:
    k = pretrained.config.k

    def mean_log_probability(text: str, first: int, length: int) -> float:
        spans = [(start, start + k) for start in range(len(text) - k + 1)]
        hidden = hidden_tokens(pretrained, text, spans, first, length)
        return float(np.mean([np.log(chances[own]) for _, own, chances in hidden]))

    assert_ratios(scored(pretrained, genome, kinds=("likelihood",)), mean_log_probability)


@pytest.mark.parametrize("frames", [1, 6])
def test_likelihood_of_tokens_apart_is_summed_over_those_that_carry_the_allele(
    saved: SavedModel, genome: Genome, frames: int
) -> None:
    model = DNAModel(random_model(dataclasses.replace(saved.config, tokens="6-mers"), spread=0.3))
    tokenizer, texts = model.config.tokenizer, model.config.tokenizer.tokens

    def log_probability(text: str, first: int, length: int) -> float:
        starts = [*tokenizer.starts(tokenizer.encode_text(text)), len(text)]
        total = 0.0
        for (start, end), _, chances in hidden_tokens(model, text, [*itertools.pairwise(starts)], first, length):
            allele = range(max(start, first), min(end, first + length))
            same = [
                number for number in range(5, 5 + 4101)
                if len(texts[number]) == end - start
                and all(texts[number][base - start] == text[base] for base in allele)
            ]  # fmt: skip
            total += np.log(chances[same].sum())
        return float(total)

    assert_ratios(scored(model, genome, kinds=("likelihood",), frames=frames), log_probability, frames)


def test_windows_that_n_make_too_long_are_left_out(saved: SavedModel, tmp_path: Path) -> None:
    """Each N is a token of its own."""
    config = dataclasses.replace(saved.config, tokens="6-mers", max_positions=30)
    model = DNAModel(random_model(config))
    (tmp_path / "g.fa").write_text(f">chr1\n{'ACGTTG' * 40}{'N' * 40}{'ACGTTG' * 40}\n")
    with open_genome(tmp_path / "g.fa", ["chr1"]) as opened:
        placed = [Allele(record(position, "A", "C"), "C", "chr1") for position in (121, 221, 381)]
        scorer = VariantScorer(model, window=120)
        scored = list(scorer.score(placed, opened))
    assert [bool(scores) for _, scores in scored] == [True, False, True]
    assert [bool(allele.left_out) for allele, _ in scored] == [False, True, False]


def test_frames_are_of_tokens_that_do_not_overlap(pretrained: DNAModel) -> None:
    with pytest.raises(InputError, match="frames is 2"):
        VariantScorer(pretrained, frames=2)


def test_distances_are_of_mean_vectors_and_attention_of_the_reference(
    pretrained: DNAModel, genome: Genome, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = scored(pretrained, genome, kinds=("embedding", "attention"))
    for row, (position, length, alternative) in zip(rows, VARIANTS, strict=True):
        distances, cosines, attention, inside = [], [], [], []
        for before, after, first, _ in cut(position, length, alternative):
            a, b = pretrained.embed([before, after]).astype(np.float64)
            distances.append(np.linalg.norm(a - b))
            cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            ((_, scores),) = attention_scores(pretrained, [("", before)])
            attention.append(scores[first : first + length].mean() / scores.mean())
            regions = {base for start, end in high_score_runs(scores, 5) for base in range(start, end)}
            inside.append(bool(regions & set(range(first, first + length))))
        assert row["euclidean_distance"] == pytest.approx(np.mean(distances), abs=1e-5)
        assert row["cosine_distance"] == pytest.approx(1 - np.mean(cosines), abs=1e-5)
        assert row["attention"] == pytest.approx(np.mean(attention), abs=1e-4)
        assert row["attention_region"] == np.mean(inside)
    # A model that looks at no base, as where [CLS] attends to itself alone, looks at all alike.
    nothing = lambda _, sequences, **__: (("", np.zeros(WINDOW)) for _ in sequences)  # noqa: E731
    monkeypatch.setattr(scoring_module, "attention_scores", nothing)
    expected = {"attention": 1.0, "attention_region": 0.0}
    assert scored(pretrained, genome, kinds=("attention",)) == [expected] * len(VARIANTS)


def test_identical_windows_are_computed_once_and_alleles_taken_as_they_are_asked_for(
    model: DNAModel, genome: Genome, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Mock(side_effect=model.ids_within_limit)
    monkeypatch.setattr(model, "ids_within_limit", compute)
    together = scoring_module._ALLELES_TOGETHER
    endless = itertools.cycle(alleles())
    taken = itertools.count()
    scores = VariantScorer(model, window=WINDOW, label="donor").score((next(endless) for _ in taken), genome)
    next(scores)
    assert next(taken) == together
    computed = [call.args[0].tobytes() for call in compute.call_args_list]
    # Two variants at one place share their reference windows.
    assert len(computed) == len(set(computed)) <= 2 * (2 * len(VARIANTS) - 1)


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
    (allele,) = alleles_of(record(int(position), ref, alt, contig), genome, WINDOW, 3)
    assert (allele.matches, bool(allele.left_out)) == (matches, bool(reason))
    assert re.search(reason, allele.left_out)


def test_an_unknown_reference_is_left_out(write: Callable[..., Path]) -> None:
    with open_genome(write("g.fa", ">chr1\nACGTNNNACGT\n"), ["chr1"]) as unknown:
        rows = [next(iter(alleles_of(record(*row, "A"), unknown, 5, 3))) for row in ((5, "N"), (4, "T"))]
    assert [bool(allele.left_out) for allele in rows] == [True, False]


def test_a_model_is_asked_for_what_it_has(model: DNAModel, pretrained: DNAModel) -> None:
    for network, settings, word in (
        (model, {"label": "donor"}, "--window"),
        (model, {"window": 99, "label": "donor"}, "3 to 24"),
        (model, {"window": 9}, "--label"),
        (model, {"kinds": ("likelihood",), "window": 9}, "masked"),
        (model, {"kinds": ("embedding",), "window": 9, "label": "donor"}, "effect"),
        (pretrained, {"kinds": ("effect",)}, "classifier"),
        (pretrained, {"placements": 0}, "placements is 0"),
    ):
        with pytest.raises(InputError, match=word):
            VariantScorer(network, **settings)
    assert VariantScorer(pretrained).window == 24
