"""Runs of high score are those of the definition, base by base; words of either strand are put together."""

import numpy as np

from dnabert_jax.interpret.motifs.regions import candidate_words, high_score_runs
from dnabert_jax.sequence.bases import decode_bases, reverse_complement
from tests.interpret.motifs.conftest import sequences_of


def runs_by_definition(scores: np.ndarray, min_length: int) -> list[list[int]]:
    mean, least = sum(map(float, scores)) / len(scores), min(map(float, scores))
    high = [score > mean and score > 10 * least for score in map(float, scores)] + [False]
    runs, start = [], None
    for place, above in enumerate(high):
        if above and start is None:
            start = place
        if not above and start is not None:
            runs.append([start, place])
            start = None
    return [run for run in runs if run[1] - run[0] >= min_length]


def test_runs_are_those_of_the_definition() -> None:
    rng, found = np.random.default_rng(0), 0
    for case in range(200):
        scores = rng.gamma(0.5, size=rng.integers(1, 40)).astype(np.float32) + (0.05 if case % 2 else 0)
        expected = runs_by_definition(scores, 1 + case % 4)
        found += len(expected)
        assert high_score_runs(scores, 1 + case % 4).tolist() == expected
    assert found > 200


def test_a_run_may_reach_both_ends_and_constant_scores_have_none() -> None:
    assert high_score_runs(np.array([9, 9, 0, 0, 9], np.float32), 1).tolist() == [[0, 2], [4, 5]]
    assert high_score_runs(np.ones(8, np.float32), 1).tolist() == []


def test_words_are_what_stands_in_the_runs_and_a_letter_in_doubt_is_counted() -> None:
    high, low = [1.0] * 4, [0.0] * 3
    scores = [np.array([*low, *high, *low], np.float32)] * 3
    sequences = sequences_of(["CCCACCTCCC", "CCCAGGTCCC", "CCCACNTCCC"])
    one = candidate_words(sequences, scores, 4, 10.0, both_strands=False)
    assert (list(one.places), one.regions, one.ambiguous) == (["ACCT", "AGGT"], 3, [(2, 3, 7)])
    both = candidate_words(sequences, scores, 4, 10.0, both_strands=True)
    (word,) = both.places
    for sequence, start, reverse in zip(*vars(both.places[word]).values(), strict=True):
        own = sequences[sequence][start : start + len(word)]
        assert decode_bases(reverse_complement(own) if reverse else own) == word == "ACCT"
    assert both.places[word].reverse.tolist() == [False, True]
