"""From scores of bases to motifs: regions, enrichment, merging, windows, in the order of the original's pipeline.

W bases of a window.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, UInt8

from dnabert_jax.interpret.motifs.config import MotifSearch
from dnabert_jax.interpret.motifs.merging import Member, merge_words
from dnabert_jax.interpret.motifs.words import Places, candidate_words, enrichment
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.sequence.bases import AMBIGUOUS, BASE_ORDER, base_codes, reverse_complement
from dnabert_jax.tasks.datasets.sequences import Sequences

_COLUMN_CODES = base_codes(BASE_ORDER.encode())


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a motif.

    Attributes:
        start: of the window in its sequence.
        core: start of the motif's seed in its sequence.
        reverse: whether the motif reads on the other strand.
        codes: of the window in the motif's direction.
        beyond: sequence, start and end of windows that are left out as they reach beyond an end of their sequence.
        ambiguous: the same of those that are left out as they hold a letter such as N.
    """

    sequence: Int64[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    core: Int64[np.ndarray, " n"]
    reverse: Bool[np.ndarray, " n"]
    codes: UInt8[np.ndarray, "n W"]
    beyond: Int64[np.ndarray, "b 3"]
    ambiguous: Int64[np.ndarray, "a 3"]

    def __len__(self) -> int:
        return len(self.sequence)


class Motif(NamedTuple):
    """A motif.

    Attributes:
        words: all of them, the seed first.
        positives, negatives: in how many sequences of each kind the seed stands.
    """

    seed: str
    words: tuple[str, ...]
    positives: int
    negatives: int
    p: float
    adjusted_p: float
    windows: Windows

    def probabilities(self) -> Float64[np.ndarray, "W 4"]:
        """Returns the position weight matrix: how often each base is at each place, in columns A, C, G, T."""
        return (self.windows.codes[:, :, None] == _COLUMN_CODES).sum(axis=0) / len(self.windows)


class FoundMotifs(NamedTuple):
    """The motifs that a search found, and what it left out.

    Attributes:
        motifs: by p-value; by instances, where those are the same.
        words: different ones in the regions.
        enriched: how many of these are.
        least_adjusted_p: of all words; None if there is none.
        left_out: regions, windows and groups of words that are not used.
        background: frequencies of A, C, G and T in all sequences.
    """

    motifs: tuple[Motif, ...]
    regions: int
    words: int
    enriched: int
    least_adjusted_p: float | None
    left_out: LeftOut
    background: Float64[np.ndarray, " 4"]


def find_motifs(
    positives: Sequences,
    scores: Sequence[Float[np.ndarray, " _"]],
    negatives: Sequences,
    search: MotifSearch,
    progress: Callable[[str, int, int], object] = lambda _what, _done, _total: None,
    names: Sequence[str] = (),
) -> FoundMotifs:
    """Finds the motifs in regions of high score that are enriched in the positive sequences.

    Args:
        positives, negatives: sequences in which motifs are sought, and those that have none; neither may be empty.
        progress: called with the work that is done, the units since the last call, and the units in total.
        names: of the positive sequences, for what is left out; their numbers if not given.
    """

    def done(what: str, total: int) -> Callable[[int], object]:
        return lambda units: progress(what, units, total)

    left_out = LeftOut()

    def leave_out(reason: str, regions: Sequence[tuple[int, int, int]] | np.ndarray) -> None:
        if len(regions):
            examples = (f"{names[row] if names else row}:{start}-{end}" for row, start, end in regions)
            left_out.add(reason, *examples, count=len(regions))

    both = search.reverse_complements
    places, regions, ambiguous = candidate_words(positives, scores, search.min_len, search.over_minimum, both)
    leave_out("the region has letters such as N", ambiguous)
    words = list(places)
    advance = done("count words", len(positives) + len(negatives))
    in_positives, in_negatives, p, adjusted_p = enrichment(words, positives, negatives, both, advance)
    numbers = np.flatnonzero(adjusted_p < search.pval_cutoff)
    enriched = [words[number] for number in numbers]
    advance = done("merge words", len(enriched))
    groups = merge_words(enriched, search.min_len, search.ties == "all", search.align_cond, both, advance)
    motifs = []
    for first, members in groups.items():
        seed, merged = enriched[first], tuple(enriched[member.word] for member in members)
        seeds = [
            seed_places(places[word], member, len(word), len(seed))
            for word, member in zip(merged, members, strict=True)
        ]
        windows = windows_around(seeds, len(seed), search.window_size, positives)
        leave_out("the window of the instance reaches beyond an end of the sequence", windows.beyond)
        leave_out("the window of the instance has letters such as N", windows.ambiguous)
        if len(windows) < search.min_n_motif:
            left_out.add(f"the group of words has fewer than {search.min_n_motif} instances", seed)
            continue
        number = numbers[first]
        counts = int(in_positives[number]), int(in_negatives[number])
        motifs.append(Motif(seed, merged, *counts, float(p[number]), float(adjusted_p[number]), windows))
    return FoundMotifs(
        motifs=tuple(sorted(motifs, key=lambda motif: (motif.adjusted_p, motif.p, -len(motif.windows)))),
        regions=regions,
        words=len(words),
        enriched=len(enriched),
        least_adjusted_p=float(adjusted_p.min()) if words else None,
        left_out=left_out,
        background=_background(positives, negatives),
    )


def seed_places(places: Places, member: Member, word_length: int, seed_length: int) -> Places:
    """Returns where the seed of a group lies on the sequences, by the places of one of its members."""
    reverse = places.reverse ^ member.reverse
    start = np.where(reverse, places.start + word_length - member.shift - seed_length, places.start + member.shift)
    return Places(places.sequence, start, reverse)


def windows_around(seeds: Iterable[Places], seed_length: int, width: int, sequences: Sequences) -> Windows:
    """Cuts windows with the seed in their middle, or half a base before it, and leaves out those that do not fit.

    As `make_window` of the original's motif/motif_utils.py, except for windows that end where their sequence ends,
    which it leaves out.

    Args:
        seed_length: in bases; one that is wider than the window is cut on both sides.
    """
    sequence, core, reverse = (np.concatenate(column) for column in zip(*seeds, strict=True))
    before = (width - seed_length) // 2
    start = core - np.where(reverse, width - seed_length - before, before)
    region = np.stack([sequence, start, start + width], axis=1)
    fits = (start >= 0) & (start + width <= sequences.lengths[sequence])
    inside = np.flatnonzero(fits)
    codes = sequences.codes[(sequences.starts[sequence] + start)[inside, None] + np.arange(width)]
    # Read backwards as one sequence, the windows come in the opposite order.
    turned = reverse_complement(codes.ravel()).reshape(codes.shape)[::-1]
    codes = np.where(reverse[inside, None], turned, codes)
    ambiguous = (codes == AMBIGUOUS).any(axis=1)
    whole = inside[~ambiguous]
    columns = sequence[whole], start[whole], core[whole], reverse[whole]
    return Windows(*columns, codes[~ambiguous], region[~fits], region[inside[ambiguous]])


def _background(positives: Sequences, negatives: Sequences) -> Float64[np.ndarray, " 4"]:
    """Returns the shares of A, C, G and T in all sequences."""
    counts = np.zeros(AMBIGUOUS + 1, np.int64)
    for sequences in (positives, negatives):
        for row in range(len(sequences)):
            counts += np.bincount(sequences[row], minlength=len(counts))
    counts = counts[_COLUMN_CODES]
    return counts / max(counts.sum(), 1)
