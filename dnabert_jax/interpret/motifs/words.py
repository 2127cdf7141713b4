"""Words of DNA where a model attends, and which of them are in more positive sequences than chance would have it.

As `find_high_attention`, `contiguous_regions` and `motifs_hypergeom_test` of the original's motif/motif_utils.py, with
one pass over the sequences for all words.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes, decode_bases, reverse_complement
from dnabert_jax.tasks.datasets.sequences import Sequences

Counts = Int64[np.ndarray, " words"]
Probabilities = Float64[np.ndarray, " words"]


class Places(NamedTuple):
    """Where a word is in sequences.

    Attributes:
        start: of the first base of it, on the sequence as it is.
        reverse: whether the word reads on the other strand.
    """

    sequence: Int64[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    reverse: Bool[np.ndarray, " n"]


def high_score_runs(
    scores: Float[np.ndarray, " n"], min_length: int, over_minimum: float = 10.0
) -> Int64[np.ndarray, "runs 2"]:
    """Returns starts and ends of the runs of bases whose score is above the sequence's mean and above its minimum.

    Args:
        over_minimum: a score must exceed the least score this many times.
    """
    exact = scores.astype(np.float64)
    high = (exact > exact.mean()) & (exact > over_minimum * exact.min())
    runs = np.flatnonzero(np.diff(high, prepend=False, append=False)).reshape(-1, 2)
    return runs[runs[:, 1] - runs[:, 0] >= min_length]


def candidate_words(
    sequences: Sequences,
    scores: Sequence[Float[np.ndarray, " _"]],
    min_length: int,
    over_minimum: float,
    both_strands: bool,
) -> tuple[dict[str, Places], int, list[tuple[int, int, int]]]:
    """Finds the runs of high score in all sequences, and gathers those that hold the same word.

    Args:
        both_strands: whether a word and its reverse complement are one: that which comes first in the alphabet.

    Returns:
        The places of each word, in the order in which the words first occur; how many regions of high score there are;
        and sequence, start and end of those that hold a letter such as N and are not words.
    """
    places: dict[str, list[tuple[int, int, bool]]] = {}
    regions, ambiguous = 0, []
    for number, of_bases in enumerate(scores):
        codes = sequences[number]
        for start, end in high_score_runs(of_bases, min_length, over_minimum).tolist():
            regions += 1
            word = codes[start:end]
            if (word == AMBIGUOUS).any():
                ambiguous.append((number, start, end))
                continue
            text = decode_bases(word)
            other = decode_bases(reverse_complement(word)) if both_strands else text
            places.setdefault(min(text, other), []).append((number, start, other < text))
    columns = {text: zip(*rows, strict=True) for text, rows in places.items()}
    kinds = (np.int64, np.int64, np.bool_)
    arrays = {text: Places(*map(np.array, three, kinds)) for text, three in columns.items()}
    return arrays, regions, ambiguous


def enrichment(
    words: Sequence[str],
    positives: Sequences,
    negatives: Sequences,
    both_strands: bool,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[Counts, Counts, Probabilities, Probabilities]:
    """Counts the sequences that hold each word, and tests each by the hypergeometric distribution.

    Args:
        words: of A, C, G and T, all different.
        both_strands: whether the reverse complement of a word counts as the word.

    Returns:
        The number of positive sequences that each word is in, however often, and of negative ones; the probability of
        at least as many positive ones, if the sequences with the word were drawn from all; and that probability
        adjusted by Benjamini and Hochberg over all words.
    """
    import ahocorasick
    from scipy.stats import false_discovery_control, hypergeom

    if not words:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    # Finds all words in one pass, in linear time (Aho and Corasick 1975).
    automaton = ahocorasick.Automaton()
    for number, word in enumerate(words):
        automaton.add_word(word, number)
        if both_strands:
            automaton.add_word(decode_bases(reverse_complement(base_codes(word.encode()))), number)
    automaton.make_automaton()
    counts = np.zeros((2, len(words)), np.int64)
    for count, sequences in zip(counts, (positives, negatives), strict=True):
        for row in range(len(sequences)):
            count[list({number for _, number in automaton.iter(decode_bases(sequences[row]))})] += 1
            progress(1)
    # Most words have the counts of some other: each pair is computed once.
    pairs, inverse = np.unique(counts, axis=1, return_inverse=True)
    p = hypergeom.sf(pairs[0] - 1, len(positives) + len(negatives), len(positives), pairs.sum(axis=0))
    p = np.clip(p, 0.0, 1.0)[inverse.ravel()]
    return counts[0], counts[1], p, false_discovery_control(p, method="bh")
