"""Alternative alleles of a VCF file, each checked against the genome, with the reason if it cannot be scored."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.io.genome import Genome
from dnabert_jax.io.vcf import VcfRecord
from dnabert_jax.sequence.kmers import AMBIGUOUS, base_codes

NO_ALTERNATIVE = "the record has no alternative allele"
NOT_DNA = "REF is not DNA"
BEYOND = "REF reaches beyond the ends of the contig"
MISMATCH = "REF is not what the genome has"
AMBIGUOUS_REFERENCE = "REF has a letter such as N"
SYMBOLIC = "the allele is symbolic, a breakend or an overlapping deletion"
ALTERNATIVE_NOT_DNA = "ALT is not DNA"
AMBIGUOUS_ALTERNATIVE = "ALT has a letter such as N"
TOO_LONG = "the allele is longer than the window"
TOO_SHORT = "the contig is too short for the model"
REFERENCE_IS_RIGHT = (
    AMBIGUOUS_REFERENCE, SYMBOLIC, ALTERNATIVE_NOT_DNA, AMBIGUOUS_ALTERNATIVE, TOO_LONG, TOO_SHORT,
)  # fmt: skip
"""Reasons that are looked for only where REF is what the genome has."""

_DNA = re.compile("[ACGTRYSWKMBDHVN]+", re.IGNORECASE)


class Allele(NamedTuple):
    """An alternative allele.

    Attributes:
        record: contig, by its name in the genome; empty if the genome does not have it.
        position: of the first base of the reference allele, from 0.
        reference: bases of that allele.
        codes: of the alternative allele's bases.
        text: of the alternative allele, as in the file; a dot if a record has none.
        left_out: why it cannot be scored; empty if it can.
    """

    record: str
    position: int
    reference: int
    codes: UInt8[np.ndarray, " n"]
    text: str
    left_out: str


def alleles_of(records: Iterable[VcfRecord], genome: Genome, window: int, k: int) -> Iterator[tuple[VcfRecord, Allele]]:
    """Yields the alternative alleles of records in order, each with the reason if it cannot be scored.

    Args:
        records: of a VCF file.
        genome: the contigs that the records name.
        window: bases of a window, which must hold either allele.
        k: of the model.
    """
    for record in records:
        contig = genome.names.get(record.contig, "")
        position = record.position - 1
        shared = _why_not(record, genome, contig, position)
        for text in record.alternatives or ["."]:
            reason = shared or _why_not_allele(record.reference, text, window)
            if not reason and genome.length(contig) - len(record.reference) + len(text) < k:
                reason = TOO_SHORT
            codes = np.zeros(0, np.uint8) if reason else base_codes(text.encode())
            yield record, Allele(contig, position, len(record.reference), codes, text, reason)


def _why_not(record: VcfRecord, genome: Genome, contig: str, position: int) -> str:
    """Returns what keeps all alleles of a record from being scored; empty if nothing does."""
    if not record.alternatives:
        return NO_ALTERNATIVE
    if not _DNA.fullmatch(record.reference):
        return NOT_DNA
    if not contig:
        return genome.missing[record.contig]
    end = position + len(record.reference)
    if position < 0 or end > genome.length(contig):
        return BEYOND
    bases = genome[contig][position:end]
    if not np.array_equal(bases, base_codes(record.reference.encode())):
        return MISMATCH
    # Its k-mers are [UNK] with either allele, and that would look like no effect.
    return AMBIGUOUS_REFERENCE if (bases == AMBIGUOUS).any() else ""


def _why_not_allele(reference: str, text: str, window: int) -> str:
    if text == "*" or not text.isalpha():
        return SYMBOLIC
    if not _DNA.fullmatch(text):
        return ALTERNATIVE_NOT_DNA
    # Its k-mers are [UNK], and what the model makes of that would look like an effect.
    if (base_codes(text.encode()) == AMBIGUOUS).any():
        return AMBIGUOUS_ALTERNATIVE
    return TOO_LONG if max(len(reference), len(text)) > window else ""
