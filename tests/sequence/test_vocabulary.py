"""The vocabulary is DNABERT's, id for id."""

import itertools

import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import SPECIAL_TOKENS, vocabulary_size, vocabulary_tokens


@pytest.mark.parametrize(("k", "size"), [(3, 69), (4, 261), (5, 1029), (6, 4101)])
def test_tokens_are_the_special_ones_then_kmers_in_the_published_order(k: int, size: int) -> None:
    tokens = vocabulary_tokens(k)
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] == list(SPECIAL_TOKENS)
    assert tokens[5:] == ["".join(letters) for letters in itertools.product("ATCG", repeat=k)]
    assert len(tokens) == size == vocabulary_size(k)


def test_published_spot_values() -> None:
    tokens = vocabulary_tokens(6)
    for kmer, number in (("AAAAAA", 5), ("AAAAAT", 6), ("AAAAAC", 7), ("AAAAAG", 8), ("GGGGGG", 4100)):
        assert tokens[number] == kmer


@pytest.mark.parametrize("k", [0, -1, 8])
def test_impossible_k_is_refused(k: int) -> None:
    with pytest.raises(InputError, match=f"k is {k}"):
        vocabulary_size(k)
