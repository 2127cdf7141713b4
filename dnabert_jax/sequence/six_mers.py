"""Tokens of six bases that do not overlap, as Nucleotide Transformer reads DNA (Dalla-Torre et al. 2025).

A sequence is read from its first base on, six bases per token; what is left at its end, and before each N, are single
bases, and each N is a token of its own. So an inserted base moves every token behind it.
Content tokens are in the order of the published vocabularies: product("ATCG", repeat=6), then A, T, C, G and N.
"""

import dataclasses
import functools
import itertools
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8, UInt16

from dnabert_jax.sequence.bases import AMBIGUOUS, BASES, reverse_complement
from dnabert_jax.sequence.tokenizer import Tokenizer, window_positions
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL, SPECIAL_TOKENS

_BASES_PER_TOKEN = 6
_SINGLE = NUM_SPECIAL + 4**_BASES_PER_TOKEN
"""The id of a single A; those of T, C, G and N follow in the order of the codes of bases."""


@dataclasses.dataclass(frozen=True)
class SixMerTokenizer(Tokenizer):
    """6-mers from the left without overlap, and single bases where six do not fit, behind a [CLS] alone."""

    overlap: ClassVar[int] = 1
    shortest: ClassVar[int] = 1
    stride: ClassVar[int] = _BASES_PER_TOKEN
    unit: ClassVar[str] = "6-mers without overlap"
    suffix: ClassVar[tuple[int, ...]] = ()
    more_special: ClassVar[int] = 1
    ambiguous: ClassVar[str] = "each of which is read as a token N"

    @functools.cached_property
    def tokens(self) -> list[str]:
        six = map("".join, itertools.product(BASES, repeat=_BASES_PER_TOKEN))
        return [*SPECIAL_TOKENS, *six, *BASES, "N", "[BOS]"]

    @functools.cached_property
    def advance(self) -> UInt8[np.ndarray, " V"]:
        advance = np.ones(self.vocabulary_size, np.uint8)
        advance[NUM_SPECIAL:_SINGLE] = _BASES_PER_TOKEN
        return advance

    def count(self, bases: int) -> int:
        return bases  # as many N

    def capacity(self, tokens: int) -> int:
        # Each length up to it fits: five single bases may be left of a shorter one.
        left = min(tokens, _BASES_PER_TOKEN - 2)
        return _BASES_PER_TOKEN * (tokens - left) + left

    def encode(self, codes: UInt8[np.ndarray, " n"]) -> UInt16[np.ndarray, " m"]:
        edges = np.flatnonzero(np.diff(codes < AMBIGUOUS, prepend=False, append=False))
        if len(edges) == 2 and edges[0] == 0 and edges[1] == len(codes):
            return _encode_run(codes)
        # From one run of certain bases to the next, and what lies between them.
        parts = [_encode_run(codes[first:end]) if even else _singles(codes[first:end])
                 for even, first, end in _stretches(edges, len(codes))]  # fmt: skip
        return np.concatenate([np.zeros(0, np.uint16), *parts])

    def encode_windows(
        self, codes: UInt8[np.ndarray, " n"], starts: Integer[np.ndarray, " w"], counts: Integer[np.ndarray, " w"]
    ) -> UInt16[np.ndarray, " m"]:
        positions = window_positions(starts, counts, _BASES_PER_TOKEN)
        return _sixes([codes[positions + place] for place in range(_BASES_PER_TOKEN)])

    def other_strand(
        self, ids: Integer[np.ndarray, " tokens"], offsets: Int64[np.ndarray, " ends"]
    ) -> Integer[np.ndarray, " tokens"]:
        # The tokens of a stretch between N are as many on either strand, but begin at its other end.
        turned = [
            self.framed(self.encode(reverse_complement(self.codes(ids[first + 1 : end]))))
            for first, end in itertools.pairwise(offsets)
        ]
        return np.concatenate([ids[:0], *turned]).astype(ids.dtype)

    def codes(self, ids: Integer[np.ndarray, " m"]) -> UInt8[np.ndarray, " n"]:
        """Returns the codes of the bases that the tokens of a sequence spell."""
        spelling = self.spelling[ids]
        return spelling[np.arange(_BASES_PER_TOKEN) < self.width[ids][:, None]]

    def agree(
        self, before: Integer[np.ndarray, "*shape"], after: Integer[np.ndarray, "*shape"]
    ) -> Bool[np.ndarray, "*shape"]:
        """Returns whether no token of six bases follows a single one other than N."""
        return (before < _SINGLE) | (before == _SINGLE + AMBIGUOUS) | (after >= _SINGLE)


def _stretches(edges: Int64[np.ndarray, " e"], length: int) -> list[tuple[bool, int, int]]:
    """Returns the stretches between edges: whether each is of certain bases, its start and its end."""
    limits = enumerate(itertools.pairwise([0, *edges.tolist(), length]))
    return [(bool(number % 2), first, end) for number, (first, end) in limits if first < end]


def _singles(codes: UInt8[np.ndarray, " n"]) -> UInt16[np.ndarray, " n"]:
    return codes.astype(np.uint16) + np.uint16(_SINGLE)


def _encode_run(codes: UInt8[np.ndarray, " n"]) -> UInt16[np.ndarray, " m"]:
    whole = len(codes) - len(codes) % _BASES_PER_TOKEN
    sixes = _sixes([codes[place:whole:_BASES_PER_TOKEN] for place in range(_BASES_PER_TOKEN)])
    return np.concatenate([sixes, _singles(codes[whole:])]) if whole < len(codes) else sixes


def _sixes(bases: list[UInt8[np.ndarray, " m"]]) -> UInt16[np.ndarray, " m"]:
    """Returns the ids of tokens from the codes of their first bases, of their second ones, and so on."""
    ids = np.zeros(len(bases[0]), np.uint16)
    for codes in bases:
        ids <<= 2
        ids += codes
    return ids + np.uint16(NUM_SPECIAL)
