"""Tokens are spans of bases: for k-mers, for words of several bases side by side, and for whatever is built alike."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnabert_jax.errors import InputError
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes, decode_bases, reverse_complement
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.sequence.six_mers import SixMerTokenizer
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL, SPECIAL_TOKENS, UNK

KMERS = [KmerTokenizer(k) for k in range(1, 8)]
CLEAN = st.text("ACGT", min_size=7, max_size=60)
IUPAC = st.text("ACGTacgtNRYn", min_size=7, max_size=60)


@dataclasses.dataclass(frozen=True)
class Words(Tokenizer):
    """Words of three bases side by side, and single bases where no whole word is left."""

    overlap = shortest = 1
    stride = 3
    unit = "words"

    @functools.cached_property
    def tokens(self) -> list[str]:
        words = (map("".join, itertools.product("ACGT", repeat=width)) for width in (1, 3))
        return [*SPECIAL_TOKENS, *itertools.chain(*words)]

    @functools.cached_property
    def advance(self) -> np.ndarray:
        return np.array([1 if token in SPECIAL_TOKENS else len(token) for token in self.tokens], np.uint8)

    def encode(self, codes: np.ndarray) -> np.ndarray:
        text, numbers = decode_bases(codes), {token: number for number, token in enumerate(self.tokens)}
        ids = []
        while text:
            width = 3 if text[:3] in numbers else 1
            ids.append(numbers.get(text[:width], UNK))
            text = text[width:]
        return np.array(ids, np.uint16)

    def count(self, bases: int) -> int:
        return bases

    def capacity(self, tokens: int) -> int:
        return tokens

    def encode_windows(self, codes: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        windows = zip(starts, starts + self.stretch(counts), strict=True)
        return np.concatenate([self.encode(codes[first:end]) for first, end in windows])


TOKENIZERS = st.sampled_from([*KMERS, SixMerTokenizer(), Words()])


@given(st.sampled_from(KMERS), IUPAC)
def test_ids_of_kmers_are_those_of_a_look_up_in_the_vocabulary(tokenizer: KmerTokenizer, text: str) -> None:
    k, number = tokenizer.k, {token: index for index, token in enumerate(tokenizer.tokens)}
    expected = [number.get(text.upper()[place : place + k], UNK) for place in range(len(text) - k + 1)]
    assert tokenizer.encode_text(text).tolist() == expected


def test_ids_of_real_sequence_spell_it() -> None:
    letters = next(iter(read_blocks(TRAIN_FASTA))).letters[:3000].tobytes().decode()
    tokenizer = KmerTokenizer(6)
    assert tokenizer.decode(tokenizer.encode_text(letters)) == letters.upper()


@given(st.integers(3, 6), CLEAN)
def test_text_may_be_kmers(k: int, text: str) -> None:
    tokenizer, kmers = KmerTokenizer(k), split_kmers(text, k)
    assert decode_bases(tokenizer.parse(kmers)) == text
    assert len(kmers.split()) == tokenizer.count(len(text))


@given(TOKENIZERS, CLEAN)
def test_decoding_is_the_inverse_of_encoding(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode_text(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) <= tokenizer.count(len(text))
    assert tokenizer.capacity(tokenizer.count(len(text))) >= len(text)
    spans = zip(tokenizer.starts(ids).tolist(), tokenizer.width[ids].tolist(), strict=True)
    assert [text[start : start + width] for start, width in spans] == [tokenizer.tokens[number] for number in ids]


@given(TOKENIZERS, IUPAC, st.data())
def test_values_of_tokens_become_values_of_the_bases_that_they_cover(
    tokenizer: Tokenizer, text: str, data: st.DataObject
) -> None:
    ids = tokenizer.encode_text(text)
    values = np.arange(1, 2 * len(ids) + 1, dtype=np.float32).reshape(-1, 2)
    covers = np.zeros((len(ids), len(text)), bool)
    for row, start, width in zip(covers, tokenizer.starts(ids), tokenizer.width[ids], strict=True):
        row[start : start + width] = True
    assert covers.any(axis=0).all()
    assert covers.sum(axis=0).max() <= tokenizer.overlap
    means = [values[column].mean(axis=0) for column in covers.T]
    np.testing.assert_allclose(tokenizer.mean_over_bases(values, ids), means, rtol=1e-5)
    shares = tokenizer.share_among_bases(values[:, 0], ids)
    np.testing.assert_allclose(shares, (values[:, 0] / covers.sum(axis=1)) @ covers, rtol=1e-5)
    first = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(first + 1, len(text)))
    np.testing.assert_array_equal(tokenizer.covering(ids, first, end), covers[:, first:end].any(axis=1))


@given(st.sampled_from([*KMERS, SixMerTokenizer()]), st.lists(IUPAC, min_size=1, max_size=4))
def test_other_strands_of_ids_are_those_of_the_bases(tokenizer: Tokenizer, texts: list[str]) -> None:
    rows, turned = (
        [tokenizer.framed(tokenizer.encode(strand)) for strand in strands]
        for strands in zip(*((codes, reverse_complement(codes)) for codes in map(tokenizer.parse, texts)), strict=True)
    )
    offsets = np.cumsum([0, *map(len, rows)])
    np.testing.assert_array_equal(tokenizer.other_strand(np.concatenate(rows), offsets), np.concatenate(turned))
    longest = max(map(len, rows)) + 2
    padded, expected = (np.stack([np.pad(row, (0, longest - len(row))) for row in each]) for each in (rows, turned))
    np.testing.assert_array_equal(tokenizer.both_strands(padded)[::2], padded)
    np.testing.assert_array_equal(tokenizer.both_strands(padded)[1::2], expected)


@given(st.sampled_from([*KMERS, SixMerTokenizer()]), CLEAN, st.data())
def test_windows_are_encoded_as_sequences_of_their_own(tokenizer: Tokenizer, text: str, data: st.DataObject) -> None:
    codes, windows, expected = tokenizer.parse(text), [], []
    for _ in range(data.draw(st.integers(1, 3))):
        count = data.draw(st.integers(1, max((len(text) - tokenizer.overlap + 1) // tokenizer.stride, 1)))
        start = data.draw(st.integers(0, max(len(text) - tokenizer.stretch(count), 0)))
        windows.append((start, count))
        expected += tokenizer.encode(codes[start : start + tokenizer.stretch(count)]).tolist()
    assert tokenizer.encode_windows(codes, *np.array(windows).T).tolist() == expected


def test_words_of_six_bases_are_read_from_the_left_and_single_bases_where_they_do_not_fit() -> None:
    tokenizer = SixMerTokenizer()
    ids = tokenizer.encode_text("ACGTGTACNTGCAcGGANrGACTAGTCTGA")
    spelled = ["ACGTGT", "A", "C", "N", "TGCACG", "G", "A", "N", "N", "GACTAG", "T", "C", "T", "G", "A"]
    assert [tokenizer.tokens[number] for number in ids] == spelled
    for tokens in range(1, 30):
        lengths = range(1, tokenizer.capacity(tokens) + 1)
        assert all(len(tokenizer.encode(np.zeros(bases, np.uint8))) <= tokens for bases in lengths)
        assert len(tokenizer.encode(np.zeros(lengths[-1] + 1, np.uint8))) > tokens


def test_every_letter_has_its_code_in_both_cases() -> None:
    assert base_codes(b"NRYSWKMBDHVnryswkmbdhv").tolist() == [AMBIGUOUS] * 22
    assert base_codes(b"ATCGatcg").tolist() == [0, 1, 2, 3] * 2


@pytest.mark.parametrize(("k", "size"), [(3, 69), (4, 261), (5, 1029), (6, 4101)])
def test_the_vocabulary_is_the_published_one(k: int, size: int) -> None:
    tokens = KmerTokenizer(k).tokens
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokens[5:] == ["".join(letters) for letters in itertools.product("ATCG", repeat=k)]
    assert len(tokens) == size == KmerTokenizer(k).vocabulary_size == NUM_SPECIAL + 4**k
    assert [tokens[5 + place] for place in range(4)] == ["A" * (k - 1) + base for base in "ATCG"]


@pytest.mark.parametrize("k", [0, -1, 8])
def test_impossible_k_is_refused(k: int) -> None:
    with pytest.raises(InputError, match=str(k)):
        KmerTokenizer(k).encode_text("ACGTACGTACGT")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ACGTXACGT", "'X' at position 5"), ("ACGUACGT", "'U' at position 4"), ("AC-GTACGT", "'-' at position 3"),
        ("ACé", "position 3"), ("AC", "3"), ("", "3"), ("ACG CGT GTAA", "'GTAA'"), ("ACG TTT", "'TTT'"),
    ],
)  # fmt: skip
def test_bad_sequences_are_refused_with_the_place(text: str, place: str) -> None:
    with pytest.raises(InputError, match=place):
        KmerTokenizer(3).encode_text(text)


@pytest.mark.parametrize(("ids", "place"), [([5, 2], "Id 2 at position 2"), ([69], "Id 69"), ([5, 68], "1 and 2")])
def test_ids_that_spell_no_sequence_are_refused(ids: list[int], place: str) -> None:
    with pytest.raises(InputError, match=place):
        KmerTokenizer(3).decode(np.array(ids, np.uint16))
