"""Reads motifs of DNA in MEME's format, minimal or as MEME, STREME and DREME write it.

Not by a library: memelite and Biopython give a motif without a matrix that of the next motif; memelite needs `w=` and
does not read the alphabet; Biopython needs a header, drops names and rounds probabilities to counts.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dnabert_jax.errors import InputError
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.text import numbered_lines, valid_unicode

_ALPHABETS = ("ACGT", "ACGU")
_ROUNDING = 0.05
_NUMBER = re.compile(r"\s*[-+]?(\.?\d|(nan|inf)\b)", re.IGNORECASE)


@dataclasses.dataclass
class _Motif:
    """The lines of one motif: its heading, the settings of its matrix, and the rows."""

    line: int
    id: str
    name: str
    settings: dict[str, str] | None = None
    rows: list[str] = dataclasses.field(default_factory=list)

    def matrix(self, letters: int) -> np.ndarray:
        """Returns the probabilities; raises ValueError with the reason if the motif cannot be used."""
        if self.settings is None or not self.rows:
            raise ValueError("the motif has no letter-probability matrix")
        try:
            matrix = np.array([row.split() for row in self.rows], np.float64)
        except ValueError as error:
            raise ValueError("a row of the matrix is not made of four numbers") from error
        if matrix.shape[1] != 4 or self.settings.get("alength", "4") not in ("4", str(letters)):
            raise ValueError("the matrix does not have the four columns of DNA")
        if self.settings.get("w", str(len(matrix))) != str(len(matrix)):
            raise ValueError("the matrix has more or fewer rows than w= says")
        if not ((matrix >= 0).all() and (abs(matrix.sum(axis=1) - 1) <= _ROUNDING).all()):
            raise ValueError("a row of the matrix is not made of probabilities that sum to 1")
        return matrix / matrix.sum(axis=1, keepdims=True)


def read_meme(path: Path) -> tuple[dict[tuple[str, str], Float64[np.ndarray, "width 4"]], LeftOut]:
    """Reads the letter-probability matrices of a file; the width of each is the number of its rows.

    Returns:
        Probabilities of A, C, G and T by (id, name), in the order of the file, each row summing to 1; the name may be
        empty. And the motifs that cannot be used, with a remark if the file says that it has another alphabet.
    """
    lines = list(numbered_lines(path))
    alphabet = _alphabet(path, lines)
    motifs: dict[tuple[str, str], np.ndarray] = {}
    lines_of: dict[tuple[str, str], int] = {}
    left_out = LeftOut()
    for motif in _motifs(path, lines):
        key = motif.id, motif.name
        try:
            matrix = motif.matrix(len(alphabet))
        except ValueError as error:
            left_out.add(str(error), f"line {motif.line} of {path.name} ({motif.id})")
            continue
        if key in motifs:
            raise InputError(
                f"{path}, lines {lines_of[key]} and {motif.line}, are both the motif {' '.join(key).strip()!r}. "
                "Rename or remove one of them."
            )
        motifs[key], lines_of[key] = matrix, motif.line
    if not motifs and not left_out.total:
        raise InputError(
            f"{path} has no MOTIF line of MEME's format. Convert it, for example with jaspar2meme of the MEME suite."
        )
    left_out.check_some_left(len(motifs), f"motifs of {path}")
    if alphabet != _ALPHABETS[0]:
        left_out.remark(f"{path} has four columns for the alphabet {alphabet}: they are read as A, C, G and T.")
    return motifs, left_out


def _motifs(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[_Motif]:
    motif, in_matrix = None, False
    for number, line in lines:
        if re.match(r"MOTIF(\s|$)", line):
            if motif:
                yield motif
            # MEME's own output goes on: "width = 15 sites = 20 llr = 171 E-value = 1.7e-003".
            heading = re.sub(r"\s+width\s*=.*", "", valid_unicode(line)).split()[1:]
            if not heading:
                raise InputError(f"{path}, line {number}, is a MOTIF line without an id.")
            motif, in_matrix = _Motif(number, heading[0], " ".join(heading[1:])), False
        elif motif and motif.settings is None and line.lstrip().startswith("letter-probability matrix"):
            motif.settings, in_matrix = dict(re.findall(r"(\w+)=\s*(\S+)", line)), True
        elif motif and in_matrix and line.strip() and not line.startswith("#"):
            # What does not begin with a number ends the matrix.
            in_matrix = _NUMBER.match(line) is not None
            motif.rows += [line] * in_matrix
    if motif:
        yield motif


def _alphabet(path: Path, lines: Iterable[tuple[int, str]]) -> str:
    """Returns the letters of the columns, A, C, G and T if the file does not say."""
    letters, in_definition = "", False
    for _, line in lines:
        fields = line.split()
        if line.startswith("MOTIF") or fields[:2] == ["END", "ALPHABET"]:
            break
        if line.startswith("ALPHABET"):
            letters, in_definition = line.removeprefix("ALPHABET").partition("=")[2].strip().upper(), "=" not in line
        elif in_definition and "=" not in fields and not line.startswith("#"):
            # A pair of complements such as: A "Adenine" CC0000 ~ T "Thymine" 008000
            letters += "".join(half.split()[0].upper() for half in re.split(r"\s~\s", line) if half.split())
    core = "".join(sorted(letters)) if in_definition else letters or _ALPHABETS[0]
    if len(core) == len(_ALPHABETS[0]) and core not in _ALPHABETS:
        raise InputError(f"{path} has motifs over the alphabet {core}: only motifs of DNA or RNA, ACGT, can be used.")
    return core
