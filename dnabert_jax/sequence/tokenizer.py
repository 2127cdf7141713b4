"""Defines a token for everything but its tokenizer: an id that spells a span of consecutive bases.

n bases, m tokens, V ids.
"""

import abc
import functools
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int64, Integer, UInt8, UInt16

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes, decode_bases
from dnabert_jax.sequence.vocabulary import CLS, MASK, NUM_SPECIAL, PAD, SEP, SPECIAL_TOKENS, UNK

_COMPLEMENTARY = str.maketrans("ACGT", "TGCA")


class Tokenizer(abc.ABC):
    """Turns the bases of a sequence into ids and ids into bases.

    Tokenizers are frozen dataclasses: equal ones are interchangeable, also as static arguments of compiled functions.
    Ids of a sequence are without [CLS] and what stands behind it in a row.

    Attributes:
        suffix: The special tokens behind those of a sequence; before them stands [CLS].
        ambiguous: What sentences to users say of letters such as N.
        more_special: The number of special tokens that a publisher has besides; the last ids, which no sequence has.
    """

    suffix: ClassVar[tuple[int, ...]] = (SEP,)
    more_special: ClassVar[int] = 0
    ambiguous: ClassVar[str] = "whose tokens are [UNK]"

    @property
    @abc.abstractmethod
    def overlap(self) -> int:
        """The number of tokens that cover a base in the middle of a sequence."""

    @property
    @abc.abstractmethod
    def shortest(self) -> int:
        """The fewest bases that a sequence may have."""

    @property
    @abc.abstractmethod
    def unit(self) -> str:
        """Returns the word for several tokens in sentences to users, such as `6-mers`."""

    @property
    @abc.abstractmethod
    def tokens(self) -> list[str]:
        """The text of every token in the order of ids."""

    @property
    @abc.abstractmethod
    def advance(self) -> UInt8[np.ndarray, " V"]:
        """The number of bases from the start of each token to the start of the next."""

    @abc.abstractmethod
    def encode(self, codes: UInt8[np.ndarray, " n"]) -> UInt16[np.ndarray, " m"]:
        """Returns the ids of the tokens of a sequence, none if it is too short.

        A token that would hold an ambiguous base is [UNK].
        """

    @abc.abstractmethod
    def count(self, bases: int) -> int:
        """Returns the most tokens that a sequence of so many bases can have."""

    @abc.abstractmethod
    def capacity(self, tokens: int) -> int:
        """Returns the bases of the longest sequences of A, C, G and T that are sure to fit into so many tokens."""

    @property
    @abc.abstractmethod
    def stride(self) -> int:
        """The number of bases from the start of a token to the next, but at the end of a sequence and beside N."""

    def stretch(self, tokens: Any) -> Any:
        """Returns the bases of so many tokens of a sequence, `stride` after one another: a number, or an array."""
        return tokens * self.stride + self.overlap - 1

    @abc.abstractmethod
    def encode_windows(
        self, codes: UInt8[np.ndarray, " n"], starts: Integer[np.ndarray, " w"], counts: Integer[np.ndarray, " w"]
    ) -> UInt16[np.ndarray, " m"]:
        """Returns the ids of windows that hold no ambiguous base, end to end.

        Args:
            codes: of the bases that the windows are cut from.
            starts: the first base of each.
            counts: the tokens of each, which has `stretch` of so many bases.
        """

    @property
    def specials(self) -> int:
        """The number of special tokens of a sequence in a row."""
        return 1 + len(self.suffix)

    def framed(self, ids: Integer[np.ndarray, " m"]) -> Integer[np.ndarray, " tokens"]:
        """Returns the ids of a sequence with its special tokens."""
        return np.concatenate([[CLS], ids, self.suffix]).astype(ids.dtype)

    def content(self, tokens: int) -> slice:
        """Returns where, among so many tokens of a framed sequence, those stand that spell bases."""
        return slice(1, tokens - len(self.suffix))

    @functools.cached_property
    def _complements(self) -> UInt16[np.ndarray, " V"]:
        """The id of each token's reverse complement; [CLS] and [SEP] change places."""
        numbers = {text: number for number, text in enumerate(self.tokens)}
        content = self.tokens[NUM_SPECIAL:]
        complements = [numbers[text.translate(_COMPLEMENTARY)[::-1]] for text in content]
        return np.array([PAD, UNK, SEP, CLS, MASK, *complements], np.uint16)

    def other_strand(
        self, ids: Integer[np.ndarray, " tokens"], offsets: Int64[np.ndarray, " ends"]
    ) -> Integer[np.ndarray, " tokens"]:
        """Returns the reverse complements of sequences that lie end to end, each with its [CLS] and [SEP].

        Where the tokens of a sequence read backwards are not those of its other strand, a tokenizer has to override it.

        Args:
            ids: of all sequences.
            offsets: where each begins, and where the last ends.
        """
        mirror = np.repeat(offsets[:-1] + offsets[1:] - 1, np.diff(offsets)) - np.arange(len(ids))
        return self._complements.astype(ids.dtype)[ids[mirror]]

    def both_strands(self, rows: Integer[np.ndarray, "B L"]) -> Integer[np.ndarray, "rows L"]:
        """Returns each row, `[CLS] tokens [SEP] [PAD]`, and after it its reverse complement, padded in the same way."""
        filled = rows != PAD
        offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
        other = rows.copy()
        other[filled] = self.other_strand(rows[filled], offsets)
        return np.stack([rows, other], axis=1).reshape(-1, rows.shape[1])

    def agree(
        self, before: Integer[np.ndarray, "*shape"], after: Integer[np.ndarray, "*shape"]
    ) -> Bool[np.ndarray, "*shape"]:
        """Returns whether tokens that follow one another spell the same bases where they overlap, if they do."""
        return np.ones(before.shape, bool)

    def parse(self, text: str, name: str = "the sequence") -> UInt8[np.ndarray, " n"]:
        """Returns the codes of a sequence as users write it; raises InputError if it is not DNA."""
        return base_codes(text.strip().encode("ascii", "replace"), name)

    def encode_text(self, text: str, name: str = "the sequence") -> UInt16[np.ndarray, " m"]:
        """Returns the ids of a text; raises InputError as `parse` and `check_length` do."""
        codes = self.parse(text, name)
        self.check_length(len(codes), name)
        return self.encode(codes)

    def check_length(self, bases: int, name: str) -> None:
        """Raises InputError if a sequence of so many bases is too short for one token."""
        if bases < self.shortest:
            raise InputError(f"{name} has {bases} bases: at least {self.shortest} are needed.")

    @functools.cached_property
    def vocabulary_size(self) -> int:
        """The number of ids."""
        return len(self.tokens)

    @property
    def content_end(self) -> int:
        """The id behind the last one that spells bases."""
        return self.vocabulary_size - self.more_special

    @functools.cached_property
    def spelling(self) -> UInt8[np.ndarray, "V width"]:
        """The codes of the bases of each token, with AMBIGUOUS behind the last one; special tokens have none."""
        content = self.tokens[NUM_SPECIAL : self.content_end]
        longest = max(map(len, content))
        letters = [*[""] * NUM_SPECIAL, *content, *[""] * self.more_special]
        return base_codes("".join(token.ljust(longest, "N") for token in letters).encode()).reshape(-1, longest)

    @functools.cached_property
    def width(self) -> UInt8[np.ndarray, " V"]:
        """The number of bases that each token spells; that of a special token is as far as `advance` goes."""
        spelled = (self.spelling != AMBIGUOUS).sum(axis=1).astype(np.uint8)
        return np.maximum(spelled, self.advance)

    def starts(self, ids: Integer[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
        """Returns the first base of each token of a sequence, from 0; the ids are never masked ones."""
        advance = self.advance[ids].astype(np.int64)
        return np.cumsum(advance) - advance

    def decode(self, ids: Integer[np.ndarray, " m"]) -> str:
        """Returns the DNA that the tokens of a sequence spell: the inverse of `encode` for unambiguous DNA.

        Raises:
            InputError: an id is not a token that spells bases, or tokens that overlap spell different bases.
        """
        if (outside := (ids < NUM_SPECIAL) | (ids >= self.vocabulary_size)).any():
            position = int(np.argmax(outside))
            wrong = int(ids[position])
            name = SPECIAL_TOKENS[wrong] if wrong < NUM_SPECIAL else f"not below {self.vocabulary_size}"
            raise InputError(f"Id {wrong} at position {position + 1:,} is {name}: it does not spell bases.")
        starts, widths, spelling = self.starts(ids), self.width[ids], self.spelling[ids]
        codes = np.full((starts + widths).max(initial=0), AMBIGUOUS, np.uint8)
        clash = np.zeros(len(ids), bool)
        # From the last base of tokens to the first, so that a base has been spelled by a token before it.
        for offset in reversed(range(spelling.shape[1])):
            (there,) = np.nonzero(widths > offset)
            bases = starts[there] + offset
            clash[there] |= (codes[bases] != AMBIGUOUS) & (codes[bases] != spelling[there, offset])
            codes[bases] = spelling[there, offset]
        if clash.any():
            position = int(np.argmax(clash))
            raise InputError(f"Ids at positions {position:,} and {position + 1:,} spell different bases.")
        return decode_bases(codes)

    def covering(self, ids: Integer[np.ndarray, " m"], first: int, end: int) -> Bool[np.ndarray, " m"]:
        """Returns which tokens of a sequence cover some base from `first` to before `end`."""
        starts = self.starts(ids)
        return (starts < end) & (starts + self.width[ids] > first)

    def mean_over_bases(
        self, values: Float[np.ndarray, "m ..."], ids: Integer[np.ndarray, " m"]
    ) -> Float[np.ndarray, "n ..."]:
        """Returns for each base of a sequence the mean of the values of the tokens that cover it.

        DNABERT makes scores of bases out of those of k-mers so (get_real_score in examples/visualize.py of
        github.com/jerryji1993/DNABERT).
        """
        counts = self._sum_over_bases(np.ones(len(ids), values.dtype), ids)
        # A product, as XLA divides, which once computed these means: so they stay the same to the bit.
        return self._sum_over_bases(values, ids) * np.reciprocal(counts).reshape(-1, *[1] * (values.ndim - 1))

    def share_among_bases(
        self, values: Float[np.ndarray, " m"], ids: Integer[np.ndarray, " m"]
    ) -> Float[np.ndarray, " n"]:
        """Returns the value of each token in equal parts on its bases, so that sums over bases and tokens agree."""
        widths, ones = self.width[ids].astype(values.dtype), np.ones(len(ids), values.dtype)
        width = self._sum_over_bases(widths, ids) / self._sum_over_bases(ones, ids)
        return self._sum_over_bases(values, ids) * np.reciprocal(width)

    def _sum_over_bases(
        self, values: Float[np.ndarray, "m ..."], ids: Integer[np.ndarray, " m"]
    ) -> Float[np.ndarray, "n ..."]:
        starts, widths = self.starts(ids), self.width[ids]
        sums = np.zeros(((starts + widths).max(initial=0), *values.shape[1:]), values.dtype)
        for offset in range(widths.max(initial=0)):
            there = widths > offset
            sums[starts[there] + offset] += values[there]
        return sums


def window_positions(
    starts: Integer[np.ndarray, " w"], counts: Integer[np.ndarray, " w"], stride: int = 1
) -> Int64[np.ndarray, " m"]:
    """Returns the positions start, start + stride, ... of windows with so many of them, end to end."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - stride * before, counts) + stride * np.arange(counts.sum())
