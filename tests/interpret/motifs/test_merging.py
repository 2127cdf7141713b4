"""Groups are those that Biopython's aligner gives, pair by pair, with the original's scores and order."""

import random

import pytest
from Bio.Align import PairwiseAligner

from dnabert_jax.interpret.motifs.merging import Member, merge_words
from tests.interpret.motifs.conftest import other_strand


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


def test_a_minimal_score_keeps_words_apart() -> None:
    words = ["ACGTA", "ACGTAC"]
    assert len(merge_words(words, 5, True, None, both_strands=False)) == 1
    assert len(merge_words(words, 5, True, 6.0, both_strands=False)) == 2


def test_the_other_strand_of_a_word_joins_it() -> None:
    word = "AGGAAAGAGG"  # no base of which is in its reverse complement
    other = other_strand("GG" + word + "T")
    assert len(merge_words([word, other], 5, True, None, both_strands=False)) == 2
    assert merge_words([word, other], 5, True, None, both_strands=True) == {
        0: [Member(0, 0, False), Member(1, 2, True)]
    }
