"""Windows as DNABERT cuts them for pre-training (Ji et al. 2021; examples/data_process_template/
process_pretrain_data.py of the original).

Half of the windows are cut one after the other, sharing no base: with probability 1/2 of full length (510 k-mers),
otherwise of uniform length from 5 to 510. The other half are sampled: for each cut window, one of uniform length at a
uniform place in the same run of certain bases. Lengths count k-mers and the last k-mer is kept, so a window of n
k-mers has n + k - 1 bases.
"""

import numpy as np
from jaxtyping import Int, UInt8

from dnabert_jax.sequence.bases import AMBIGUOUS

MIN_KMERS = 5
_FULL_LENGTH_SHARE = 0.5


def certain_runs(codes: UInt8[np.ndarray, " n"]) -> Int[np.ndarray, "runs 2"]:
    """Returns start and end (half-open) of each maximal stretch without an ambiguous base."""
    certain = np.concatenate([[False], codes < AMBIGUOUS, [False]])
    return np.flatnonzero(certain[1:] != certain[:-1]).reshape(-1, 2)


def clip_runs(runs: Int[np.ndarray, "runs 2"], first: int, end: int) -> Int[np.ndarray, "clipped 2"]:
    """Returns the parts of the runs that lie in [first, end)."""
    clipped = np.clip(runs, first, end)
    return clipped[clipped[:, 0] < clipped[:, 1]]


def cut_windows(
    num_bases: int, k: int, max_kmers: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " w"], Int[np.ndarray, " w"]]:
    """Returns starts, in bases, and lengths, in k-mers, of consecutive windows over a run.

    What is left at the end, no longer than a full window, is the last window; below 5 k-mers it is left out.
    """
    full = max_kmers + k - 1
    # No window is shorter than MIN_KMERS + k - 1 bases, so that this many surely reach the end of a short run; a
    # long run is covered by its mean with six standard deviations to spare.
    mean = (max_kmers + (MIN_KMERS + max_kmers) / 2) / 2 + k - 1
    draws = min(num_bases // (MIN_KMERS + k - 1), int(num_bases / mean + 6 * np.sqrt(num_bases / mean))) + 1
    counts = rng.integers(MIN_KMERS, max_kmers, draws, endpoint=True)
    counts[rng.random(draws) < _FULL_LENGTH_SHARE] = max_kmers
    ends = np.cumsum(counts + k - 1)
    starts = ends - (counts + k - 1)
    last = int(np.argmax(num_bases - starts <= full))
    if num_bases - starts[last] > full:
        raise RuntimeError(f"{draws} windows do not cover {num_bases} bases: more should have been drawn")
    starts, counts = starts[: last + 1], counts[: last + 1]
    counts[last] = num_bases - starts[last] - k + 1
    keep = counts >= MIN_KMERS
    return starts[keep], counts[keep]


def sampled_windows(
    number: int, num_bases: int, k: int, max_kmers: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " w"], Int[np.ndarray, " w"]]:
    """Returns starts, in bases, and lengths, in k-mers, of windows at uniform places of a run of at least 5 k-mers."""
    room = num_bases - k + 1
    counts = rng.integers(MIN_KMERS, min(max_kmers, room), number, endpoint=True)
    return rng.integers(0, room - counts, endpoint=True), counts


def windows_of_runs(
    runs: Int[np.ndarray, "runs 2"], k: int, max_kmers: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " w"], Int[np.ndarray, " w"], int]:
    """Returns windows over the runs of a block, half cut and half sampled: starts in bases, and lengths in k-mers.

    A run of fewer than 5 k-mers gives none. The third value is the number of bases that no cut window holds.
    """
    starts, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    uncut_bases = 0
    for first, end in runs.tolist():
        uncut_bases += end - first
        if end - first < MIN_KMERS + k - 1:
            continue
        cut_starts, cut_counts = cut_windows(end - first, k, max_kmers, rng)
        uncut_bases -= int((cut_counts + k - 1).sum())
        sampled_starts, sampled_counts = sampled_windows(len(cut_starts), end - first, k, max_kmers, rng)
        starts += [first + cut_starts, first + sampled_starts]
        counts += [cut_counts, sampled_counts]
    return np.concatenate(starts), np.concatenate(counts), uncut_bases
