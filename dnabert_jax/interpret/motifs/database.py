"""Known motifs: JASPAR's, or those of a file in MEME's format."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dnabert_jax.errors import InputError
from dnabert_jax.extras import require_extra
from dnabert_jax.io.meme import read_meme
from dnabert_jax.sequence.bases import BASE_ORDER

JASPAR = "jaspar"
_RELEASE = "JASPAR2026"
_TAX_GROUP = "vertebrates"


@dataclasses.dataclass(frozen=True, eq=False)
class KnownMotifs:
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


def read_database(database: str) -> KnownMotifs:
    """Reads `jaspar`, the latest versions of JASPAR2026 CORE of vertebrates, or a file in MEME's format."""
    if database == JASPAR:
        return _known(f"{_RELEASE} CORE, {_TAX_GROUP}", _read_jaspar())
    path = Path(database)
    if not path.is_file():
        raise InputError(f"{database} is neither a file on disk nor {JASPAR!r}. Give one of the two as the database.")
    motifs, left_out = read_meme(path)
    return _known(path.name, motifs, tuple(left_out.sentences()))


def _read_jaspar() -> dict[tuple[str, str], np.ndarray]:
    require_extra("jaspar", "JASPAR", "pyjaspar", otherwise="give a MEME file")
    from pyjaspar import jaspardb

    database = jaspardb(release=_RELEASE)
    with contextlib.closing(database.conn):
        motifs = database.fetch_motifs(collection="CORE", tax_group=[_TAX_GROUP])
    counts = {
        (motif.matrix_id, motif.name): np.array([motif.counts[base] for base in BASE_ORDER], np.float64).T
        for motif in motifs
    }
    return {key: matrix / matrix.sum(axis=1, keepdims=True) for key, matrix in counts.items()}


def _known(source: str, matrices: Mapping[tuple[str, str], np.ndarray], notes: tuple[str, ...] = ()) -> KnownMotifs:
    keys = sorted(matrices)
    return KnownMotifs(
        source=source,
        ids=tuple(motif_id for motif_id, _ in keys),
        names=tuple(name or motif_id for motif_id, name in keys),
        matrices=tuple(matrices[key] for key in keys),
        notes=notes,
    )
