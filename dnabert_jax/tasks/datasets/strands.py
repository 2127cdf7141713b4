"""Tells labelled sequences that have a direction, such as splice sites, from those that have none, such as peaks.

n sequences.
"""

import numpy as np
from jaxtyping import Float
from scipy import special

from dnabert_jax.sequence.bases import AMBIGUOUS, reverse_complement
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL
from dnabert_jax.tasks.datasets.labelled import LabelledSplit

_FALSE_ALARM = 1e-6
"""Probability at which a split of sequences without direction is taken for one with direction."""

_SMALL_EFFECT = 0.2
"""The smallest mean over its standard deviation (Cohen's d) that is a direction, however many sequences show it."""

_WORD, _EDGE, _FEWEST = 3, 40, 8


def differs_between_strands(split: LabelledSplit) -> bool:
    """Returns whether sequences of some label differ from their reverse complements by more than chance.

    Two things are counted in each sequence: how often each word of 3 bases occurs, less how often its reverse
    complement does; and at each of 40 places from the start and 40 in the middle, whether a base stands there, less
    whether its complement stands at the mirrored place. Of sequences without direction the means are zero. They are
    tested for each label (for a number, above and below its median) by a t-test, at a level of 1e-6 over all tests; a
    mean of less than 0.2 standard deviations does not count.
    """
    sequences = (split.sequences[row] for row in range(len(split)))
    differences = np.stack([_features(codes) - _features(reverse_complement(codes)) for codes in sequences])
    if split.labels.ndim == 1:
        groups = [split.labels == label for label in np.unique(split.labels)]
    else:
        above = split.labels > np.median(split.labels, axis=0)
        groups = [rows for output in above.T for rows in (output, ~output)]
    smallest = min(_p_value(differences[group]) for group in groups)
    return smallest * len(groups) < _FALSE_ALARM


def _p_value(differences: Float[np.ndarray, "n D"]) -> float:
    """Returns the smallest p-value of a difference that is not small, times the number of differences."""
    count = len(differences)
    if count < _FEWEST:
        return 1.0
    # A base that all have is infinitely unlikely by a t-test of few: two more, one for and one against, temper it.
    mean = differences.sum(axis=0) / (count + 2)
    square = (np.square(differences).sum(axis=0) + 2) / (count + 2)
    effect = (np.abs(mean) / np.sqrt(np.maximum(square - np.square(mean), 1e-12))).max()
    if effect < _SMALL_EFFECT:
        return 1.0
    return float(2 * special.stdtr(count - 1, -effect * np.sqrt(count + 1)) * differences.shape[1])


def _features(codes: np.ndarray) -> Float[np.ndarray, " D"]:
    """Returns how often each word occurs in a sequence, and which base stands at each of its places."""
    ids = KmerTokenizer(_WORD).encode(codes).astype(np.int64)
    counts = np.bincount(ids[ids >= NUM_SPECIAL] - NUM_SPECIAL, minlength=4**_WORD).astype(np.float32)
    places = np.full((2, _EDGE), AMBIGUOUS)
    begin, middle = codes[:_EDGE], codes[max(0, (len(codes) - _EDGE) // 2) :][:_EDGE]
    places[0, : len(begin)], places[1, : len(middle)] = begin, middle
    return np.concatenate([counts, (places[..., None] == np.arange(4)).astype(np.float32).ravel()])
