"""Bases to k-mer ids and back.

A sequence of n bases has n - k + 1 k-mers, the last one included. (The original's pre-training script drops the
last one, its motif tools keep it.) Everything is numpy over whole arrays: a byte is looked up in a 256-entry
table, and a k-mer id is k shifted additions.
"""

import functools
import re

import numpy as np
from jaxtyping import Int64, Integer, UInt8, UInt16

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import (
    BASES,
    CLS,
    FIRST_KMER,
    PAD,
    SEP,
    SPECIAL_TOKENS,
    UNK,
    check_k,
    vocabulary_size,
)

AMBIGUOUS = 4
"""Code of a base that is some IUPAC ambiguity letter (N, R, Y, ...): a real position, but no certain base."""

LETTERS = np.frombuffer(f"{BASES}N".encode(), "S1")
"""Of each code; all ambiguity letters are one."""

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
    """Codes of the letters of a sequence: A=0, T=1, C=2, G=3, an IUPAC ambiguity letter=4; case is ignored.

    Args:
        name: what to call the sequence in an error.
        first: letters of the same sequence that stand before these.

    Raises:
        InputError: a character is no IUPAC DNA letter; the message gives it and its 1-based position.
    """
    letters = np.frombuffer(sequence, np.uint8) if isinstance(sequence, bytes) else sequence
    codes = _BASE_CODES[letters]
    if codes.size and codes.max() == _INVALID:
        position = int(np.argmax(codes == _INVALID))
        letter = chr(letters[position])
        hint = " (RNA? write T for U)" if letter in "Uu" else ""
        raise InputError(
            f"{name} has {letter!r} at position {first + position + 1:,}, which is no IUPAC DNA letter{hint}."
        )
    return codes


def text_of(codes: UInt8[np.ndarray, " n"]) -> str:
    """The DNA that codes stand for; N for any ambiguous base."""
    return LETTERS[codes].tobytes().decode()


def reverse_complement(codes: UInt8[np.ndarray, " n"]) -> UInt8[np.ndarray, " n"]:
    """Codes of the other strand, read in its own direction; ambiguous bases stay ambiguous."""
    # A=0 and T=1, C=2 and G=3 are each other's complement: they differ in the last bit.
    return np.where(codes < AMBIGUOUS, codes ^ 1, codes)[::-1]


def kmer_ids(codes: UInt8[np.ndarray, " n"], k: int) -> UInt16[np.ndarray, " m"]:
    """Ids of the n - k + 1 k-mers of a sequence (none if n < k).

    A k-mer that holds an ambiguous base gets a meaningless id: cut the sequence there before, or use `encode`.
    """
    check_k(k)
    count = max(len(codes) - k + 1, 0)
    ids = np.zeros(count, np.uint16)
    for offset in range(k):
        ids <<= 2
        ids += codes[offset : offset + count]
    ids += FIRST_KMER
    return ids


def encode(sequence: str, k: int, name: str = "the sequence") -> UInt16[np.ndarray, " m"]:
    """Ids of the k-mers of raw DNA or of space-separated k-mers, without [CLS] and [SEP].

    A k-mer that holds an ambiguity letter becomes [UNK]; count them with `(ids == UNK).sum()`.

    Raises:
        InputError: a letter that is no IUPAC DNA letter, k-mers of another length or that do not overlap by
            k - 1 bases, or fewer than k bases.
    """
    codes = sequence_codes(sequence, k, name)
    check_has_kmer(len(codes), k, name)
    return encode_codes(codes, k)


def sequence_codes(sequence: str, k: int, name: str = "the sequence") -> UInt8[np.ndarray, " n"]:
    """Codes, as of `base_codes`, of raw DNA or of space-separated k-mers.

    Raises:
        InputError: a letter that is no IUPAC DNA letter, k-mers of another length or that do not overlap by
            k - 1 bases.
    """
    if len(sequence.split()) > 1 or len(sequence.strip()) == k:
        sequence = join_kmers(sequence, k, name)
    return base_codes(sequence.strip().encode("ascii", "replace"), name)


def check_has_kmer(bases: int, k: int, name: str) -> None:
    """Raises InputError if a sequence of so many bases has no k-mer."""
    if bases < k:
        raise InputError(f"{name} has {bases} bases: at least k = {k} are needed for one k-mer.")


def encode_codes(codes: UInt8[np.ndarray, " n"], k: int) -> UInt16[np.ndarray, " m"]:
    """Ids of the k-mers of at least k bases; one that holds an ambiguous base becomes [UNK]."""
    ids = kmer_ids(np.minimum(codes, AMBIGUOUS - 1), k)
    ambiguous = np.convolve(codes == AMBIGUOUS, np.ones(k, np.int32), mode="valid") > 0
    ids[ambiguous] = UNK
    return ids


@functools.cache
def other_strand_ids(k: int) -> UInt16[np.ndarray, " vocabulary"]:
    """Returns the id on the other strand of each id: that of the reverse complement; [CLS] and [SEP] change places.

    So the other strand of `[CLS] k-mers [SEP]` is the row of these ids, read backwards.
    """
    table = np.arange(vocabulary_size(k), dtype=np.uint16)
    numbers = np.arange(4**k)
    reverse = np.zeros_like(numbers)
    for _ in range(k):
        reverse, numbers = reverse << 2 | numbers & 3 ^ 1, numbers >> 2
    table[FIRST_KMER:] = reverse + FIRST_KMER
    table[[CLS, SEP]] = SEP, CLS
    return table


def other_strand(
    ids: Integer[np.ndarray, " tokens"], offsets: Int64[np.ndarray, " ends"], k: int
) -> Integer[np.ndarray, " tokens"]:
    """Returns the reverse complements of sequences that lie end to end, each with its [CLS] and [SEP].

    Args:
        ids: of all sequences.
        offsets: where each begins, and where the last ends.
        k: letters of a k-mer.
    """
    mirror = np.repeat(offsets[:-1] + offsets[1:] - 1, np.diff(offsets)) - np.arange(len(ids))
    return other_strand_ids(k).astype(ids.dtype)[ids[mirror]]


def both_strands(rows: Integer[np.ndarray, "B L"], k: int) -> Integer[np.ndarray, "rows L"]:
    """Returns each row, `[CLS] k-mers [SEP] [PAD]`, and after it its reverse complement, padded in the same way."""
    lengths = (rows != PAD).sum(axis=1, keepdims=True)
    place = np.arange(rows.shape[1])
    mirrored = np.take_along_axis(rows, np.where(place < lengths, lengths - 1 - place, place), axis=1)
    return np.stack([rows, other_strand_ids(k).astype(rows.dtype)[mirrored]], axis=1).reshape(-1, rows.shape[1])


def join_kmers(text: str, k: int, name: str = "the sequence") -> str:
    """The DNA that space-separated overlapping k-mers spell.

    Raises:
        InputError: a k-mer has not k letters, or does not begin with the last k - 1 letters of the one before it.
    """
    kmers = text.split()
    for index, kmer in enumerate(kmers):
        if len(kmer) != k:
            raise InputError(f"{name}: k-mer {index + 1} is {kmer!r}, of {len(kmer)} letters where k = {k} are needed.")
        if index and kmer[:-1] != kmers[index - 1][1:]:
            raise InputError(
                f"{name}: k-mer {index + 1} ({kmer!r}) does not overlap the one before it ({kmers[index - 1]!r}) "
                f"by {k - 1} bases."
            )
    return kmers[0] + "".join(kmer[-1] for kmer in kmers[1:]) if kmers else ""


def split_kmers(sequence: str, k: int) -> str:
    """Space-separated overlapping k-mers, upper case: the input of the published DNABERT tokenizers."""
    check_k(k)
    return " ".join(re.findall(f"(?=(.{{{k}}}))", sequence.upper()))


def decode(ids: Integer[np.ndarray, " m"], k: int) -> str:
    """The DNA that consecutive k-mer ids spell: the inverse of `encode` for unambiguous DNA.

    Raises:
        InputError: an id is no k-mer (a special token has no bases), or two neighbours do not overlap.
    """
    size = vocabulary_size(k)
    outside = (ids < FIRST_KMER) | (ids >= size)
    if outside.any():
        position = int(np.argmax(outside))
        wrong = int(ids[position])
        what = SPECIAL_TOKENS[wrong] if wrong < FIRST_KMER else f"not below the vocabulary size {size}"
        raise InputError(f"Id {wrong} at position {position + 1:,} is {what}: only k-mer ids can be decoded to bases.")
    numbers = ids.astype(np.int64) - FIRST_KMER
    broken = numbers[1:] // 4 != numbers[:-1] % 4 ** (k - 1)
    if broken.any():
        position = int(np.argmax(broken)) + 1
        raise InputError(f"Ids at positions {position:,} and {position + 1:,} do not overlap by {k - 1} bases.")
    if not len(numbers):
        return ""
    first = [int(numbers[0]) // 4 ** (k - 1 - offset) % 4 for offset in range(k)]
    return text_of(np.concatenate([np.array(first), numbers[1:] % 4]).astype(np.uint8))
