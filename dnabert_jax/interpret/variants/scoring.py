"""Scores of variants, streamed: a few hundred alleles and all their windows are in memory at a time.

A, alleles; P, windows of all of them, by allele.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

from dnabert_jax.config import Strands
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.motifs.words import high_score_runs
from dnabert_jax.interpret.mutagenesis import distinct, log_odds_ratio, probability, weighted_difference
from dnabert_jax.interpret.target import Target, check_reads_whole, choose_target, label_outputs
from dnabert_jax.interpret.variants.alleles import Allele, Pair, Window, window_pairs
from dnabert_jax.interpret.variants.likelihood import allele_likelihoods
from dnabert_jax.io.genome import Genome
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes
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
        "log_likelihood_ratio": "log-probability of the masked alternative less the reference (of k-mers, the mean)"
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
_MANY_AMBIGUOUS = "the window has too many letters such as N for the model"
_REGION_LENGTH = 5
"""Bases of a region of high attention at least, as in the original's command."""

Scores = dict[str, Float[np.ndarray, " A"]]


class VariantScorer:
    """Scores alleles with a model.

    Args:
        kinds: of scores; if empty, effect for a model with a classifier, and likelihood and embedding for one without.
        window: number of bases around a variant. If 0, a fine-tuned model reads the median length of the sequences that
            it was fine-tuned on, and a pre-trained model as many bases as it takes.
        placements: number of positions of the variant within the window, over which scores are averaged: in the middle;
            at a third and two thirds; and so on.
        frames: number of frames over which scores are averaged: frame i leaves out the first i bases of the window.
        strands: forward, or both, over which scores are averaged.
        label: whose output the effect is of; if not given, the only one or the positive one of two.

    Attributes:
        columns: of scores.
        window: bases around a variant.
        label: whose output the effect is of; empty if no effect is asked for.
        shortest: the fewest bases that the model reads.
        ambiguous: alleles so far with a window that had letters such as N.

    Raises:
        InputError: the model cannot give such scores, or the window is too short or too long for it.
    """

    def __init__(
        self,
        model: DNAModel,
        kinds: Sequence[ScoreKind] = (),
        window: int = 0,
        placements: int = 1,
        frames: int = 1,
        strands: Strands = "both",
        label: str = "",
    ):
        check_reads_whole(model, "Scoring of variants")
        task = model.task
        kinds = kinds or (("likelihood", "embedding") if task is None else ("effect",))
        regression = task is not None and not task.kind.has_classes
        undefined = ("effect_log_odds", "log_odds_ratio") if regression else ()
        functions: dict[ScoreKind, Callable[[list[Pair], Int64[np.ndarray, " P"]], Scores]] = {
            "likelihood": self._likelihood,
            "embedding": self._embedding,
            "attention": self._attention,
        }
        self.label = ""
        if "effect" in kinds:
            target = choose_target(model, "The effect of a variant", label, "logit" if regression else "log-odds")
            self.label = target.label
            functions["effect"] = functools.partial(self._effect, target)
        elif label:
            raise InputError("A label is of the score effect, which is not asked for.")
        if "likelihood" in kinds and model.masked_lm is None:
            raise InputError(
                "likelihood needs a pre-trained model with its masked-LM head, which fine-tuning leaves out: remove "
                "likelihood from --scores, or give another --model."
            )
        if placements < 1:
            raise InputError(f"placements is {placements}: it must be at least 1.")
        if not 1 <= frames <= (most := model.tokenizer.stride):
            raise InputError(
                f"frames is {frames}: it must lie between 1 and {most}, as {model.tokenizer.unit} begin {most} bases "
                "after one another."
            )
        self.columns = [name for kind in kinds for name in COLUMNS[kind] if name not in undefined]
        self.window = _window(model, window)
        self.shortest = model.tokenizer.shortest
        self.ambiguous = 0
        self._model, self._placements, self._frames = model, placements, frames
        # A model of both strands gives either of a pair of windows the same effect.
        merged = task is not None and task.strands == "both" and set(kinds) == {"effect"}
        self._both_strands = strands == "both" and not merged
        self._functions = [functions[kind] for kind in kinds]

    def score(
        self, alleles: Iterable[Allele], genome: Genome, advance: Callable[[int], object] | None = None
    ) -> Iterator[tuple[Allele, dict[str, float]]]:
        """Yields alleles with their scores by column, in order and in constant memory; those left out have none."""
        remaining = iter(alleles)
        while together := list(itertools.islice(remaining, _ALLELES_TOGETHER)):
            placed = [[] if allele.left_out else self._windows(allele, genome) for allele in together]
            scores = iter(self._scores([windows for windows in placed if windows]))
            for allele, windows in zip(together, placed, strict=True):
                left_out = allele.left_out or ("" if windows else _MANY_AMBIGUOUS)
                yield allele._replace(left_out=left_out), next(scores) if windows else {}
            if advance:
                advance(len(together))

    def _windows(self, allele: Allele, genome: Genome) -> list[Pair]:
        """Returns the windows of an allele; none if letters such as N make one too long for the model."""
        start, bases = allele.record.position - 1, base_codes(allele.text.encode())
        variant = genome[allele.contig], start, len(allele.record.reference), bases
        pairs = list(window_pairs(*variant, self.window, self._placements, self._both_strands))
        ambiguous = [window.codes for pair in pairs for window in pair if (window.codes == AMBIGUOUS).any()]
        if any(len(self._model.tokenizer.encode(codes)) > self._model.config.longest for codes in ambiguous):
            return []
        self.ambiguous += bool(ambiguous)
        return [
            (reference.without(frame), alternative.without(frame))
            for reference, alternative in pairs
            for frame in range(min(self._frames, reference.first + 1))
        ]

    def _scores(self, placed: Sequence[list[Pair]]) -> list[dict[str, float]]:
        """Returns the scores of alleles from their windows."""
        if not placed:
            return []
        windows = [pair for pairs in placed for pair in pairs]
        owners = np.repeat(np.arange(len(placed)), [len(pairs) for pairs in placed])
        columns: Scores = {}
        for function in self._functions:
            columns |= function(windows, owners)
        return [{name: float(columns[name][number]) for name in self.columns} for number in range(len(placed))]

    def _effect(self, target: Target, windows: list[Pair], owners: Int64[np.ndarray, " P"]) -> Scores:
        """Returns the effects, of log-odds of the label, or numbers of a regression, averaged over windows."""

        def outputs(different: list[Window]) -> Float[np.ndarray, " n"]:
            coded = (Coded("", "the window", window.codes) for window in different)
            return np.fromiter(label_outputs(self._model, target, coded), np.float64)

        before, after = (_mean(values, owners) for values in _of_pairs(windows, outputs))
        if target.scale == "logit":
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

    def _likelihood(self, windows: list[Pair], owners: Int64[np.ndarray, " P"]) -> Scores:
        before, after = _of_pairs(windows, lambda different: allele_likelihoods(self._model, different))
        return {"log_likelihood_ratio": _mean(after - before, owners)}

    def _embedding(self, windows: list[Pair], owners: Int64[np.ndarray, " P"]) -> Scores:
        def vectors(different: list[Window]) -> Float[np.ndarray, "n H"]:
            rows = self._model.embeddings(("", window.codes) for window in different)
            return np.array([row for _, row in rows], np.float64)

        before, after = _of_pairs(windows, vectors)
        norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        return {
            "euclidean_distance": _mean(np.linalg.norm(after - before, axis=1), owners),
            "cosine_distance": _mean(1 - (before * after).sum(axis=1) / norms, owners),
        }

    def _attention(self, windows: list[Pair], owners: Int64[np.ndarray, " P"]) -> Scores:
        references = [reference for reference, _ in windows]
        scores = attention_scores(self._model, (("", window.codes) for window in references), normalization="none")
        means, inside = [], []
        for (_, of_bases), (_, first, length) in zip(scores, references, strict=True):
            # [CLS] may attend to itself alone.
            means.append(of_bases[first : first + length].mean() / of_bases.mean() if of_bases.any() else 1.0)
            runs = high_score_runs(of_bases, _REGION_LENGTH)
            inside.append(any(start < first + length and first < end for start, end in runs))
        return {
            "attention": _mean(np.array(means, np.float64), owners),
            "attention_region": _mean(np.array(inside, np.float64), owners),
        }


def _window(model: DNAModel, asked: int) -> int:
    """Returns the bases of a window: those that are asked for if the model takes them, or the usual number."""
    shortest, trained = model.tokenizer.shortest, model.training_lengths
    longest = model.tokenizer.capacity(model.config.longest)
    if asked:
        if not shortest <= asked <= longest:
            raise InputError(f"The window has {asked:,} bases: the model takes {shortest} to {longest:,}.")
        return asked
    if trained is not None:
        return max(shortest, min(trained.median, longest))
    if model.task is not None:
        raise InputError(
            "The model does not say on which lengths it was fine-tuned. Give that length as the window, in bases "
            "(--window)."
        )
    return longest


def _of_pairs(
    windows: list[Pair], compute: Callable[[list[Window]], Float[np.ndarray, "n ..."]]
) -> tuple[Float[np.ndarray, "P ..."], Float[np.ndarray, "P ..."]]:
    """Returns what is computed of the windows with either allele, computed once for identical windows."""
    both = list(itertools.chain(*windows))
    different, rows = distinct(both, lambda window: (window.codes.tobytes(), window.first, window.length))
    values = compute(different)
    return values[rows[::2]], values[rows[1::2]]


def _mean(values: Float[np.ndarray, " P"], owners: Int64[np.ndarray, " P"]) -> Float[np.ndarray, " A"]:
    """Returns the mean over the windows of each allele."""
    return np.bincount(owners, values) / np.bincount(owners)
