"""Ids computed by numpy equal those of a slow, obvious implementation; decoding is the inverse of encoding."""

import random

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.kmers import AMBIGUOUS, base_codes, decode, encode, join_kmers, kmer_ids, split_kmers
from dnabert_jax.sequence.vocabulary import UNK, vocabulary_tokens

KS = [1, 2, 3, 4, 5, 6, 7]


def obvious_ids(sequence: str, k: int) -> list[int]:
    """Looks each k-mer up in the vocabulary, as a tokenizer does."""
    number = {token: index for index, token in enumerate(vocabulary_tokens(k))}
    sequence = sequence.upper()
    return [number.get(sequence[i : i + k], UNK) for i in range(len(sequence) - k + 1)]


def random_dna(length: int, letters: str = "ACGT", seed: int = 0) -> str:
    return "".join(random.Random(seed).choices(letters, k=length))  # noqa: S311


@pytest.fixture(scope="module")
def real_dna() -> str:
    letters = next(iter(read_blocks(TRAIN_FASTA))).letters
    return letters[:3000].tobytes().decode()


@pytest.mark.parametrize("k", KS)
def test_ids_equal_the_obvious_ones_on_random_and_real_sequence(k: int, real_dna: str) -> None:
    for sequence in (random_dna(2000), random_dna(2000, "ACGTacgtNRYn"), real_dna):
        assert encode(sequence, k).tolist() == obvious_ids(sequence, k)


@pytest.mark.parametrize("k", KS)
def test_kmer_ids_of_a_clean_sequence_are_those_of_encode(k: int) -> None:
    sequence = random_dna(500)
    assert kmer_ids(base_codes(sequence.encode()), k).tolist() == encode(sequence, k).tolist()


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("length", [7, 8, 100])
def test_decode_inverts_encode(k: int, length: int) -> None:
    for seed in range(20):
        sequence = random_dna(length, seed=seed)
        assert decode(encode(sequence, k), k) == sequence


@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_raw_dna_and_its_kmers_give_the_same_ids(k: int) -> None:
    for length in (k, k + 1, 50):
        sequence = random_dna(length)
        kmers = split_kmers(sequence, k)
        assert join_kmers(kmers, k) == sequence
        assert encode(kmers, k).tolist() == encode(sequence, k).tolist()
        assert len(kmers.split()) == length - k + 1


def test_ambiguity_letters_are_recognised_in_both_cases() -> None:
    assert base_codes(b"NRYSWKMBDHVnryswkmbdhv").tolist() == [AMBIGUOUS] * 22
    assert base_codes(b"ATCGatcg").tolist() == [0, 1, 2, 3] * 2


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("ACGTXACGT", "'X' at position 5"),
        ("ACGUACGT", "RNA"),
        ("AC-GTACGT", "'-' at position 3"),
        ("ACé", "position 3"),
        ("AC", "at least k = 3"),
        ("", "at least k = 3"),
        ("ACG CGT GTAA", "k-mer 3 is 'GTAA'"),
        ("ACG TTT", "does not overlap"),
    ],
)
def test_bad_sequences_are_refused_with_a_reason(sequence: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(sequence, 3)


@pytest.mark.parametrize(("ids", "message"), [([5, 2], "CLS"), ([69], "vocabulary size"), ([5, 68], "do not overlap")])
def test_ids_that_spell_no_sequence_are_refused(ids: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(np.array(ids, np.uint16), 3)
