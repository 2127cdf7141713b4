"""In-silico mutagenesis: what each change of a sequence does to what a model says of a label.

A sequence of n bases has 3 n substitutions, of its own length, so they fill batches of one shape. A variant is told
from its sequence by the k k-mers that cover the base. The rest of the ids is shared; nothing behind them can be, as
from the first layer on each token depends on all others. Identical sequences, whatever they are variants of, are
computed once among those in memory: sequences that differ in one base share two variants and each other, and all
deletions in a run of one base are one.

Effects are those of the original (`SNP/SNP.py`), computed from natural log-odds instead of probabilities: a probability
of 1 in float32 has no odds, and the log-odds that it was made of have.
"""

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from dnabert_jax import stream
from dnabert_jax.errors import JobError
from dnabert_jax.interpret.target import Target, label_outputs
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.sequence.bases import BASE_ORDER, base_codes
from dnabert_jax.sequence.buckets import groups
from dnabert_jax.stream import Coded, Codes, Named

COLUMN_CODES = base_codes(BASE_ORDER.encode())

Kind = Literal["substitutions", "deletions", "insertions"]
"""Of changes of one base."""

_VARIANTS_TOGETHER = 3 << 12
"""Variants in memory, except for those of the last sequence."""

_Item = TypeVar("_Item")


class Change(NamedTuple):
    """A stretch of a sequence that is replaced.

    Attributes:
        start: first base that goes, from 0.
        end: base behind the last one that goes; if it is `start`, none goes and something is put in before it.
        alternative: letters that come; none if something is cut out.
    """

    start: int
    end: int
    alternative: str

    @property
    def kind(self) -> str:
        """The word for the change: substitution, deletion, insertion, or replacement by another length."""
        gone, put_in = self.end - self.start, len(self.alternative)
        if gone == put_in:
            return "substitution"
        return "deletion" if not put_in else "insertion" if not gone else "replacement"

    def __str__(self) -> str:
        return f"[{self.start}, {self.end}) replaced by {self.alternative or 'nothing'}"


class Changed(NamedTuple):
    """A sequence and what changes do."""

    sequence: Coded
    reference: float
    changes: Sequence[Change]
    outputs: Float32[np.ndarray, " changes"]


class Mutations(NamedTuple):
    """What substitutions do.

    Attributes:
        effects: what it says of the sequence with the base of the column in place of the row's, less the reference; 0
            where that is the base. An ambiguous base, such as N, has four substitutions.
    """

    sequence: Coded
    reference: float
    effects: Float32[np.ndarray, "bases 4"]

    @property
    def scores(self) -> Float32[np.ndarray, " bases"]:
        """How much each base adds: the reference less the mean over what can stand in its place."""
        substituted = (self.sequence.codes[:, None] != COLUMN_CODES).sum(axis=1)
        return (-self.effects.sum(axis=1) / substituted).astype(np.float32)


class ChangeEffects(NamedTuple):
    """What changes of a sequence do.

    Attributes:
        reference: probability of the label for the sequence, or the number of a regression.
        difference: as `weighted_difference`; of a regression, changed less reference.
        log_odds_ratio: as `log_odds_ratio`; None of a regression.
    """

    sequence: Coded
    changes: Sequence[Change]
    reference: float
    changed: Float64[np.ndarray, " changes"]
    difference: Float64[np.ndarray, " changes"]
    log_odds_ratio: Float64[np.ndarray, " changes"] | None


def apply(codes: Codes, change: Change) -> Codes:
    """Returns the sequence with a change; raises InputError if the alternative is not DNA."""
    alternative = base_codes(change.alternative.encode("ascii", "replace"), "the alternative")
    return np.concatenate([codes[: change.start], alternative, codes[change.end :]])


def changes_of(codes: Codes, kinds: tuple[Kind, ...] = ("substitutions",)) -> Iterator[Change]:
    """Yields every change of one base, by place, then substitutions, deletion and insertions before the base.

    A substitution puts another base in; of an ambiguous letter there are four. Insertions are also made at the end.
    """
    # A loop over Python's numbers is quicker than one over numpy's.
    for place, code in enumerate(codes.tolist()):
        if "substitutions" in kinds:
            for letter, column in zip(BASE_ORDER, COLUMN_CODES.tolist(), strict=True):
                if column != code:
                    yield Change(place, place + 1, letter)
        if "deletions" in kinds:
            yield Change(place, place + 1, "")
        if "insertions" in kinds:
            yield from (Change(place, place, letter) for letter in BASE_ORDER)
    if "insertions" in kinds:
        yield from (Change(len(codes), len(codes), letter) for letter in BASE_ORDER)


def mutation_effects(
    model: DNAModel, sequences: Iterable[Named], target: Target, advance: Callable[[int], object] | None = None
) -> Iterator[Mutations]:
    """Yields the effect of every substitution of each sequence, in their order and in constant memory.

    Args:
        advance: if given, told how many more variants are done, sequences themselves included.
    """
    coded = stream.coded(sequences, model.tokenizer)
    pairs = ((sequence, list(changes_of(sequence.codes))) for sequence in coded)
    for sequence, reference, _, outputs in changed_outputs(model, pairs, target, advance):
        # The order of places and columns is that of the substitutions.
        substituted = sequence.codes[:, None] != COLUMN_CODES
        effects = np.zeros(substituted.shape, np.float32)
        effects[substituted] = outputs - np.float32(reference)
        yield Mutations(sequence, reference, effects)


def changed_outputs(
    model: DNAModel,
    changed: Iterable[tuple[Coded, Sequence[Change]]],
    target: Target,
    advance: Callable[[int], object] | None = None,
) -> Iterator[Changed]:
    """Yields what a model says of each sequence and of it with each change, in their order and in constant memory.

    Args:
        changed: sequences, each with its changes, which lie within it.

    Raises:
        InputError: a sequence, or what a change makes of it, is too short or too long; an alternative is no DNA.
    """
    lengths: dict[int, int] = {}
    for together in groups(changed, lambda pair: len(pair[1]), _VARIANTS_TOGETHER):
        variants = [_variants(*pair) for pair in together]
        different, numbers = distinct(list(itertools.chain(*variants)), lambda variant: variant.codes.tobytes())
        outputs = np.fromiter(label_outputs(model, target, different, advance, lengths=lengths), np.float32)[numbers]
        ends = np.cumsum([len(several) for several in variants])
        for (sequence, changes), several in zip(together, np.split(outputs, ends[:-1]), strict=True):
            yield Changed(sequence, float(several[0]), changes, several[1:])


def _variants(sequence: Coded, changes: Sequence[Change]) -> list[Coded]:
    """Returns the sequence and what each change makes of it; an error names the user's sequence and the change."""
    return [
        sequence,
        *(Coded("", f"{sequence.place} with {change}", apply(sequence.codes, change)) for change in changes),
    ]


def distinct(
    items: Sequence[_Item], key: Callable[[_Item], Hashable]
) -> tuple[list[_Item], Int64[np.ndarray, " items"]]:
    """Returns the items that differ by a key, in their order, and for each item the number of its equal among them."""
    numbers: dict[Hashable, int] = {}
    rows = np.array([numbers.setdefault(key(item), len(numbers)) for item in items], np.int64)
    return [items[first] for first in np.unique(rows, return_index=True)[1]], rows


def change_effects(changed: Iterable[Changed], regression: bool) -> Iterator[ChangeEffects]:
    """Yields the effects of changes, given log-odds of a label or numbers; raises JobError if one is not finite."""
    for sequence, reference, changes, outputs in changed:
        after = outputs.astype(np.float64)
        before = np.full_like(after, reference)
        if not (np.isfinite(reference) and np.isfinite(after).all()):
            raise JobError(f"What the model says of {sequence.place} or a change of it is not finite.")
        if regression:
            yield ChangeEffects(sequence, changes, reference, after, after - before, None)
        else:
            difference, ratio = weighted_difference(before, after), log_odds_ratio(before, after)
            reference = float(probability(np.array([reference]))[0])
            yield ChangeEffects(sequence, changes, reference, probability(after), difference, ratio)


def probability(log_odds: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Returns the probabilities of natural log-odds."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(log_odds, np.float64)))


def weighted_difference(
    reference: Float[np.ndarray, " n"], changed: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Returns (p' - p) max(p, p') of the probabilities p of the reference and p' of the changed sequence."""
    before, after = probability(reference), probability(changed)
    return (after - before) * np.maximum(before, after)


def log_odds_ratio(reference: Float[np.ndarray, " n"], changed: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Returns log2 of the odds of the reference over those of the changed sequence: positive where the change costs."""
    return (np.asarray(reference, np.float64) - np.asarray(changed, np.float64)) / np.log(2)
