"""In-silico mutagenesis: what each change of a sequence does to what a model says of a label.

A sequence of n bases has 3 n substitutions, of its own length, so they fill batches of one shape. A variant is told
from its sequence by the k k-mers that cover the base. The rest of the ids is shared; nothing behind them can be, as
from the first layer on each token depends on all others. What is the same sequence, of whatever origin, is computed
once among those in hand: sequences that differ in one base share two variants and each other, and all deletions in a
run of one base are one.
B batch, L tokens.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from dnabert_jax import stream
from dnabert_jax.interpret.changes import COLUMN_CODES, SUBSTITUTIONS, Change, apply, changes_of
from dnabert_jax.interpret.target import Target, label_outputs
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.sequence.bases import BASE_ORDER
from dnabert_jax.sequence.buckets import groups
from dnabert_jax.stream import Coded, Codes, Named

_VARIANTS_TOGETHER = 3 << 12
"""Variants in hand, but for those of the last sequence."""


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

    name: str
    reference: float
    effects: Float32[np.ndarray, "bases 4"]

    def scores(self, codes: Codes) -> Float32[np.ndarray, " bases"]:
        """How much each base adds: the reference less the mean over what can stand in its place."""
        substituted = (codes[:, None] != COLUMN_CODES).sum(axis=1)
        return (-self.effects.sum(axis=1) / substituted).astype(np.float32)


def mutation_effects(
    model: DNAModel, sequences: Iterable[Named], target: Target, advance: Callable[[int], object] | None = None
) -> Iterator[Mutations]:
    """Yields the effect of every substitution of each sequence, in their order and in constant memory.

    Args:
        advance: if given, told how many more variants are done, sequences themselves included.
    """
    coded = stream.coded(sequences, model.tokenizer)
    pairs = ((own, list(changes_of(own.codes, SUBSTITUTIONS))) for own in coded)
    for one in changed_outputs(model, pairs, target, advance):
        effects = np.zeros((len(one.sequence.codes), len(BASE_ORDER)), np.float32)
        # The order of places and columns is that of the substitutions.
        effects[one.sequence.codes[:, None] != COLUMN_CODES] = one.outputs - np.float32(one.reference)
        yield Mutations(one.sequence.name, one.reference, effects)


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
    checked = (_checked(model, *one) for one in changed)
    lengths: dict[int, int] = {}
    for together in groups(checked, lambda one: len(one[1]), _VARIANTS_TOGETHER):
        # A dictionary keeps the order in which they came.
        every = dict.fromkeys(letters for one in together for letters in _variants(*one))
        places = {letters: number for number, letters in enumerate(every)}
        distinct = (Coded("", "a variant", np.frombuffer(letters, np.uint8)) for letters in places)
        outputs = np.fromiter(label_outputs(model, target, distinct, advance, lengths=lengths), np.float32)
        for own, changes in together:
            reference, *found = (outputs[places[letters]] for letters in _variants(own, changes))
            yield Changed(own, float(reference), changes, np.array(found, np.float32))


def _variants(own: Coded, changes: Sequence[Change]) -> Iterator[bytes]:
    yield own.codes.tobytes()
    yield from (apply(own.codes, change).tobytes() for change in changes)


def _checked(model: DNAModel, own: Coded, changes: Sequence[Change]) -> tuple[Coded, Sequence[Change]]:
    """Both; an error of length names the user's sequence, and the change that makes it so."""
    model.ids_within_limit(own.codes, own.place)
    if changes:
        longer_by = attrgetter("longer_by")
        for change in (min(changes, key=longer_by), max(changes, key=longer_by)):
            model.ids_within_limit(apply(own.codes, change), f"{own.place} with {change}")
    return own, changes
