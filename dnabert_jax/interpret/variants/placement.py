"""A variant in windows of its contig: the reference and the alternative allele, placed and turned in the same ways."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.sequence.bases import reverse_complement


class Window(NamedTuple):
    """Bases around an allele.

    Attributes:
        codes: of the bases, as of `base_codes`.
        first: where the allele begins in it.
        length: bases of the allele.
    """

    codes: UInt8[np.ndarray, " bases"]
    first: int
    length: int

    def reverse_complement(self) -> "Window":
        """The other strand."""
        first = len(self.codes) - self.first - self.length
        return Window(reverse_complement(self.codes), first, self.length)


class Pair(NamedTuple):
    """A window with the reference allele, and the same with the alternative one."""

    reference: Window
    alternative: Window


def pairs(
    contig: UInt8[np.ndarray, " b"],
    position: int,
    reference: int,
    alternative: UInt8[np.ndarray, " n"],
    bases: int,
    placements: int,
    both_strands: bool,
) -> Iterator[Pair]:
    """Yields the windows of a variant, different ones only.

    In placement i of n the middle of the reference allele is at i / (n + 1) of the window: in the middle of it, if
    there is one. At the ends of the contig windows are moved to lie within it; one that is shorter than a window is
    taken whole. The alternative allele has as many bases on its left as the reference has, and fewer or more on its
    right, so that both windows have `bases` if the contig has them.

    Args:
        position: of the first base of the reference allele, from 0.
        bases: of a window, no fewer than either allele has.
        both_strands: whether each window comes as its reverse complement too.
    """
    starts = {_start(len(contig), position, reference, bases, i / (placements + 1)) for i in range(1, placements + 1)}
    for start in sorted(starts):
        allele = np.asarray(contig[position : position + reference])
        left = position - start
        pair = Pair(
            _around(contig, position, reference, allele, left, bases),
            _around(contig, position, reference, alternative, left, bases),
        )
        yield pair
        if both_strands:
            yield Pair(pair.reference.reverse_complement(), pair.alternative.reverse_complement())


def _start(length: int, position: int, reference: int, bases: int, share: float) -> int:
    start = position + reference // 2 - int(bases * share)
    # Within the contig, and so that all of the allele is within the window.
    start = max(min(start, length - bases, position), 0)
    return max(start, position + reference - bases)


def _around(
    contig: UInt8[np.ndarray, " b"],
    position: int,
    reference: int,
    allele: UInt8[np.ndarray, " n"],
    left: int,
    bases: int,
) -> Window:
    """A window with `left` bases before the allele, fewer or more where it must be or the contig has no others."""
    behind = position + reference
    left = min(left, bases - len(allele))
    right = min(bases - left - len(allele), len(contig) - behind)
    left = min(bases - len(allele) - right, position)
    codes = np.concatenate([contig[position - left : position], allele, contig[behind : behind + right]])
    return Window(codes, left, len(allele))
