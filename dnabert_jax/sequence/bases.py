"""Letters of DNA as codes, vectorised with numpy: a byte is looked up in a 256-entry table."""

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.errors import InputError

BASES = "ATCG"
"""The bases in the order of their codes, which is that of the published DNABERT vocabularies."""

BASE_ORDER = "ACGT"
"""The bases in the order of the columns of matrices and effects, which is MEME's."""

AMBIGUOUS = 4
"""Code of a base that is some IUPAC ambiguity letter (N, R, Y, ...): a real position, but no certain base."""

LETTERS = np.frombuffer(f"{BASES}N".encode(), "S1")
"""The letter of each code; all ambiguity letters are written as N."""

_INVALID = 255
_AMBIGUITY_LETTERS = "NRYSWKMBDHV"


def _base_code_table() -> UInt8[np.ndarray, "256"]:
    table = np.full(256, _INVALID, np.uint8)
    for letter in _AMBIGUITY_LETTERS:
        table[[ord(letter), ord(letter.lower())]] = AMBIGUOUS
    for code, base in enumerate(BASES):
        table[[ord(base), ord(base.lower())]] = code
    return table


_BASE_CODES = _base_code_table()


def base_codes(
    sequence: bytes | UInt8[np.ndarray, " n"], name: str = "the sequence", first: int = 0
) -> UInt8[np.ndarray, " n"]:
    """Returns the codes of the letters of a sequence: A=0, T=1, C=2, G=3, an IUPAC ambiguity letter=4.

    Args:
        sequence: letters in any case.
        name: what to call the sequence in an error.
        first: number of letters of the same sequence that precede these.

    Raises:
        InputError: a character is not an IUPAC DNA letter; the message gives it and its 1-based position.
    """
    letters = np.frombuffer(sequence, np.uint8) if isinstance(sequence, bytes) else sequence
    codes = _BASE_CODES[letters]
    if codes.size and codes.max() == _INVALID:
        position = int(np.argmax(codes == _INVALID))
        letter = chr(letters[position])
        hint = " (RNA? write T for U)" if letter in "Uu" else ""
        raise InputError(
            f"{name} has {letter!r} at position {first + position + 1:,}, which is not an IUPAC DNA letter{hint}."
        )
    return codes


def decode_bases(codes: UInt8[np.ndarray, " n"]) -> str:
    """Returns the DNA of codes, with N for any ambiguous base."""
    return LETTERS[codes].tobytes().decode()


def reverse_complement(codes: UInt8[np.ndarray, " n"]) -> UInt8[np.ndarray, " n"]:
    """Returns the codes of the other strand, read in its own direction; ambiguous bases stay ambiguous."""
    # A=0 and T=1, C=2 and G=3 are each other's complement: they differ in the last bit.
    return np.where(codes < AMBIGUOUS, codes ^ 1, codes)[::-1]
