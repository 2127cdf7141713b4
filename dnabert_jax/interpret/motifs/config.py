"""The settings of a search for motifs, apart from all that loads Arrow."""

import dataclasses
from typing import Literal

from dnabert_jax.config import require


@dataclasses.dataclass(frozen=True)
class MotifSearch:
    """What is taken for a motif; the defaults are those of the command that the original's README gives.

    Attributes:
        window_size: Width of a motif, in bases.
        min_len: A region of high score has at least so many bases; two words that are merged agree in at least one
            less.
        pval_cutoff: A word is enriched if its p-value, adjusted by Benjamini and Hochberg, is less.
        min_n_motif: A motif has at least so many instances.
        ties: A word that matches several motifs equally well counts for all of them, or for the first.
        align_cond: Matches with which two words are merged; the larger of min_len - 1 and half of the shorter word,
            if not given.
        over_minimum: A base of high score has more than so many times the least score of its sequence; also more than
            the mean.
        reverse_complements: Whether a word and its reverse complement are one: counted, merged and drawn together.
    """

    window_size: int = 24
    min_len: int = 5
    pval_cutoff: float = 0.005
    min_n_motif: int = 3
    ties: Literal["all", "first"] = "all"
    align_cond: float | None = None
    over_minimum: float = 10.0
    reverse_complements: bool = False

    def __post_init__(self) -> None:
        for name in ("window_size", "min_len", "min_n_motif"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}: give at least 1.")
        require(0 < self.pval_cutoff <= 1, f"pval_cutoff is {self.pval_cutoff}: give a number above 0, up to 1.")
        matches, over = self.align_cond, self.over_minimum
        require(matches is None or matches >= 1, f"align_cond is {matches}: give at least 1 base.")
        require(0 <= over < float("inf"), f"over_minimum is {over}: give a number of at least 0.")
