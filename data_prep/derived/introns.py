"""The ends of introns: donors GT and acceptors AG, where annotation and sequence are of one assembly."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from data_prep.derived.contigs import Contig
from dnabert_jax.errors import InputError
from dnabert_jax.io.gtf import Transcript
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes

_ENOUGH, _HALF = 20, 0.5
DONOR, ACCEPTOR = 0, 1


def intron_ends(transcripts: Sequence[Transcript]) -> Int64[np.ndarray, "d 3"]:
    """Of each distinct end of an intron: start of its two bases, strand (1: reverse), and DONOR or ACCEPTOR; sorted."""
    ends = {
        (left if (side == 0) != transcript.reverse else right, transcript.reverse, side)
        for transcript in transcripts
        for left, right in ((start, end - 2) for start, end in transcript.introns())
        for side in (DONOR, ACCEPTOR)
    }
    return np.array(sorted(ends), np.int64).reshape(-1, 3)


class AssemblyCheck:
    """Counts how many introns begin with GT and end with AG: nearly all, if the sequence is the annotation's."""

    def __init__(self) -> None:
        self.seen: Counter[int] = Counter()
        self.canonical: Counter[int] = Counter()

    def add(self, contig: Contig, ends: Int64[np.ndarray, "d 3"]) -> None:
        """Takes up the ends of introns on a contig, but those beyond its end or in N."""
        start, reverse, side = ends.T
        inside = contig.inside(start, 2)
        codes = contig.cut(start[inside], reverse[inside] == 1, 2)
        for number, bases in enumerate(("GT", "AG")):
            own = codes[side[inside] == number]
            certain = own[(own < AMBIGUOUS).all(axis=1)]
            self.seen[number] += len(certain)
            self.canonical[number] += int((certain == base_codes(bases.encode())).all(axis=1).sum())

    def update(self, other: "AssemblyCheck") -> None:
        """Takes up the counts of another one."""
        self.seen.update(other.seen)
        self.canonical.update(other.canonical)

    def figures(self, name: str) -> dict[str, int | float]:
        """Returns the shares of GT and AG; raises InputError if most of 20 or more introns lack one of them."""
        shares = [self.canonical[side] / self.seen[side] if self.seen[side] else 0.0 for side in (DONOR, ACCEPTOR)]
        for side, what in ((DONOR, "begin with GT"), (ACCEPTOR, "end with AG")):
            if self.seen[side] >= _ENOUGH and shares[side] < _HALF:
                raise InputError(
                    f"Only {shares[side]:.1%} of the {self.seen[side]:,} introns of {name} {what} in this sequence: it "
                    "is of another assembly than the annotation."
                )
        donors, acceptors = self.seen[DONOR], self.seen[ACCEPTOR]
        return {"donors": donors, "GT share": shares[0], "acceptors": acceptors, "AG share": shares[1]}
