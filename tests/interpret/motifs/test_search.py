"""Words and p-values are those of their definitions; a planted motif comes back with its matrix and its places."""

import random
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import pytest
from Bio.Align import PairwiseAligner
from Bio.Seq import reverse_complement as other_strand

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.motifs.config import MotifSearch
from dnabert_jax.interpret.motifs.merging import Member, merge_words
from dnabert_jax.interpret.motifs.search import FoundMotifs, find_motifs, seed_places, windows_around
from dnabert_jax.interpret.motifs.words import Places, candidate_words, enrichment, high_score_runs
from dnabert_jax.sequence.bases import BASE_ORDER, decode_bases, reverse_complement
from tests.interpret.motifs.conftest import PLANTED, Planted, dna, sequences_of


def runs_by_definition(scores: np.ndarray, min_length: int) -> list[list[int]]:
    mean, least = sum(map(float, scores)) / len(scores), min(map(float, scores))
    high = [score > mean and score > 10 * least for score in map(float, scores)]
    edges = [place for place, (a, b) in enumerate(zip([False, *high], [*high, False], strict=True)) if a != b]
    return [[start, end] for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start >= min_length]


def test_runs_are_those_of_the_definition() -> None:
    rng, found = np.random.default_rng(0), 0
    for case in range(200):
        scores = rng.gamma(0.5, size=rng.integers(1, 40)).astype(np.float32) + (0.05 if case % 2 else 0)
        expected = runs_by_definition(scores, 1 + case % 4)
        found += len(expected)
        assert high_score_runs(scores, 1 + case % 4).tolist() == expected
    assert found > 200
    assert high_score_runs(np.ones(8, np.float32), 1).tolist() == []


def test_words_are_in_the_runs_and_those_with_a_letter_in_doubt_are_counted() -> None:
    high, low = [1.0] * 4, [0.0] * 3
    scores = [np.array([*low, *high, *low], np.float32)] * 3
    sequences = sequences_of(["CCCACCTCCC", "CCCAGGTCCC", "CCCACNTCCC"])
    places, regions, ambiguous = candidate_words(sequences, scores, 4, 10.0, both_strands=False)
    assert (list(places), regions, ambiguous) == (["ACCT", "AGGT"], 3, [(2, 3, 7)])
    ((word, merged),) = candidate_words(sequences, scores, 4, 10.0, both_strands=True)[0].items()
    for sequence, start, reverse in zip(*merged, strict=True):
        codes = sequences[sequence][start : start + len(word)]
        assert decode_bases(reverse_complement(codes) if reverse else codes) == word == "ACCT"
    assert merged.reverse.tolist() == [False, True]


def tail(x: int, total: int, positive: int, drawn: int) -> float:
    ways = sum(comb(positive, i) * comb(total - positive, drawn - i) for i in range(x, min(drawn, positive) + 1))
    return float(Fraction(ways, comb(total, drawn)))


@pytest.mark.parametrize("both", [False, True])
def test_counts_and_p_values_are_those_of_the_definition(both: bool) -> None:
    generator = random.Random(0)  # noqa: S311
    texts = [dna(generator.randrange(5, 40), generator) for _ in range(50)]
    # Words within words, which one pass must find all the same; some are several times in a sequence.
    words = sorted({text[start : start + size] for text in texts[:8] for start in (0, 1) for size in (2, 3, 4)})
    words = [word for word in words if not both or word <= other_strand(word)]
    tested = enrichment(words, sequences_of(texts[:20]), sequences_of(texts[20:]), both)

    def holds(text: str, word: str) -> bool:
        return word in text or (both and other_strand(word) in text)

    counts = [[sum(holds(text, word) for text in part) for word in words] for part in (texts[:20], texts[20:])]
    assert [tested[0].tolist(), tested[1].tolist()] == counts
    p = [tail(x, 50, 20, x + y) for x, y in zip(*counts, strict=True)]
    np.testing.assert_allclose(tested[2], p, rtol=1e-9)
    ranked = sorted(p)
    adjusted = [min(1.0, *(len(p) * later / rank for rank, later in enumerate(ranked, 1) if later >= own)) for own in p]
    np.testing.assert_allclose(tested[3], adjusted, rtol=1e-9)


def merged_by_alignment(words: list[str], min_length: int, all_ties: bool) -> dict[str, list[tuple[str, int]]]:
    aligner = PairwiseAligner()
    aligner.end_gap_score = 0.0  # as in 2021; now it is -1 unless set
    aligner.internal_gap_score = -10000.0
    groups: dict[str, list[tuple[str, int]]] = {}
    for word in sorted(words, key=len):
        found = []
        for seed in groups:
            alignment = aligner.align(word, seed)[0]
            if alignment.score >= max(min_length - 1, min(len(word), len(seed)) / 2):
                shift = int(alignment.aligned[0][0][0] - alignment.aligned[1][0][0])
                found.append((alignment.score, seed, shift))
        best = [(seed, shift) for score, seed, shift in found if score == max(found)[0]]
        for seed, shift in best if all_ties else best[:1]:
            groups[seed].append((word, shift))
        if not best:
            groups[word] = [(word, 0)]
    return groups


@pytest.mark.parametrize("all_ties", [True, False])
def test_groups_and_shifts_are_those_of_alignment(all_ties: bool) -> None:
    generator = random.Random(2)  # noqa: S311
    for letters, min_length in (("ACGT", 4), ("AC", 5), ("ACGT", 5)):
        words = list(
            dict.fromkeys("".join(generator.choices(letters, k=generator.randrange(5, 12))) for _ in range(40))
        )
        groups = merge_words(words, min_length, all_ties, None, both_strands=False)
        found = {words[s]: [(words[own.word], own.shift) for own in group] for s, group in groups.items()}
        assert found == merged_by_alignment(words, min_length, all_ties)
        assert max(map(len, groups.values())) > 1


def test_a_minimal_score_keeps_words_apart_and_the_other_strand_of_a_word_joins_it() -> None:
    words = ["ACGTA", "ACGTAC"]
    assert [len(merge_words(words, 5, True, least, both_strands=False)) for least in (None, 6.0)] == [1, 2]
    word = "AGGAAAGAGG"  # no base of which is in its reverse complement
    words = [word, other_strand("GG" + word + "T")]
    assert len(merge_words(words, 5, True, None, both_strands=False)) == 2
    members = [Member(0, 0, False), Member(1, 2, True)]
    assert merge_words(words, 5, True, None, both_strands=True) == {0: members}


def places(*rows: tuple[int, int, bool]) -> Places:
    sequence, start, reverse = zip(*rows, strict=True)
    return Places(np.array(sequence), np.array(start), np.array(reverse))


def search(data: Planted, names: tuple[str, ...] = (), **settings: Any) -> FoundMotifs:
    positives, negatives = sequences_of(data.positives), sequences_of(data.negatives)
    return find_motifs(positives, data.scores, negatives, MotifSearch(**settings), names=names)


def test_a_planted_motif_is_found_with_its_matrix(planted: Planted) -> None:
    result = search(planted, window_size=12)
    (motif,) = result.motifs
    assert (motif.seed, motif.positives, motif.negatives) == (PLANTED, 80, 0)
    assert motif.windows.core.tolist() == planted.starts
    texts = [text[start - 1 : start + 11] for text, start in zip(planted.positives, planted.starts, strict=True)]
    expected = [[sum(text[place] == base for text in texts) / 80 for base in BASE_ORDER] for place in range(12)]
    np.testing.assert_allclose(motif.probabilities(), expected)
    letters = "".join(planted.positives + planted.negatives)
    np.testing.assert_allclose(result.background, [letters.count(base) / len(letters) for base in BASE_ORDER])


def test_both_strands_are_one_motif(planted: Planted) -> None:
    """The motif does not change as half of the sequences are turned, except for the direction of the whole."""
    matrices = []
    for data, shares in ((planted, [0, 80]), (planted.half_turned(), [40, 40])):
        (motif,) = search(data, window_size=13, reverse_complements=True).motifs
        assert (len(motif.windows), motif.positives) == (80, 80)
        assert np.bincount(motif.windows.reverse, minlength=2).tolist() == shares
        matrices.append(motif.probabilities())
    np.testing.assert_allclose(matrices[0], matrices[1])


def test_seed_places_read_the_seed_on_every_combination_of_strands() -> None:
    sequence = "CCTTAGACATCC"
    # TAGACA at 3, of which AGA begins at 1 and, on the other strand, TCT at 2.
    for text, at, reverse in ((sequence, 3, False), (other_strand(sequence), 3, True)):
        for member, seed in ((Member(0, 1, False), "AGA"), (Member(0, 2, True), "TCT")):
            seeds = seed_places(places((0, at, reverse)), member, 6, 3)
            windows = windows_around([seeds], 3, 3, sequences_of([text]))
            assert decode_bases(windows.codes[0]) == seed


def test_windows_at_the_ends_are_kept_whole_or_counted() -> None:
    sequences = sequences_of(["ACGTACGTAC", "ACGTACGTAC", "ACGTACGTAC", "ACNTACGTAC"])
    windows = windows_around([places((0, 2, False), (1, 5, False), (2, 6, False), (3, 3, False))], 3, 6, sequences)
    # Half a base cannot be: the odd base goes behind the seed.
    assert windows.start.tolist() == [1, 4]
    assert (windows.beyond.tolist(), windows.ambiguous.tolist()) == ([[2, 5, 11]], [[3, 2, 8]])
    assert [decode_bases(codes) for codes in windows.codes] == ["CGTACG", "ACGTAC"]
    cut = windows_around([places((0, 2, False))], 6, 4, sequences)
    assert cut.start.tolist() == [3]


def test_what_is_left_out_is_counted_and_named(planted: Planted) -> None:
    result = search(planted, min_n_motif=81)
    (sentence,) = [sentence for sentence in result.left_out.sentences() if PLANTED in sentence]
    assert (result.motifs, result.enriched, "81" in sentence) == ((), 1, True)
    result = search(planted, tuple(f"p{row}" for row in range(80)), window_size=48)
    starts = [start - (48 - len(PLANTED)) // 2 for start in planted.starts]
    beyond = [(row, start) for row, start in enumerate(starts) if start < 0 or start + 48 > 60]
    ((reason, listed),) = result.left_out.examples.items()
    assert result.left_out.counts[reason] == result.left_out.total == len(beyond) > 3
    assert listed == [f"p{row}:{start}-{start + 48}" for row, start in beyond[:3]]


@pytest.mark.parametrize(
    "value",
    [
        {"window_size": -1}, {"min_len": -1}, {"min_n_motif": -1}, {"pval_cutoff": -1.0}, {"align_cond": -1.0},
        {"over_minimum": float("nan")},
    ],
)  # fmt: skip
def test_settings_without_sense_are_an_error(value: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"is (-1|nan)"):
        MotifSearch(**value)
