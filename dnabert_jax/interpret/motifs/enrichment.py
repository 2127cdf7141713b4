"""Tests which words stand in more positive sequences than chance would have it.

As `motifs_hypergeom_test` of the original's motif/motif_utils.py, with one pass over the sequences for all words.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from dnabert_jax.sequence.bases import base_codes, decode_bases, reverse_complement
from dnabert_jax.tasks.datasets.sequences import Sequences


@dataclasses.dataclass(frozen=True, eq=False)
class Enrichment:
    """Counts and probabilities of words.

    Attributes:
        positives: number of positive sequences that each word stands in, however often.
        p: probability of at least as many positive ones, if the sequences with the word were drawn from all.
        adjusted_p: by Benjamini and Hochberg, over all words.
    """

    positives: Int64[np.ndarray, " words"]
    negatives: Int64[np.ndarray, " words"]
    p: Float64[np.ndarray, " words"]
    adjusted_p: Float64[np.ndarray, " words"]


def enrichment(
    words: Sequence[str],
    positives: Sequences,
    negatives: Sequences,
    both_strands: bool,
    progress: Callable[[int], object] = lambda _: None,
) -> Enrichment:
    """Counts the sequences that hold each word, and tests each by the hypergeometric distribution.

    Args:
        words: of A, C, G and T, all different.
        both_strands: whether the reverse complement of a word counts as the word.
    """
    from scipy.stats import false_discovery_control, hypergeom

    if not words:
        return Enrichment(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    find = _finder(words, both_strands)
    counts = [np.zeros(len(words), np.int64) for _ in range(2)]
    for count, sequences in zip(counts, (positives, negatives), strict=True):
        for row in range(len(sequences)):
            count[find(decode_bases(sequences[row]))] += 1
            progress(1)
    # Most words have the counts of some other: each pair is computed once.
    pairs, inverse = np.unique(np.stack(counts), axis=1, return_inverse=True)
    with_word = pairs.sum(axis=0)
    p = hypergeom.sf(pairs[0] - 1, len(positives) + len(negatives), len(positives), with_word)
    p = np.clip(p, 0.0, 1.0)[inverse.ravel()]
    return Enrichment(counts[0], counts[1], p, false_discovery_control(p, method="bh"))


def _finder(words: Sequence[str], both_strands: bool) -> Callable[[str], Int64[np.ndarray, " found"]]:
    """Returns a function from a text to the numbers of its words, in linear time (Aho and Corasick 1975)."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for number, word in enumerate(words):
        automaton.add_word(word, number)
        if both_strands:
            automaton.add_word(decode_bases(reverse_complement(base_codes(word.encode()))), number)
    automaton.make_automaton()
    return lambda text: np.array(sorted({number for _, number in automaton.iter(text)}), np.int64)
