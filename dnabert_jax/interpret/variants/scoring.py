"""Scores of variants, streamed: a few hundred alleles and all their windows are in hand at a time.

A, alleles; P, windows of all of them, by allele.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
from jaxtyping import Float, Int64

from dnabert_jax.config import Strands
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.effect_size import log_odds_ratio, probability, weighted_difference
from dnabert_jax.interpret.motifs.regions import high_score_runs
from dnabert_jax.interpret.target import Target, check_reads_whole, choose_target, label_outputs
from dnabert_jax.interpret.variants.alleles import Allele
from dnabert_jax.interpret.variants.masked_likelihood import allele_likelihoods, check_has_head
from dnabert_jax.interpret.variants.placement import Pair, Window, pairs
from dnabert_jax.io.genome import Genome
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.sequence.vocabulary import SPECIAL_PER_SEQUENCE
from dnabert_jax.stream import Coded

ScoreKind = Literal["effect", "likelihood", "embedding", "attention"]
"""What is computed; see `COLUMNS`."""

COLUMNS: dict[ScoreKind, dict[str, str]] = {
    "effect": {
        "reference": "what the model says of the label with the reference allele",
        "alternative": "the same with the alternative allele",
        "effect": "alternative - reference, of the label",
        "effect_log_odds": "natural log-odds of the label with the alternative allele less those with the reference",
        "difference": "(alternative - reference) times the larger of the two; of a regression, alternative - reference",
        "log_odds_ratio": "log2 of the odds with the reference over those with the alternative allele",
    },
    "likelihood": {
        "log_likelihood_ratio": "mean log-probability of the masked k-mers with the alternative, less the reference"
    },
    "embedding": {
        "euclidean_distance": "between the mean vectors of the windows with either allele",
        "cosine_distance": "1 - cosine of these vectors",
    },
    "attention": {
        "attention": "mean attention score of the bases of the reference allele, over the mean of its window",
        "attention_region": "share of windows in which a base of it is in a region of high attention",
    },
}
"""Names and meanings of the numbers of each kind."""

_ALLELES_TOGETHER = 256
_REGION_LENGTH = 5
"""Bases of a region of high attention at least, as in the original's command."""


@dataclasses.dataclass(frozen=True)
class VariantScoring:
    """How variants are scored.

    Attributes:
        kinds: of scores; if empty, effect for a model with a classifier, and likelihood and embedding for one without.
        window: number of bases around a variant. If 0, a fine-tuned model reads the median length of the sequences that
            it was fine-tuned on, and a pre-trained model as many bases as it takes.
        placements: number of positions of the variant within the window, over which scores are averaged: in the middle;
            at a third and two thirds; and so on.
        strands: forward, or both, over which scores are averaged.
        label: whose output the effect is of; if not given, the only one or the positive one of two.
    """

    kinds: tuple[ScoreKind, ...] = ()
    window: int = 0
    placements: int = 1
    strands: Strands = "both"
    label: str = ""


class ScoredAllele(NamedTuple):
    """An allele and its scores, by column; none if it was left out."""

    allele: Allele
    scores: dict[str, float]


class VariantScorer:
    """Scores alleles with a model.

    Attributes:
        columns: of scores.
        window: bases around a variant.
        ambiguous: alleles so far with a window that had letters such as N.

    Raises:
        InputError: the model cannot give such scores, or the window is too short or too long for it.
    """

    def __init__(self, model: DNAModel, scoring: VariantScoring):
        check_reads_whole(model, "Scoring of variants")
        self._model, self._scoring = model, scoring
        default: tuple[ScoreKind, ...] = ("likelihood", "embedding") if model.task is None else ("effect",)
        self._kinds = scoring.kinds or default
        self._regression = model.task is not None and model.task.problem == "regression"
        self._target: Target | None = None
        if "effect" in self._kinds:
            scale: Literal["logit", "log-odds"] = "logit" if self._regression else "log-odds"
            self._target = choose_target(model, "The effect of a variant", scoring.label, scale)
        elif scoring.label:
            raise InputError("A label is of the score effect, which is not asked for.")
        if "likelihood" in self._kinds:
            check_has_head(model)
        undefined = ("effect_log_odds", "log_odds_ratio") if self._regression else ()
        self.columns = [name for kind in self._kinds for name in COLUMNS[kind] if name not in undefined]
        self.window = self._window()
        self.ambiguous = 0

    def _window(self) -> int:
        config, tokenizer, asked = self._model.config, self._model.tokenizer, self._scoring.window
        longest = tokenizer.capacity(config.max_positions - SPECIAL_PER_SEQUENCE)
        trained = self._model.training_lengths
        if not asked and self._model.task is not None and trained is None:
            raise InputError(
                "The model does not say on which lengths it was fine-tuned. Give that length as the window, in bases "
                "(--window)."
            )
        if asked and not tokenizer.shortest <= asked <= longest:
            raise InputError(f"The window has {asked:,} bases: the model takes {tokenizer.shortest} to {longest:,}.")
        if self._scoring.placements < 1:
            raise InputError(f"placements is {self._scoring.placements}: it must be at least 1.")
        usual = longest if trained is None else max(tokenizer.shortest, min(trained.median, longest))
        return asked or usual

    @property
    def shortest(self) -> int:
        """The fewest bases that the model reads."""
        return self._model.tokenizer.shortest

    @property
    def label(self) -> str:
        """Whose output the effect is of; empty if no effect is asked for."""
        return self._target.label if self._target else ""

    def score(
        self, alleles: Iterable[Allele], genome: Genome, advance: Callable[[int], object] | None = None
    ) -> Iterator[ScoredAllele]:
        """Yields alleles, in their order and in constant memory; those with a reason are left out."""
        remaining = iter(alleles)
        while together := list(itertools.islice(remaining, _ALLELES_TOGETHER)):
            scored = iter(self._score([allele for allele in together if not allele.left_out], genome))
            for allele in together:
                yield ScoredAllele(allele, {} if allele.left_out else next(scored))
            if advance:
                advance(len(together))

    def _score(self, alleles: Sequence[Allele], genome: Genome) -> list[dict[str, float]]:
        if not alleles:
            return []
        # A model of both strands gives either of a pair of windows the same effect.
        merged = self._model.task is not None and self._model.task.strands == "both" and self._kinds == ("effect",)
        both = self._scoring.strands == "both" and not merged
        windows: list[Pair] = []
        counts = []
        for allele in alleles:
            variant = genome[allele.record], allele.position, allele.reference, allele.codes
            placed = list(pairs(*variant, self.window, self._scoring.placements, both))
            self.ambiguous += any((window.codes == AMBIGUOUS).any() for pair in placed for window in pair)
            windows += placed
            counts.append(len(placed))
        owners = np.repeat(np.arange(len(alleles)), counts)
        functions = {
            "effect": self._effect, "likelihood": self._likelihood, "embedding": self._embedding,
            "attention": self._attention,
        }  # fmt: skip
        columns: dict[str, Float[np.ndarray, " A"]] = {}
        for kind in self._kinds:
            columns |= functions[kind](windows, owners)
        return [{name: float(columns[name][number]) for name in self.columns} for number in range(len(alleles))]

    def _effect(self, windows: list[Pair], owners: Int64[np.ndarray, " P"]) -> dict[str, Float[np.ndarray, " A"]]:
        """Returns the effects, of log-odds of the label, or numbers of a regression, averaged over windows."""
        target = cast("Target", self._target)

        def outputs(distinct: list[Window]) -> Float[np.ndarray, " n"]:
            coded = (Coded("", "the window", window.codes) for window in distinct)
            return np.fromiter(label_outputs(self._model, target, coded), np.float64)

        before, after = (_mean(values, owners) for values in _of_pairs(windows, outputs))
        if self._regression:
            return {"reference": before, "alternative": after, "effect": after - before, "difference": after - before}
        reference, alternative = probability(before), probability(after)
        return {
            "reference": reference,
            "alternative": alternative,
            "effect": alternative - reference,
            "effect_log_odds": after - before,
            "difference": weighted_difference(before, after),
            "log_odds_ratio": log_odds_ratio(before, after),
        }

    def _likelihood(self, windows: list[Pair], owners: Int64[np.ndarray, " P"]) -> dict[str, Float[np.ndarray, " A"]]:
        before, after = _of_pairs(windows, lambda distinct: allele_likelihoods(self._model, distinct))
        return {"log_likelihood_ratio": _mean(after - before, owners)}

    def _embedding(self, windows: list[Pair], owners: Int64[np.ndarray, " P"]) -> dict[str, Float[np.ndarray, " A"]]:
        def vectors(distinct: list[Window]) -> Float[np.ndarray, "n H"]:
            return np.array(
                [row for _, row in self._model.embeddings(("", window.codes) for window in distinct)], np.float64
            )

        before, after = _of_pairs(windows, vectors)
        norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        return {
            "euclidean_distance": _mean(np.linalg.norm(after - before, axis=1), owners),
            "cosine_distance": _mean(1 - (before * after).sum(axis=1) / norms, owners),
        }

    def _attention(self, windows: list[Pair], owners: Int64[np.ndarray, " P"]) -> dict[str, Float[np.ndarray, " A"]]:
        references = [pair.reference for pair in windows]
        scores = attention_scores(self._model, (("", window.codes) for window in references), normalization="none")
        means, inside = [], []
        for (_, of_bases), window in zip(scores, references, strict=True):
            bases = slice(window.first, window.first + window.length)
            # [CLS] may attend to itself alone.
            means.append(of_bases[bases].mean() / of_bases.mean() if of_bases.any() else 1.0)
            runs = high_score_runs(of_bases, _REGION_LENGTH)
            inside.append(any(start < bases.stop and bases.start < end for start, end in runs))
        return {
            "attention": _mean(np.array(means, np.float64), owners),
            "attention_region": _mean(np.array(inside, np.float64), owners),
        }


def _of_pairs(
    windows: list[Pair], compute: Callable[[list[Window]], Float[np.ndarray, "n ..."]]
) -> tuple[Float[np.ndarray, "P ..."], Float[np.ndarray, "P ..."]]:
    """Returns what is computed of the windows with either allele, computed once for identical windows."""
    numbers: dict[tuple[bytes, int, int], int] = {}
    distinct: list[Window] = []
    rows = np.empty((2, len(windows)), np.int64)
    for number, pair in enumerate(windows):
        for side, window in enumerate(pair):
            key = window.codes.tobytes(), window.first, window.length
            rows[side, number] = numbers.setdefault(key, len(numbers))
            if len(numbers) > len(distinct):
                distinct.append(window)
    computed = compute(distinct)
    return computed[rows[0]], computed[rows[1]]


def _mean(values: Float[np.ndarray, " P"], owners: Int64[np.ndarray, " P"]) -> Float[np.ndarray, " A"]:
    """Returns the mean over the windows of each allele."""
    return np.bincount(owners, values) / np.bincount(owners)
