"""Many DNA sequences in memory, a byte a base, from text: raw DNA, or the k-mers of the original.

Letters: n rows, b bases of all rows.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Bool, Int64, Integer, UInt8

from dnabert_jax.config import require
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes
from dnabert_jax.sequence.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences side by side in one array; a selection of them shares it.

    Attributes:
        starts: of each sequence in codes.
    """

    codes: UInt8[np.ndarray, " b"]
    starts: Int64[np.ndarray, " n"]
    lengths: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int | np.integer) -> UInt8[np.ndarray, " length"]:
        return self.codes[self.starts[row] : self.starts[row] + self.lengths[row]]

    def select(self, rows: Integer[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Sequences":
        """Returns some of the sequences, by numbers or by a mask."""
        return Sequences(self.codes, self.starts[rows], self.lengths[rows])

    def ambiguous(self) -> Bool[np.ndarray, " n"]:
        """Returns which sequences hold a letter such as N, where their k-mers become [UNK]."""
        places = np.flatnonzero(self.codes == AMBIGUOUS)
        return np.searchsorted(places, self.starts + self.lengths) > np.searchsorted(places, self.starts)

    @staticmethod
    def of(parts: Iterable[tuple[UInt8[np.ndarray, " _"], Int64[np.ndarray, " _"]]]) -> "Sequences":
        """Puts the (codes, lengths) of consecutive rows together."""
        codes, lengths = zip((np.zeros(0, np.uint8), np.zeros(0, np.int64)), *parts, strict=True)
        codes, lengths = np.concatenate(codes), np.concatenate(lengths)
        return Sequences(codes, np.cumsum(lengths) - lengths, lengths)


class SequenceParser:
    """Parses the sequence column of one file, batch by batch.

    A file holds raw DNA or k-mers, not both: which, is seen from the first row that tells.
    """

    def __init__(self, source: str, tokenizer: Tokenizer):
        self._source, self._tokenizer = source, tokenizer
        self._k = tokenizer.overlap
        self._kmers: bool | None = None
        self.rows = 0

    def parse(self, texts: pa.Array, short: bool = False) -> tuple[UInt8[np.ndarray, " b"], Int64[np.ndarray, " n"]]:
        """Returns the codes of the next rows of the file, one after the other, and their lengths."""
        texts = pa.compute.utf8_trim_whitespace(pa.compute.fill_null(texts, ""))
        self._refuse(pa.compute.equal(texts, ""), texts, "has no sequence")
        self._refuse(pa.compute.invert(pa.compute.string_is_ascii(texts)), texts, "is no IUPAC DNA")
        self._check_form(texts)
        try:
            letters, lengths = self._joined(texts) if self._kmers else _buffer(texts)
            codes = base_codes(letters)
        except InputError:
            for row, text in enumerate(texts.to_pylist()):
                self._tokenizer.parse(text, self._row(row))  # says what is wrong, and in which row
            raise
        if not short and len(lengths):
            row = int(np.argmax(lengths < self._tokenizer.shortest))
            self._tokenizer.check_length(int(lengths[row]), self._row(row))
        self.rows += len(lengths)
        return codes, lengths

    def _row(self, row: int) -> str:
        return f"Row {self.rows + row + 1:,} of {self._source}"

    def _refuse(self, wrong: pa.Array, texts: pa.Array, what: str) -> None:
        if (row := pa.compute.index(wrong, True).as_py()) >= 0:
            text = texts[row].as_py()[:60]
            raise InputError(f"{self._row(row)} {what}" + (f": {text!r}." if text else "."))

    def _check_form(self, texts: pa.Array) -> None:
        """Finds whether the file holds k-mers, and raises InputError at a row that differs; one k-mer may be either."""
        spaced = pa.compute.match_substring_regex(texts, r"\s").to_numpy(zero_copy_only=False)
        either = ~spaced & (pa.compute.utf8_length(texts).to_numpy(zero_copy_only=False) == self._k)
        clear = np.flatnonzero(~either)
        if len(clear) and self._kmers is None:
            self._kmers = bool(spaced[clear[0]])
        wrong = clear[spaced[clear] != self._kmers]
        if len(wrong):
            forms = ("raw DNA", "k-mers") if self._kmers else ("k-mers", "raw DNA")
            raise InputError(
                f"{self._row(int(wrong[0]))} holds {forms[0]} where the rows before it hold {forms[1]}: "
                "write all rows in one way."
            )

    def _joined(self, texts: pa.Array) -> tuple[UInt8[np.ndarray, " b"], Int64[np.ndarray, " n"]]:
        """Returns the letters that k-mers spell, as `KmerTokenizer.parse` does, but of all rows at once."""
        k, words = self._k, pa.compute.ascii_split_whitespace(texts)
        letters, lengths = _buffer(words.flatten())
        require(bool((lengths == k).all()), f"A word is not of {k} letters.")
        kmers, counts = letters.reshape(-1, k), words.value_lengths().to_numpy().astype(np.int64)
        read = np.zeros(kmers.shape, bool)
        read[:, k - 1] = True
        read[np.cumsum(counts) - counts] = True
        # Column by column, as numpy is slow along so short an axis.
        overlap = np.all([kmers[1:, column] == kmers[:-1, column + 1] for column in range(k - 1)], axis=0)
        require(bool((overlap | read[1:].all(axis=1)).all()), "K-mers do not overlap.")
        return kmers[read], counts + k - 1


def _buffer(texts: pa.Array) -> tuple[UInt8[np.ndarray, " c"], Int64[np.ndarray, " n"]]:
    """Returns the UTF-8 bytes of strings, one after the other, and the length of each."""
    _, offsets, data = texts.buffers()
    if not len(texts):
        return np.zeros(0, np.uint8), np.zeros(0, np.int64)
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    letters = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    return letters[ends[0] : ends[-1]], np.diff(ends)
