"""Known motifs: JASPAR's, or those of a file in MEME's format."""

import contextlib
import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import COLUMNS

JASPAR = "jaspar"
_RELEASE = "JASPAR2026"
_TAX_GROUP = "vertebrates"
_ROUNDING = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class KnownMotifs:
    """Motifs of a database; W is the width of each.

    Attributes:
        source: what they are, for a sentence.
        ids: such as MA0139.2, in the order of the alphabet.
        names: such as CTCF; the id where there is none.
        matrices: probabilities in columns A, C, G and T.
    """

    source: str
    ids: tuple[str, ...]
    names: tuple[str, ...]
    matrices: tuple[Float64[np.ndarray, "_ 4"], ...]


def read_database(database: str) -> KnownMotifs:
    """Reads `jaspar`, which is JASPAR2026 CORE of vertebrates in its latest versions, or a file in MEME's format.

    Raises:
        InputError: memelite or pyjaspar cannot be loaded; or the file is not there, or not motifs of DNA.
    """
    _check_memelite()
    if database == JASPAR:
        return _read_jaspar()
    path = Path(database)
    if not path.is_file():
        raise InputError(f"{database} is not a file on disk, nor {JASPAR!r}: give one of the two as the database.")
    return _read_meme(path)


def _check_memelite() -> None:
    if importlib.util.find_spec("memelite") is None:
        raise InputError("Known motifs need memelite: pip install memelite, or give no database.")
    try:
        import memelite  # noqa: F401
    except RuntimeError as error:  # numba's, as it finds no place for what it compiles
        raise InputError(
            f"memelite cannot be loaded ({error}): set NUMBA_CACHE_DIR to a writable directory."
        ) from error


def _read_jaspar() -> KnownMotifs:
    if importlib.util.find_spec("pyjaspar") is None:
        raise InputError("JASPAR needs pyjaspar: pip install pyjaspar, or give a file in MEME's format.")
    from pyjaspar import jaspardb

    database = jaspardb(release=_RELEASE)
    with contextlib.closing(database.conn):
        motifs = database.fetch_motifs(collection="CORE", tax_group=[_TAX_GROUP])
    counts = {
        (motif.matrix_id, motif.name): np.array([motif.counts[base] for base in COLUMNS], np.float64).T
        for motif in motifs
    }
    return _known(f"{_RELEASE} CORE, {_TAX_GROUP}", counts)


def _read_meme(path: Path) -> KnownMotifs:
    # Not by Biopython, which drops names and rounds to counts.
    from memelite.io import read_meme

    try:
        listed = sum(
            line.startswith("MOTIF") for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        )
        matrices = {}
        for heading, matrix in read_meme(str(path)).items():
            own, *name = heading.split()
            matrices[own, " ".join(name)] = matrix.T
    except (ValueError, AttributeError, IndexError) as error:  # what it raises where a line is not what it should be
        raise InputError(f"{path} is not motifs of DNA in MEME's minimal format, with w= of each matrix.") from error
    if not matrices:
        raise InputError(f"{path} has no motif in MEME's format.")
    # It passes over the last one if that is cut short, and over the first of two that are named the same.
    if listed != len(matrices):
        raise InputError(f"{path} lists {listed:,} motifs, but has {len(matrices):,} that are whole and named apart.")
    for (name, _), matrix in matrices.items():
        if not (len(matrix) and (matrix >= 0).all() and (abs(matrix.sum(axis=1) - 1) <= _ROUNDING).all()):
            raise InputError(f"{path} has a motif, {name}, without probabilities of four bases.")
    return _known(path.name, matrices)


def _known(source: str, matrices: dict[tuple[str, str], np.ndarray]) -> KnownMotifs:
    keys = sorted(matrices)
    return KnownMotifs(
        source=source,
        ids=tuple(own for own, _ in keys),
        names=tuple(name or own for own, name in keys),
        matrices=tuple(matrices[key] / matrices[key].sum(axis=1, keepdims=True) for key in keys),
    )
