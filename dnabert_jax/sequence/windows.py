"""Windows over sequences that are longer than the network takes, and the pieces that the original cuts them into.

Windows begin `size - overlap` tokens after one another, and the last one ends with the sequence: it is shifted back
rather than cut short, so that the windows of a long sequence all have their full context. m sequences, T windows, L
tokens of a window.
"""

import dataclasses

import numpy as np
from jaxtyping import Int64, Integer

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP


@dataclasses.dataclass(frozen=True)
class Windows:
    """How sequences are cut. A sequence that is no longer than a window is one, whole.

    Attributes:
        size: tokens of a window.
        overlap: tokens that a window shares with the next; the last two may share more.
    """

    size: int
    overlap: int

    def count(self, kmers: Integer[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
        """Windows of sequences of so many tokens."""
        return 1 - np.minimum(self.size - kmers.astype(np.int64), 0) // (self.size - self.overlap)

    def kmers(self, windows: int) -> int:
        """The most that a sequence of so many windows has."""
        return self.size + (windows - 1) * (self.size - self.overlap)

    def cut(self, tokens: Integer[np.ndarray, " n"], suffix: tuple[int, ...]) -> Integer[np.ndarray, "T L"]:
        """Returns the windows of one sequence, as long as it needs them."""
        count, framed = np.array([len(tokens)]), np.concatenate([[CLS], tokens, suffix]).astype(tokens.dtype)
        windows, length = int(self.count(count)[0]), min(len(tokens), self.size) + 1 + len(suffix)
        return self.rows(framed, np.zeros(1, np.int64), count, windows, length, suffix)[0]

    def starts(self, kmers: Integer[np.ndarray, " m"], windows: int) -> Int64[np.ndarray, "m {windows}"]:
        """The first token of each window; what stands beyond a sequence's last window means nothing."""
        ordinary = np.arange(windows) * (self.size - self.overlap)
        return np.minimum(ordinary, np.maximum(kmers.astype(np.int64) - self.size, 0)[:, None])

    def rows(
        self,
        ids: Integer[np.ndarray, " tokens"],
        begins: Integer[np.ndarray, " m"],
        kmers: Integer[np.ndarray, " m"],
        windows: int,
        length: int,
        suffix: tuple[int, ...],
    ) -> Integer[np.ndarray, "m {windows} {length}"]:
        """[CLS], tokens, suffix and [PAD] of each window, and [PAD] alone for each that a sequence does not have.

        Args:
            ids: of all sequences end to end, each with its special tokens.
            begins: of each sequence, where its [CLS] is.
            windows: the most that any of them has, or more.
            length: tokens of the longest window of any of them, or more.
            suffix: the special tokens behind those of a window.
        """
        place = np.arange(length)
        first = begins[:, None, None] + self.starts(kmers, windows)[:, :, None]
        end = np.minimum(kmers, self.size)[:, None, None] + 1
        rows = ids[np.minimum(first + place, len(ids) - 1)]
        rows[:, :, 0] = CLS
        rows = np.where(place < end, rows, np.array(PAD, ids.dtype))
        for number, token in enumerate(suffix):
            rows[np.broadcast_to(place == end + number, rows.shape)] = token
        present = np.arange(windows) < self.count(kmers)[:, None]
        return np.where(present[:, :, None], rows, np.array(PAD, ids.dtype))


def cut_into_pieces(kmers: Integer[np.ndarray, " n"], split: int, length: int) -> Integer[np.ndarray, "split length"]:
    """Returns pieces of [CLS] kmers [SEP] [PAD] that do not overlap, the rest of them [PAD] alone.

    After DNATokenizer.build_inputs_with_special_tokens in src/transformers/tokenization_dna.py of
    github.com/jerryji1993/DNABERT.
    Where the tokens just fill a piece and there is room for another, that one is [CLS] [SEP]: weights of the original
    know it so.

    Raises:
        InputError: more tokens than the pieces hold; the original leaves out what is too much and does not say so.
    """
    room = length - 2
    if len(kmers) > split * room:
        raise InputError(
            f"A sequence has {len(kmers)} tokens, more than the {split * room} that fit into {split} rows of {length}."
        )
    pieces = np.full((split, length), PAD, kmers.dtype)
    for number in range(min(len(kmers) // room + 1, split)):
        part = kmers[number * room : (number + 1) * room]
        pieces[number, : len(part) + 2] = [CLS, *part, SEP]
    return pieces
