"""Where a model attends: runs of bases of high score, and the words of DNA there.

As `find_high_attention` and `contiguous_regions` of the original's motif/motif_utils.py.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64

from dnabert_jax.sequence.bases import AMBIGUOUS, decode_bases, reverse_complement
from dnabert_jax.tasks.datasets.sequences import Sequences


def high_score_runs(
    scores: Float[np.ndarray, " n"], min_length: int, over_minimum: float = 10.0
) -> Int64[np.ndarray, "runs 2"]:
    """Returns starts and ends of the runs of bases whose score is above the sequence's mean and above its minimum.

    Args:
        over_minimum: a score must exceed the least score this many times.
    """
    exact = scores.astype(np.float64)
    if not len(exact):
        return np.zeros((0, 2), np.int64)
    high = (exact > exact.mean()) & (exact > over_minimum * exact.min())
    runs = np.flatnonzero(np.diff(high.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return runs[runs[:, 1] - runs[:, 0] >= min_length]


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
    """Where a word stands in sequences.

    Attributes:
        start: of the first base of it, on the sequence as it is.
        reverse: whether the word reads on the other strand.
    """

    sequence: Int64[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    reverse: Bool[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.sequence)


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """The words of high score.

    Attributes:
        places: of each word, in the order in which the words first occur.
        ambiguous: sequence, start and end of those that hold a letter such as N and are not words.
    """

    places: dict[str, Places]
    regions: int
    ambiguous: list[tuple[int, int, int]]


def candidate_words(
    sequences: Sequences,
    scores: Sequence[Float[np.ndarray, " _"]],
    min_length: int,
    over_minimum: float,
    both_strands: bool,
) -> Candidates:
    """Finds the runs of high score in all sequences, and gathers those that hold the same word.

    Args:
        both_strands: whether a word and its reverse complement are one: that which comes first in the alphabet.
    """
    found: dict[str, list[tuple[int, int, bool]]] = {}
    regions, ambiguous = 0, []
    for number, of_bases in enumerate(scores):
        codes = sequences[number]
        for start, end in high_score_runs(of_bases, min_length, over_minimum):
            regions += 1
            word = codes[start:end]
            if (word == AMBIGUOUS).any():
                ambiguous.append((number, int(start), int(end)))
                continue
            text = decode_bases(word)
            other = decode_bases(reverse_complement(word)) if both_strands else text
            found.setdefault(min(text, other), []).append((number, int(start), other < text))
    places = {}
    for text, rows in found.items():
        sequence, start, reverse = zip(*rows, strict=True)
        places[text] = Places(np.array(sequence, np.int64), np.array(start, np.int64), np.array(reverse, np.bool_))
    return Candidates(places, regions, ambiguous)
