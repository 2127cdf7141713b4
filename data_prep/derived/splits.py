"""Which examples are for training, validation and test, so that neighbours on the genome stay together."""

import math

import numpy as np
from jaxtyping import Int8, Int64, Integer

from dnabert_jax.errors import InputError

SPLITS = ("train", "validation", "test")


def loci(
    contig: Integer[np.ndarray, " n"], start: Int64[np.ndarray, " n"], length: int, distance: int
) -> Int64[np.ndarray, " n"]:
    """Number of the locus of each window: two loci of a contig have at least `distance` bases between them.

    Windows that overlap, or have fewer bases than that between them, are of one locus, and so are all that such pairs
    connect.
    """
    order = np.lexsort((start, contig))
    new = np.ones(len(start), bool)
    same = contig[order][1:] == contig[order][:-1]
    new[1:] = ~same | (start[order][1:] - start[order][:-1] - length >= distance)
    numbers = np.empty(len(start), np.int64)
    numbers[order] = np.cumsum(new) - 1
    return numbers


def split_loci(
    locus: Int64[np.ndarray, " n"],
    kind: Integer[np.ndarray, " n"],
    validation: float,
    test: float,
    rng: np.random.Generator,
) -> Int8[np.ndarray, " n"]:
    """Number in SPLITS of each example: whole loci, in random order, each to the split that lacks most of its kinds.

    Args:
        kind: of each example, 0-based; each split gets about the same share of every kind.
    """
    counts = np.zeros((int(locus.max()) + 1, int(kind.max()) + 1))
    np.add.at(counts, (locus, kind), 1)
    shares = np.array([1 - validation - test, validation, test])
    target = np.outer(shares, counts.sum(axis=0))
    # A kind without examples lacks nothing.
    whole = np.where(target > 0, target, np.inf)
    room = np.where(shares > 0, target.sum(axis=1) + 1, 0).tolist()
    filled = np.zeros_like(target)
    chosen = np.zeros(len(counts), np.int8)
    sizes = counts.sum(axis=1).tolist()
    for number in rng.permutation(len(counts)).tolist():
        own, size = counts[number], sizes[number]
        # What is left of each split's target, as a share of it; a locus too large for all is trained on.
        lacks = ((target - filled) / whole @ own).tolist()
        split = max(range(len(SPLITS)), key=lambda s: lacks[s] if size <= room[s] else -math.inf)
        chosen[number] = split
        filled[split] += own
        room[split] -= size
    for name, share, got in zip(SPLITS, shares, filled.sum(axis=1), strict=True):
        if share > 0 and not got:
            raise InputError(
                f"The examples make {len(counts):,} loci, too few or too large for the split {name!r}: lower "
                "--locus-distance, or choose its contigs with --validation-contigs and --test-contigs."
            )
    return chosen[locus]


def split_contigs(
    contig: Integer[np.ndarray, " n"], names: list[str], validation: set[str], test: set[str]
) -> Int8[np.ndarray, " n"]:
    """Number in SPLITS of each example, by its contig.

    Args:
        validation, test: names of the contigs of these splits; the others are for training.
    """
    of_contig = np.array([1 if name in validation else 2 if name in test else 0 for name in names], np.int8)
    split = of_contig[contig]
    for number, name in enumerate(SPLITS):
        if not (split == number).any():
            given = ", ".join(sorted((set(names) - validation - test, validation, test)[number])) or "no contig"
            raise InputError(f"The split {name!r} has no examples: they would come from {given}.")
    return split
