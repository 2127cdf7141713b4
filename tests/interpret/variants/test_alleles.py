"""Windows hold what a contig with the other allele would hold, wherever the variant is."""

import random

import numpy as np
import pytest

from dnabert_jax.interpret.variants.alleles import window_pairs
from dnabert_jax.sequence.bases import base_codes, reverse_complement

CONTIG = "".join(random.Random(3).choices("ACGT", k=40))  # noqa: S311


def codes(text: str) -> np.ndarray:
    return base_codes(text.encode())


@pytest.mark.parametrize("bases", [9, 16, 40, 60])
@pytest.mark.parametrize(("reference", "alternative"), [(1, "G"), (1, "GATTACA"), (6, "G"), (2, "CC")])
def test_both_windows_are_cut_from_contigs_that_differ_in_the_allele_alone(
    bases: int, reference: int, alternative: str
) -> None:
    for position in range(len(CONTIG) - reference + 1):
        changed = CONTIG[:position] + alternative + CONTIG[position + reference :]
        for placements in (1, 3):
            found = list(window_pairs(codes(CONTIG), position, reference, codes(alternative), bases, placements, False))
            assert 1 <= len(found) <= placements
            for before, after in found:
                for window, contig, length in ((before, CONTIG, reference), (after, changed, len(alternative))):
                    start = position - window.first
                    assert window.length == length
                    assert len(window.codes) == min(bases, len(contig))
                    assert 0 <= window.first <= len(window.codes) - length
                    assert np.array_equal(window.codes, codes(contig[start : start + len(window.codes)]))


def test_the_variant_is_in_the_middle_or_at_even_parts() -> None:
    contig = np.zeros(400, np.uint8)
    for position, placements, firsts in ((200, 1, [50]), (200, 3, [75, 50, 25]), (0, 3, [0])):
        found = window_pairs(contig, position, 1, codes("G"), 100, placements, False)
        assert [(before.first, after.first) for before, after in found] == [(first, first) for first in firsts]


def test_the_other_strand_is_the_same_window_turned() -> None:
    forward, reverse = window_pairs(codes(CONTIG), 10, 2, codes("GGA"), 12, 1, True)
    for before, after in zip(forward, reverse, strict=True):
        assert np.array_equal(after.codes, reverse_complement(before.codes))
        allele = before.codes[before.first : before.first + before.length]
        turned = after.codes[after.first : after.first + after.length]
        assert np.array_equal(turned, reverse_complement(allele))
