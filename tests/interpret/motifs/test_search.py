"""A planted motif comes back with its matrix and its places, on both strands too; nothing is left out uncounted."""

from typing import Any

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.motifs.config import MotifSearch
from dnabert_jax.interpret.motifs.merging import Member
from dnabert_jax.interpret.motifs.search import FoundMotifs, find_motifs, seed_places, windows_around
from dnabert_jax.interpret.motifs.words import Places
from dnabert_jax.sequence.bases import BASE_ORDER, decode_bases
from tests.interpret.motifs.conftest import PLANTED, Planted, other_strand, sequences_of


def places(*rows: tuple[int, int, bool]) -> Places:
    sequence, start, reverse = zip(*rows, strict=True)
    return Places(np.array(sequence), np.array(start), np.array(reverse))


def search(data: Planted, names: tuple[str, ...] = (), **settings: Any) -> FoundMotifs:
    positives, negatives = sequences_of(data.positives), sequences_of(data.negatives)
    return find_motifs(positives, data.scores, negatives, MotifSearch(**settings), names=names)


def test_a_planted_motif_is_found_with_its_matrix(planted: Planted) -> None:
    result = search(planted, window_size=12)
    (motif,) = result.motifs
    assert (motif.seed, motif.positives, motif.negatives) == (PLANTED, 80, 0)
    assert motif.windows.core.tolist() == planted.starts
    texts = [text[start - 1 : start + 11] for text, start in zip(planted.positives, planted.starts, strict=True)]
    expected = [[sum(text[place] == base for text in texts) / 80 for base in BASE_ORDER] for place in range(12)]
    np.testing.assert_allclose(motif.probabilities(), expected)
    letters = "".join(planted.positives + planted.negatives)
    np.testing.assert_allclose(result.background, [letters.count(base) / len(letters) for base in BASE_ORDER])


def test_both_strands_are_one_motif(planted: Planted) -> None:
    """The motif does not change as half of the sequences are turned, except for the direction of the whole."""
    matrices = []
    for data, shares in ((planted, [0, 80]), (planted.half_turned(), [40, 40])):
        (motif,) = search(data, window_size=13, reverse_complements=True).motifs
        assert (len(motif.windows), motif.positives) == (80, 80)
        assert np.bincount(motif.windows.reverse, minlength=2).tolist() == shares
        matrices.append(motif.probabilities())
    np.testing.assert_allclose(matrices[0], matrices[1])


def test_seed_places_read_the_seed_on_every_combination_of_strands() -> None:
    sequence = "CCTTAGACATCC"
    # TAGACA at 3, of which AGA begins at 1 and, on the other strand, TCT at 2.
    for text, at, reverse in ((sequence, 3, False), (other_strand(sequence), 3, True)):
        for member, seed in ((Member(0, 1, False), "AGA"), (Member(0, 2, True), "TCT")):
            seeds = seed_places(places((0, at, reverse)), member, 6, 3)
            windows = windows_around([seeds], 3, 3, sequences_of([text]))
            assert decode_bases(windows.codes[0]) == seed


def test_windows_at_the_ends_are_kept_whole_or_counted() -> None:
    sequences = sequences_of(["ACGTACGTAC", "ACGTACGTAC", "ACGTACGTAC", "ACNTACGTAC"])
    windows = windows_around([places((0, 2, False), (1, 5, False), (2, 6, False), (3, 3, False))], 3, 6, sequences)
    # Half a base cannot be: the odd base goes behind the seed.
    assert windows.start.tolist() == [1, 4]
    assert (windows.beyond.tolist(), windows.ambiguous.tolist()) == ([[2, 5, 11]], [[3, 2, 8]])
    assert [decode_bases(codes) for codes in windows.codes] == ["CGTACG", "ACGTAC"]
    cut = windows_around([places((0, 2, False))], 6, 4, sequences)
    assert cut.start.tolist() == [3]


def test_what_is_left_out_is_counted_and_named(planted: Planted) -> None:
    result = search(planted, min_n_motif=81)
    (sentence,) = [sentence for sentence in result.left_out.sentences() if PLANTED in sentence]
    assert (result.motifs, result.enriched, "81" in sentence) == ((), 1, True)
    result = search(planted, tuple(f"p{row}" for row in range(80)), window_size=48)
    starts = [start - (48 - len(PLANTED)) // 2 for start in planted.starts]
    beyond = [(row, start) for row, start in enumerate(starts) if start < 0 or start + 48 > 60]
    ((reason, listed),) = result.left_out.examples.items()
    assert result.left_out.counts[reason] == result.left_out.total == len(beyond) > 3
    assert listed == [f"p{row}:{start}-{start + 48}" for row, start in beyond[:3]]


@pytest.mark.parametrize(
    "value",
    [
        {"window_size": -1}, {"min_len": -1}, {"min_n_motif": -1}, {"pval_cutoff": -1.0}, {"align_cond": -1.0},
        {"over_minimum": float("nan")},
    ],
)  # fmt: skip
def test_settings_without_sense_are_an_error(value: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"is (-1|nan)"):
        MotifSearch(**value)
