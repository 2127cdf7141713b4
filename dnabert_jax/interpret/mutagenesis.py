"""In-silico mutagenesis: what each substitution of a base does to what a model says of a label.

A sequence of n bases has 3 n variants, of its own length, so they fill batches of one shape. A variant is told from its
sequence by the k k-mers that cover the base. The rest of the ids is shared; nothing behind them can be, as from the
first layer on each token depends on all others. What is the same sequence, of whatever origin, is computed once among
those in hand: sequences that differ in one base share two variants and each other.
B batch, L tokens.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from dnabert_jax import stream
from dnabert_jax.interpret.target import Target, label_outputs
from dnabert_jax.pretrained import DNABERT
from dnabert_jax.sequence.kmers import base_codes
from dnabert_jax.stream import Coded, Codes, Named

COLUMNS = "ACGT"
"""The bases that are put in, in the order of the columns of effects."""

_COLUMN_CODES = base_codes(COLUMNS.encode())

_BASES_TOGETHER = 1 << 12
"""Of sequences whose variants are in hand, but for the last: some twelve thousand variants."""


class Mutations(NamedTuple):
    """What substitutions do.

    Attributes:
        name: of the sequence.
        reference: what the model says of it.
        effects: what it says of the sequence with the base of the column in place of the row's, less the reference; 0
            where that is the base. An ambiguous base, such as N, has four substitutions.
    """

    name: str
    reference: float
    effects: Float32[np.ndarray, "bases 4"]

    def scores(self, codes: Codes) -> Float32[np.ndarray, " bases"]:
        """How much each base adds: the reference less the mean over what can stand in its place."""
        substituted = (codes[:, None] != _COLUMN_CODES).sum(axis=1)
        return (-self.effects.sum(axis=1) / substituted).astype(np.float32)


def mutation_effects(
    model: DNABERT,
    sequences: Iterable[Named],
    target: Target,
    advance: Callable[[int], object] | None = None,
) -> Iterator[Mutations]:
    """Yields the effect of every substitution of each sequence, in their order and in constant memory.

    Args:
        model: with a classifier.
        sequences: (name, text or codes) of each.
        target: as of `choose_target`.
        advance: if given, told how many more variants are done, sequences themselves included.

    Raises:
        InputError: a sequence is no DNA, too short or too long.
    """
    for together in _together(stream.coded(sequences, model.config.k)):
        # A dictionary keeps the order in which they came.
        every = (one.tobytes() for own in together for one in (own.codes, *variants(own.codes)))
        places = {letters: number for number, letters in enumerate(dict.fromkeys(every))}
        outputs = _outputs(model, target, together, places, advance)
        for own in together:
            reference = outputs[places[own.codes.tobytes()]]
            effects = np.zeros((len(own.codes), len(COLUMNS)), np.float32)
            found = [outputs[places[one.tobytes()]] for one in variants(own.codes)]
            effects[own.codes[:, None] != _COLUMN_CODES] = np.array(found) - reference
            yield Mutations(own.name, float(reference), effects)


def variants(codes: Codes) -> Iterator[Codes]:
    """Yields the sequence with each other base at each place, by place and then in the order of `COLUMNS`."""
    for place, other in zip(*np.nonzero(codes[:, None] != _COLUMN_CODES), strict=True):
        variant = codes.copy()
        variant[place] = _COLUMN_CODES[other]
        yield variant


def _together(sequences: Iterable[Coded]) -> Iterator[list[Coded]]:
    held: list[Coded] = []
    bases = 0
    for one in sequences:
        held.append(one)
        bases += len(one.codes)
        if bases >= _BASES_TOGETHER:
            yield held
            held, bases = [], 0
    if held:
        yield held


def _outputs(
    model: DNABERT,
    target: Target,
    together: list[Coded],
    distinct: Iterable[bytes],
    advance: Callable[[int], object] | None,
) -> Float32[np.ndarray, " n"]:
    """What the model says of each."""
    # Of the user's sequences, lest an error names a variant that is none of them.
    for own in together:
        model.ids_within_limit(own.codes, own.place)

    every = (Coded("", "a variant", _codes(letters)) for letters in distinct)
    return np.fromiter(label_outputs(model, target, every, advance), np.float32)


def _codes(letters: bytes) -> UInt8[np.ndarray, " bases"]:
    return np.frombuffer(letters, np.uint8)
