"""Alternative alleles of a VCF file, each checked against the genome, and the windows around them.

Both alleles of a variant are placed in windows of its contig and turned in the same ways.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.io.genome import Genome
from dnabert_jax.io.vcf import VcfRecord
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes, reverse_complement

_DNA = re.compile("[ACGTRYSWKMBDHVN]+", re.IGNORECASE)


class Allele(NamedTuple):
    """An alternative allele.

    Attributes:
        record: the line of the file.
        text: the bases, as in the file; a dot if the record has no alternative allele.
        contig: by its name in the genome; empty if the genome does not have it.
        left_out: why it cannot be scored; empty if it can.
        matches: whether REF is what the genome has; None if that was not looked at.
    """

    record: VcfRecord
    text: str
    contig: str
    left_out: str = ""
    matches: bool | None = None


def alleles_of(record: VcfRecord, genome: Genome, window: int, shortest: int) -> Iterator[Allele]:
    """Yields the alternative alleles of a record in order, each with the reason if it cannot be scored.

    Args:
        window: bases of a window, which must hold either allele.
        shortest: fewest bases that the model reads.
    """
    contig = genome.names.get(record.contig, "")
    matches, shared = _compared(record, genome, contig)
    reference = len(record.reference)
    for text in record.alternatives or ["."]:
        reason = shared or _why_not(text, max(reference, len(text)) > window)
        if not reason and genome.length(contig) - reference + len(text) < shortest:
            reason = "the contig is too short for the model"
        yield Allele(record, text, contig, reason, matches)


def _compared(record: VcfRecord, genome: Genome, contig: str) -> tuple[bool | None, str]:
    """Returns whether REF is what the genome has, if it was compared, and what keeps all alleles from being scored."""
    if not record.alternatives:
        return None, "the record has no alternative allele"
    if not _DNA.fullmatch(record.reference):
        return None, "REF is not DNA"
    if not contig:
        return None, genome.missing[record.contig]
    start = record.position - 1
    end = start + len(record.reference)
    if start < 0 or end > genome.length(contig):
        return None, "REF reaches beyond the ends of the contig"
    bases = genome[contig][start:end]
    if not np.array_equal(bases, base_codes(record.reference.encode())):
        return False, "REF is not what the genome has"
    # Its k-mers are [UNK] with either allele, and that would look like no effect.
    return True, "REF has a letter such as N" if (bases == AMBIGUOUS).any() else ""


def _why_not(text: str, too_long: bool) -> str:
    if text == "*" or not text.isalpha():
        return "the allele is symbolic, a breakend or an overlapping deletion"
    if not _DNA.fullmatch(text):
        return "ALT is not DNA"
    # Its k-mers are [UNK], and what the model makes of that would look like an effect.
    if (base_codes(text.encode()) == AMBIGUOUS).any():
        return "ALT has a letter such as N"
    return "the allele is longer than the window" if too_long else ""


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
        """Returns the window of the other strand."""
        return Window(reverse_complement(self.codes), len(self.codes) - self.first - self.length, self.length)

    def without(self, bases: int) -> "Window":
        """Returns the window without its first bases, which are before the allele."""
        return Window(self.codes[bases:], self.first - bases, self.length)


Pair = tuple[Window, Window]
"""A window with the reference allele, and the same with the alternative one."""


def window_pairs(
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
        reference: bases of the reference allele.
        bases: of a window, no fewer than either allele has.
        both_strands: whether each window comes as its reverse complement too.
    """
    end = position + reference
    starts = set()
    for placement in range(1, placements + 1):
        start = position + reference // 2 - int(bases * (placement / (placements + 1)))
        # Within the contig, and so that all of the allele is within the window.
        starts.add(max(min(start, len(contig) - bases, position), 0, end - bases))

    def window(allele: UInt8[np.ndarray, " n"], left: int) -> Window:
        """Returns a window with `left` bases before the allele, or as many as it and the contig have room for."""
        others = bases - len(allele)
        right = min(others - min(left, others), len(contig) - end)
        left = min(others - right, position)
        return Window(
            np.concatenate([contig[position - left : position], allele, contig[end : end + right]]), left, len(allele)
        )

    for start in sorted(starts):
        pair = window(np.asarray(contig[position:end]), position - start), window(alternative, position - start)
        yield pair
        if both_strands:
            yield pair[0].reverse_complement(), pair[1].reverse_complement()
