"""Known motifs, JASPAR's or those of a file in MEME's format, and which of them the motifs of a search are like.

They are compared by TOMTOM's p-values (memelite, extra `jaspar`).
"""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from dnabert_jax.errors import InputError
from dnabert_jax.extras import require_extra
from dnabert_jax.interpret.motifs.search import Motif
from dnabert_jax.io.meme import read_meme
from dnabert_jax.sequence.bases import BASE_ORDER

JASPAR = "jaspar"
_RELEASE = "JASPAR2026"
_TAX_GROUP = "vertebrates"

FEW = 50
"""MEME's tomtom warns of fewer known motifs: their columns are the background, so p-values depend on which they are."""


class KnownMotifs(NamedTuple):
    """Motifs of a database; W is the width of each.

    Attributes:
        source: what they are, for a sentence.
        ids: such as MA0139.2, in the order of the alphabet.
        names: such as CTCF; the id where there is none.
        matrices: probabilities in columns A, C, G and T.
        notes: sentences about motifs that were left out or read as something else.
    """

    source: str
    ids: tuple[str, ...]
    names: tuple[str, ...]
    matrices: tuple[Float64[np.ndarray, "_ 4"], ...]
    notes: tuple[str, ...] = ()


class Match(NamedTuple):
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


def read_database(database: str) -> KnownMotifs:
    """Reads `jaspar`, the latest versions of JASPAR2026 CORE of vertebrates, or a file in MEME's format."""
    path, notes = Path(database), []
    if database == JASPAR:
        source, matrices = f"{_RELEASE} CORE, {_TAX_GROUP}", _read_jaspar()
    elif path.is_file():
        matrices, left_out = read_meme(path)
        source, notes = path.name, left_out.sentences()
    else:
        raise InputError(f"{database} is neither a file on disk nor {JASPAR!r}. Give one of the two as the database.")
    keys = sorted(matrices)
    ids, names = (tuple(column) for column in zip(*((key, name or key) for key, name in keys), strict=True))
    return KnownMotifs(source, ids, names, tuple(matrices[key] for key in keys), tuple(notes))


def _read_jaspar() -> dict[tuple[str, str], np.ndarray]:
    require_extra("jaspar", "JASPAR", "pyjaspar", otherwise="give a MEME file")
    from pyjaspar import jaspardb

    database = jaspardb(release=_RELEASE)
    with contextlib.closing(database.conn):
        motifs = database.fetch_motifs(collection="CORE", tax_group=[_TAX_GROUP])
    matrices = {}
    for motif in motifs:
        counts = np.array([motif.counts[base] for base in BASE_ORDER], np.float64).T
        matrices[motif.matrix_id, motif.name] = counts / counts.sum(axis=1, keepdims=True)
    return matrices


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
    matches = []
    for row, motif in enumerate(motifs):
        for target in np.argsort(p[row], kind="stable"):
            at = row, target
            if q[at] <= largest_q:
                numbers = float(p[at]), float(q[at]), "-" if strand[at] else "+", int(offset[at]), int(overlap[at])
                matches.append(Match(motif.seed, known.ids[target], known.names[target], *numbers))
    return matches


def write_matches(path: Path, matches: Sequence[Match]) -> None:
    """Writes a row for each match, in columns that are the attributes."""
    lines = ("\t".join(map(str, row)) + "\n" for row in (Match._fields, *matches))
    path.write_text("".join(lines), encoding="utf-8")
