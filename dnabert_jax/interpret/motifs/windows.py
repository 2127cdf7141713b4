"""Windows of one width around the instances of a motif, and the matrix that they count up to.

As `make_window` of the original's motif/motif_utils.py, but for windows that end where their sequence ends, which it
leaves out. W window.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from dnabert_jax.interpret.motifs.merging import Member
from dnabert_jax.interpret.motifs.regions import Places
from dnabert_jax.sequence.bases import AMBIGUOUS, BASE_ORDER, BASES, reverse_complement
from dnabert_jax.tasks.datasets.sequences import Sequences


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a motif.

    Attributes:
        start: of the window in it.
        core: start of the motif's seed in it.
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

    def counts(self) -> Int64[np.ndarray, "W 4"]:
        """How often each base is at each place, in columns A, C, G, T."""
        columns = np.array([BASES.index(base) for base in BASE_ORDER], np.uint8)
        return (self.codes[:, :, None] == columns).sum(axis=0)


def seed_places(places: Places, member: Member, word_length: int, seed_length: int) -> Places:
    """Where the seed of a group lies on the sequences, by the places of one of its members."""
    reverse = places.reverse ^ member.reverse
    start = np.where(reverse, places.start + word_length - member.shift - seed_length, places.start + member.shift)
    return Places(places.sequence, start, reverse)


def windows_around(seeds: Iterable[Places], seed_length: int, width: int, sequences: Sequences) -> Windows:
    """Cuts windows with the seed in their middle, or half a base before it, and leaves out those that do not fit.

    Args:
        seed_length: in bases; one that is wider than the window is cut on both sides.
    """
    listed = list(seeds)
    sequence, core, reverse = (
        np.concatenate([getattr(own, name) for own in listed]) for name in ("sequence", "start", "reverse")
    )
    before = (width - seed_length) // 2
    start = core - np.where(reverse, width - seed_length - before, before)
    inside = (start >= 0) & (start + width <= sequences.lengths[sequence])
    beyond = np.stack([sequence, start, start + width], axis=1)[~inside]
    sequence, core, reverse, start = (column[inside] for column in (sequence, core, reverse, start))
    codes = sequences.codes[(sequences.starts[sequence] + start)[:, None] + np.arange(width)]
    # Read backwards as one sequence, the windows come in the opposite order.
    others = reverse_complement(codes.ravel()).reshape(codes.shape)[::-1]
    codes = np.where(reverse[:, None], others, codes)
    certain = ~(codes == AMBIGUOUS).any(axis=1)
    ambiguous = np.stack([sequence, start, start + width], axis=1)[~certain]
    sequence, start, core, reverse = (column[certain] for column in (sequence, start, core, reverse))
    return Windows(sequence, start, core, reverse, codes[certain], beyond, ambiguous)
