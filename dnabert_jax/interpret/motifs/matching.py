"""Which known motifs the motifs found are like, by TOMTOM's p-values (memelite, extra `jaspar`)."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.extras import require_extra
from dnabert_jax.interpret.motifs.database import KnownMotifs
from dnabert_jax.interpret.motifs.search import Motif

FEW = 50
"""MEME's tomtom warns of fewer known motifs: their columns are the background, so p-values depend on which they are."""


@dataclasses.dataclass(frozen=True)
class Match:
    """A found motif and a known one, the target, that it is like.

    Attributes:
        motif: the seed of the one found.
        p_value: that so good an alignment comes by chance, with random columns of all targets for the target's, on
            the better strand and shift.
        q_value: by Benjamini and Hochberg over all targets of this motif.
        strand: "-" if the target matches as its reverse complement.
        offset: at which base of the target, turned if strand is "-", the motif begins; negative if before it.
        overlap: how many of their bases lie on each other.
    """

    motif: str
    target_id: str
    target_name: str
    p_value: float
    q_value: float
    strand: str
    offset: int
    overlap: int


def check_memelite() -> None:
    """Raises InputError unless memelite can be loaded."""
    require_extra("jaspar", "A comparison with known motifs", "memelite", otherwise="drop --database")
    try:
        import memelite  # noqa: F401
    except RuntimeError as error:  # numba's, as it finds no place for what it compiles
        raise InputError(
            f"memelite cannot be loaded ({error}). Set NUMBA_CACHE_DIR to a writable directory."
        ) from error


def match_motifs(motifs: Sequence[Motif], known: KnownMotifs, largest_q: float) -> list[Match]:
    """Compares each motif with all known ones, on both strands and at all shifts.

    MEME's tomtom adjusts p-values over the targets of one query too, but multiplies by an estimate of how many targets
    are unlike it, so that its q-values are the same or less. There is no least overlap: bases of the motif beyond the
    target count with the median score of their column.

    Returns:
        Matches in the order of the motifs, those of each by p-value, then by the target's id.
    """
    from memelite import tomtom
    from scipy.stats import false_discovery_control

    if not motifs:
        return []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "tomtom was given")  # of fewer than 25; see FEW
        # In one thread, as each takes memory of the cube of the width: 45 MB at 24 bases.
        p, _, offset, overlap, strand = tomtom(
            [motif.probabilities().T for motif in motifs], [matrix.T for matrix in known.matrices], n_jobs=1
        )
    p = np.clip(p, 0.0, 1.0)
    q = false_discovery_control(p, axis=1, method="bh")
    return [
        Match(
            motif=motif.seed,
            target_id=known.ids[target],
            target_name=known.names[target],
            p_value=float(p[row, target]),
            q_value=float(q[row, target]),
            strand="-" if strand[row, target] else "+",
            offset=int(offset[row, target]),
            overlap=int(overlap[row, target]),
        )
        for row, motif in enumerate(motifs)
        for target in np.argsort(p[row], kind="stable")
        if q[row, target] <= largest_q
    ]


def write_matches(path: Path, matches: Sequence[Match]) -> None:
    """Writes a row for each match, in columns that are the attributes."""
    header = [field.name for field in dataclasses.fields(Match)]
    rows = [header, *(dataclasses.astuple(match) for match in matches)]
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
