"""DNABERT's tokens: every k consecutive bases, which overlap by k - 1.

A sequence of n bases has n - k + 1 k-mers, the last one included. (The original's pre-training script drops the
last one, its motif tools keep it.) K-mers are in the order of product("ATCG", repeat=k), which is that of the published
vocab.txt files of DNABERT-3 .. DNABERT-6. So an id is arithmetic, 5 + the k-mer read as a base-4 number with the digits
A=0, T=1, C=2, G=3, and encoding is k shifted additions of whole arrays.
"""

import dataclasses
import functools
import itertools
import re
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Integer, UInt8, UInt16

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import AMBIGUOUS, BASES
from dnabert_jax.sequence.tokenizer import Tokenizer, window_positions
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL, SPECIAL_TOKENS, UNK

MAX_K = 7
"""Ids are stored in two bytes: 4**7 + 5 = 16,389 fits, 4**8 + 5 = 65,541 does not."""


@dataclasses.dataclass(frozen=True)
class KmerTokenizer(Tokenizer):
    """Overlapping k-mers; text may be raw DNA or space-separated k-mers.

    Raises:
        InputError: k is below 1; or, where ids are asked for, above 7.
    """

    k: int

    def __post_init__(self) -> None:
        self._check_k(self.k >= 1)

    def _check_k(self, condition: bool) -> None:
        if not condition:
            raise InputError(f"k is {self.k}: it must lie between 1 and {MAX_K}.")

    stride: ClassVar[int] = 1
    ambiguous: ClassVar[str] = "whose k-mers are [UNK]"

    @property
    def overlap(self) -> int:
        return self.k

    @property
    def shortest(self) -> int:
        return self.k

    @property
    def unit(self) -> str:
        return f"{self.k}-mers"

    @functools.cached_property
    def tokens(self) -> list[str]:
        return [*SPECIAL_TOKENS, *map("".join, itertools.product(BASES, repeat=self.k))]

    @functools.cached_property
    def vocabulary_size(self) -> int:
        self._check_k(self.k <= MAX_K)
        return NUM_SPECIAL + 4**self.k

    @functools.cached_property
    def advance(self) -> UInt8[np.ndarray, " V"]:
        return np.ones(self.vocabulary_size, np.uint8)

    @functools.cached_property
    def width(self) -> UInt8[np.ndarray, " V"]:
        # An unknown k-mer covers k bases too.
        return np.full(self.vocabulary_size, self.k, np.uint8)

    def count(self, bases: int) -> int:
        return max(bases - self.k + 1, 0)

    def capacity(self, tokens: int) -> int:
        return self.stretch(tokens)

    def encode_windows(
        self, codes: UInt8[np.ndarray, " n"], starts: Integer[np.ndarray, " w"], counts: Integer[np.ndarray, " w"]
    ) -> UInt16[np.ndarray, " m"]:
        return self.encode(codes)[window_positions(starts, counts)]

    def parse(self, text: str, name: str = "the sequence") -> UInt8[np.ndarray, " n"]:
        """Returns the codes of raw DNA or of space-separated k-mers.

        Raises:
            InputError: a letter is not an IUPAC DNA letter, or k-mers have another length or do not overlap by k - 1
                bases.
        """
        if len(text.split()) > 1 or len(text.strip()) == self.k:
            text = self._join(text.split(), name)
        return super().parse(text, name)

    def encode(self, codes: UInt8[np.ndarray, " n"]) -> UInt16[np.ndarray, " m"]:
        self._check_k(self.k <= MAX_K)
        count, certain = self.count(len(codes)), codes
        if ambiguous := codes.max(initial=0) == AMBIGUOUS:
            certain = np.minimum(codes, AMBIGUOUS - 1)
        ids = np.zeros(count, np.uint16)
        for offset in range(self.k):
            ids <<= 2
            ids += certain[offset : offset + count]
        ids += NUM_SPECIAL
        if ambiguous and count:
            ids[np.convolve(codes == AMBIGUOUS, np.ones(self.k, np.int32), mode="valid") > 0] = UNK
        return ids

    def agree(
        self, before: Integer[np.ndarray, "*shape"], after: Integer[np.ndarray, "*shape"]
    ) -> Bool[np.ndarray, "*shape"]:
        """Returns whether k-mers that follow one another spell the same bases where they overlap."""
        before, after = (ids.astype(np.int64) - NUM_SPECIAL for ids in (before, after))
        return after // 4 == before % 4 ** (self.k - 1)

    def _join(self, kmers: list[str], name: str) -> str:
        """Returns the DNA that overlapping k-mers spell."""
        for index, kmer in enumerate(kmers):
            if len(kmer) != self.k:
                raise InputError(
                    f"{name}: k-mer {index + 1} is {kmer!r}, of {len(kmer)} letters where k = {self.k} are needed."
                )
            if index and kmer[:-1] != kmers[index - 1][1:]:
                raise InputError(
                    f"{name}: k-mer {index + 1} ({kmer!r}) does not overlap the one before it ({kmers[index - 1]!r}) "
                    f"by {self.k - 1} bases."
                )
        return kmers[0] + "".join(kmer[-1] for kmer in kmers[1:])


def split_kmers(sequence: str, k: int) -> str:
    """Returns space-separated overlapping k-mers in upper case: the input of the published DNABERT tokenizers."""
    return " ".join(re.findall(f"(?=(.{{{KmerTokenizer(k).k}}}))", sequence.upper()))
