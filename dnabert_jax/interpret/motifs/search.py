"""From scores of bases to motifs: regions, enrichment, merging, windows, in the order of the original's pipeline."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Float64, Int64

from dnabert_jax.interpret.motifs.config import MotifSearch
from dnabert_jax.interpret.motifs.enrichment import enrichment
from dnabert_jax.interpret.motifs.merging import merge_words
from dnabert_jax.interpret.motifs.regions import candidate_words
from dnabert_jax.interpret.motifs.windows import Windows, seed_places, windows_around
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.sequence.bases import BASE_ORDER, BASES
from dnabert_jax.tasks.datasets.sequences import Sequences

Progress = Callable[[str, int, int], object]
"""Told of the work: what is done, how many of them since the last call, and how many in all."""


@dataclasses.dataclass(frozen=True, eq=False)
class Motif:
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
        """The position weight matrix: how often each base is at each place, in columns A, C, G, T."""
        return self.windows.counts() / len(self.windows)


@dataclasses.dataclass(frozen=True, eq=False)
class FoundMotifs:
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
    progress: Progress = lambda _what, _done, _total: None,
    names: Sequence[str] = (),
) -> FoundMotifs:
    """Finds the motifs in regions of high score that are enriched in the positive sequences.

    Args:
        positives, negatives: sequences in which motifs are sought, and those that have none; neither may be empty.
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
    found = candidate_words(positives, scores, search.min_len, search.over_minimum, both)
    leave_out("the region has letters such as N", found.ambiguous)
    words = list(found.places)
    tested = enrichment(words, positives, negatives, both, done("count words", len(positives) + len(negatives)))
    kept = np.flatnonzero(tested.adjusted_p < search.pval_cutoff)
    enriched = [words[number] for number in kept]
    advance = done("merge words", len(enriched))
    groups = merge_words(enriched, search.min_len, search.ties == "all", search.align_cond, both, advance)
    motifs = []
    for seed, members in groups.items():
        length = len(enriched[seed])
        seeds = (seed_places(found.places[enriched[own.word]], own, len(enriched[own.word]), length) for own in members)
        windows = windows_around(seeds, length, search.window_size, positives)
        leave_out("the window of the instance reaches beyond an end of the sequence", windows.beyond)
        leave_out("the window of the instance has letters such as N", windows.ambiguous)
        if len(windows) < search.min_n_motif:
            left_out.add(f"the group of words has fewer than {search.min_n_motif} instances", enriched[seed])
            continue
        merged = tuple(enriched[own.word] for own in members)
        counts = int(tested.positives[kept[seed]]), int(tested.negatives[kept[seed]])
        chances = float(tested.p[kept[seed]]), float(tested.adjusted_p[kept[seed]])
        motifs.append(Motif(enriched[seed], merged, *counts, *chances, windows))
    return FoundMotifs(
        tuple(sorted(motifs, key=lambda motif: (motif.adjusted_p, motif.p, -len(motif.windows)))),
        found.regions,
        len(words),
        len(enriched),
        float(tested.adjusted_p.min()) if words else None,
        left_out,
        _background(positives, negatives),
    )


def _background(*kinds: Sequences) -> Float64[np.ndarray, " 4"]:
    counts: Int64[np.ndarray, " 4"] = np.zeros(len(BASES), np.int64)
    for sequences in kinds:
        for row in range(len(sequences)):
            counts += np.bincount(sequences[row], minlength=len(BASES) + 1)[: len(BASES)]
    counts = counts[[BASES.index(base) for base in BASE_ORDER]]
    return counts / max(counts.sum(), 1)
