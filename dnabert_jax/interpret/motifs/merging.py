"""Like words put together, each at the shift at which it matches best, without gaps inside.

As `merge_motifs` of the original's motif/motif_utils.py, whose aligner gives 1 for a match, 0 for a mismatch and for
a gap at an end, and forbids gaps inside: its score is the number of matches at the best shift of one word along the
other. Here a word is compared with all seeds at all shifts by one matrix product. See docs/motifs.md for what differs.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from dnabert_jax.sequence.bases import base_codes, reverse_complement

_ONE_HOT = np.eye(4, dtype=np.float32)


class Member(NamedTuple):
    """A word of a group.

    Attributes:
        shift: where in it the group's seed begins; negative, if before it.
        reverse: whether it is the reverse complement of the word that this holds for.
    """

    word: int
    shift: int
    reverse: bool


def merge_words(
    words: Sequence[str],
    min_length: int,
    all_ties: bool,
    min_score: float | None,
    both_strands: bool,
    progress: Callable[[int], object] = lambda _: None,
) -> dict[int, list[Member]]:
    """Groups words: from the shortest to the longest, each joins the seeds that it matches best, or is a new seed.

    Words of one length come in the order given, and what the groups are depends on it.

    Args:
        min_length: of a word; a match has at least one base less.
        all_ties: whether a word joins all seeds that it matches equally well, or the first.
        min_score: of a match, in bases; the larger of min_length - 1 and half the shorter word, if not given.
        both_strands: whether the reverse complement of a word is tried too.

    Returns:
        For the number of each seed, in the order in which they became seeds, its members, itself the first.
    """
    groups: dict[int, list[Member]] = {}
    longest = max(map(len, words), default=0)
    seeds = np.zeros((len(words), longest, 4), np.float32)
    for word in sorted(range(len(words)), key=lambda number: len(words[number])):
        codes = base_codes(words[word].encode())
        strands = (codes, reverse_complement(codes)) if both_strands else (codes,)
        joined = _best_seeds(strands, seeds[: len(groups)], [len(words[s]) for s in groups], min_length, min_score)
        if joined:
            numbers = list(groups)
            for seed, shift, reverse in joined if all_ties else joined[:1]:
                groups[numbers[seed]].append(Member(word, shift, reverse))
        else:
            seeds[len(groups), : len(codes)] = _ONE_HOT[codes]
            groups[word] = [Member(word, 0, False)]
        progress(1)
    return groups


def _best_seeds(
    strands: Sequence[UInt8[np.ndarray, " m"]],
    seeds: Float32[np.ndarray, "n longest 4"],
    lengths: Sequence[int],
    min_length: int,
    min_score: float | None,
) -> list[tuple[int, int, bool]]:
    """Returns the seeds, none longer than the word, that match best of those that match: (seed, shift, strand)."""
    if not lengths:
        return []
    sizes = np.array(lengths)
    width = int(sizes.max())
    matches = np.stack([_matches(codes, seeds[:, :width]) for codes in strands])
    wanted = np.maximum(min_length - 1, sizes / 2) if min_score is None else np.full(len(sizes), min_score)
    best = matches.max(axis=(0, 2))
    top = best[best >= wanted].max(initial=-1)
    joined = []
    for seed in np.flatnonzero((best >= wanted) & (best == top)):
        reverse = int(np.argmax(matches[:, seed].max(axis=1)))  # the word's own strand, if both match as well
        shifts = np.flatnonzero(matches[reverse, seed] == top) - (width - 1)
        # If several match equally well, Biopython's aligner, whose first one the original takes, begins from the right
        # and leaves as much of the seed unaligned as it can, or else as much of the word.
        both_end_together = len(strands[0]) - int(sizes[seed])
        shift = shifts[-1] if shifts[-1] > both_end_together else shifts[0]
        joined.append((int(seed), int(shift), bool(reverse)))
    return joined


def _matches(word: UInt8[np.ndarray, " m"], seeds: Float32[np.ndarray, "n width 4"]) -> Float32[np.ndarray, "n shifts"]:
    """Returns how many bases of each seed match at each shift, from 1 - width to m - 1."""
    width = seeds.shape[1]
    padded = np.pad(_ONE_HOT[word], ((width - 1, width - 1), (0, 0)))
    shifted = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)  # [shifts, 4, width]
    return seeds.reshape(len(seeds), -1) @ shifted.transpose(0, 2, 1).reshape(len(shifted), -1).T
