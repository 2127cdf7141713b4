"""Alternative alleles of a VCF file, each checked against the genome, with the reason if it cannot be scored."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.io.genome import Genome
from dnabert_jax.io.vcf import VcfRecord
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes

_DNA = re.compile("[ACGTRYSWKMBDHVN]+", re.IGNORECASE)


class Allele(NamedTuple):
    """An alternative allele.

    Attributes:
        record: contig, by its name in the genome; empty if the genome does not have it.
        position: of the first base of the reference allele, from 0.
        reference: bases of that allele.
        text: of the alternative allele, as in the file; a dot if a record has none.
        left_out: why it cannot be scored; empty if it can.
        matches: whether REF is what the genome has; None if that was not looked at.
    """

    record: str
    position: int
    reference: int
    codes: UInt8[np.ndarray, " n"]
    text: str
    left_out: str
    matches: bool | None = None


def alleles_of(
    records: Iterable[VcfRecord], genome: Genome, window: int, shortest: int
) -> Iterator[tuple[VcfRecord, Allele]]:
    """Yields the alternative alleles of records in order, each with the reason if it cannot be scored.

    Args:
        window: bases of a window, which must hold either allele.
        shortest: fewest bases that the model reads.
    """
    for record in records:
        contig = genome.names.get(record.contig, "")
        position, reference = record.position - 1, len(record.reference)
        matches, shared = _compared(record, genome, contig, position)
        for text in record.alternatives or ["."]:
            reason = shared or _why_not(text, max(reference, len(text)) > window)
            if not reason and genome.length(contig) - reference + len(text) < shortest:
                reason = "the contig is too short for the model"
            codes = np.zeros(0, np.uint8) if reason else base_codes(text.encode())
            yield record, Allele(contig, position, reference, codes, text, reason, matches)


def _compared(record: VcfRecord, genome: Genome, contig: str, position: int) -> tuple[bool | None, str]:
    """Returns whether REF is what the genome has, if it was compared, and what keeps all alleles from being scored."""
    if not record.alternatives:
        return None, "the record has no alternative allele"
    if not _DNA.fullmatch(record.reference):
        return None, "REF is not DNA"
    if not contig:
        return None, genome.missing[record.contig]
    end = position + len(record.reference)
    if position < 0 or end > genome.length(contig):
        return None, "REF reaches beyond the ends of the contig"
    bases = genome[contig][position:end]
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
