"""Changes of a sequence: which there are of a kind, and the sequence that each makes."""

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

import numpy as np

from dnabert_jax.sequence.bases import BASE_ORDER, base_codes
from dnabert_jax.stream import Codes

COLUMN_CODES = base_codes(BASE_ORDER.encode())

Kind = Literal["substitutions", "deletions", "insertions"]
"""Of changes of one base."""

SUBSTITUTIONS: tuple[Kind, ...] = ("substitutions",)


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
        """What the sequence goes through: substitution, deletion, insertion, or replacement by another length."""
        gone, put_in = self.end - self.start, len(self.alternative)
        if gone == put_in:
            return "substitution"
        return "deletion" if not put_in else "insertion" if not gone else "replacement"

    @property
    def longer_by(self) -> int:
        """Bases that the sequence gains."""
        return len(self.alternative) - (self.end - self.start)

    def __str__(self) -> str:
        return f"[{self.start}, {self.end}) replaced by {self.alternative or 'nothing'}"


def apply(codes: Codes, change: Change) -> Codes:
    """Returns the sequence with a change; raises InputError if the alternative is not DNA."""
    own = base_codes(change.alternative.encode("ascii", "replace"), "the alternative")
    return np.concatenate([codes[: change.start], own, codes[change.end :]])


def changes_of(codes: Codes, kinds: Collection[Kind]) -> Iterator[Change]:
    """Yields every change of one base, by place, then substitutions, deletion and insertions before the base.

    A substitution puts another base in; of an ambiguous letter there are four. Insertions are also made at the end.
    """
    # A loop over Python's numbers is quicker than one over numpy's.
    for place, code in enumerate(codes.tolist()):
        if "substitutions" in kinds:
            for letter, own in zip(BASE_ORDER, COLUMN_CODES.tolist(), strict=True):
                if own != code:
                    yield Change(place, place + 1, letter)
        if "deletions" in kinds:
            yield Change(place, place + 1, "")
        if "insertions" in kinds:
            yield from (Change(place, place, letter) for letter in BASE_ORDER)
    if "insertions" in kinds:
        yield from (Change(len(codes), len(codes), letter) for letter in BASE_ORDER)
