"""Windows as DNABERT cuts them for pre-training (Ji et al. 2021; examples/data_process_template/
process_pretrain_data.py of the original).

Half of the windows are cut one after the other, sharing no base: with probability 1/2 of full length (510 k-mers),
otherwise of uniform length from 5 to 510. The other half are sampled: for each cut window, one of uniform length at a
uniform place in the same run of certain bases. Lengths count tokens and the last k-mer is kept, so a window of n
k-mers has n + k - 1 bases. Tokens without overlap are cut alike, at any base.
"""

from typing import Literal

import numpy as np
from jaxtyping import Int, UInt8

from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.sequence.tokenizer import Tokenizer

MIN_TOKENS = 5
_FULL_LENGTH_SHARE = 0.5

WindowKind = Literal["mixed", "full"]
"""The mixture of cut and sampled windows of the paper, or full windows alone, cut one after the other."""


def certain_runs(codes: UInt8[np.ndarray, " n"]) -> Int[np.ndarray, "runs 2"]:
    """Returns start and end (half-open) of each maximal stretch without an ambiguous base."""
    return np.flatnonzero(np.diff(codes < AMBIGUOUS, prepend=False, append=False)).reshape(-1, 2)


def clip_runs(runs: Int[np.ndarray, "runs 2"], first: int, end: int) -> Int[np.ndarray, "clipped 2"]:
    """Returns the parts of the runs that lie in [first, end)."""
    clipped = np.clip(runs, first, end)
    return clipped[clipped[:, 0] < clipped[:, 1]]


def cut_windows(
    num_bases: int, tokenizer: Tokenizer, most: int, full_share: float, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " w"], Int[np.ndarray, " w"]]:
    """Returns starts, in bases, and lengths, in tokens, of consecutive windows over a run.

    What is left at the end, no longer than a full window, is the last window; below 5 tokens it is left out.

    Args:
        most: tokens of a full window.
        full_share: probability that a window is full; others have a uniform length from 5 tokens on.
    """
    shortest, full = tokenizer.stretch(MIN_TOKENS), tokenizer.stretch(most)
    # No window is shorter, so that this many surely reach the end of a short run; a long run is covered by its mean
    # with six standard deviations to spare.
    mean = full_share * full + (1 - full_share) * tokenizer.stretch((MIN_TOKENS + most) / 2)
    draws = min(num_bases // shortest, int(num_bases / mean + 6 * np.sqrt(num_bases / mean))) + 1
    counts = rng.integers(MIN_TOKENS, most, draws, endpoint=True)
    counts[rng.random(draws) < full_share] = most
    ends = np.cumsum(tokenizer.stretch(counts))
    starts = ends - tokenizer.stretch(counts)
    last = int(np.argmax(num_bases - starts <= full))
    if num_bases - starts[last] > full:
        raise RuntimeError(f"{draws} windows do not cover {num_bases} bases: more should have been drawn")
    starts, counts = starts[: last + 1], counts[: last + 1]
    counts[last] = tokens_within(num_bases - int(starts[last]), tokenizer)
    keep = counts >= MIN_TOKENS
    return starts[keep], counts[keep]


def tokens_within(bases: int, tokenizer: Tokenizer) -> int:
    """Returns the most tokens whose stretch is not longer than so many bases."""
    return (bases - tokenizer.overlap + 1) // tokenizer.stride


def sampled_windows(
    number: int, num_bases: int, tokenizer: Tokenizer, most: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " w"], Int[np.ndarray, " w"]]:
    """Returns starts, in bases, and lengths, in tokens, of windows at uniform places of a run of at least 5 tokens."""
    counts = rng.integers(MIN_TOKENS, min(most, tokens_within(num_bases, tokenizer)), number, endpoint=True)
    return rng.integers(0, num_bases - tokenizer.stretch(counts), endpoint=True), counts


def windows_of_runs(
    runs: Int[np.ndarray, "runs 2"], tokenizer: Tokenizer, most: int, kind: WindowKind, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " w"], Int[np.ndarray, " w"], int]:
    """Returns windows over the runs of a block: starts in bases, and lengths in tokens.

    A run of fewer than 5 tokens gives none. The third value is the number of bases that no cut window holds.
    """
    starts, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    uncut_bases = 0
    for first, end in runs.tolist():
        uncut_bases += end - first
        if kind == "full":
            # Where the first token begins, which all behind it follow.
            first += int(rng.integers(tokenizer.stride))
        if end - first < tokenizer.stretch(MIN_TOKENS):
            continue
        full_share = _FULL_LENGTH_SHARE if kind == "mixed" else 1.0
        cut_starts, cut_counts = cut_windows(end - first, tokenizer, most, full_share, rng)
        uncut_bases -= int(tokenizer.stretch(cut_counts).sum())
        starts.append(first + cut_starts)
        counts.append(cut_counts)
        if kind == "mixed":
            sampled_starts, sampled_counts = sampled_windows(len(cut_starts), end - first, tokenizer, most, rng)
            starts.append(first + sampled_starts)
            counts.append(sampled_counts)
    return np.concatenate(starts), np.concatenate(counts), uncut_bases
