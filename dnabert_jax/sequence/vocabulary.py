"""The DNABERT vocabulary: five special tokens, then every k-mer in the order of product("ATCG", repeat=k).

The order is A, T, C, G, not A, C, G, T: it is that of the published vocab.txt files of DNABERT-3 .. DNABERT-6,
so an id here and an id there mean the same token. An id is therefore arithmetic: 5 + the k-mer read as a
base-4 number with the digits A=0, T=1, C=2, G=3.
"""

import itertools

from dnabert_jax.errors import InputError

BASES = "ATCG"
COLUMNS = "ACGT"
"""The bases in the order of the columns of matrices and effects, which is MEME's."""
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL_TOKENS))
FIRST_KMER = len(SPECIAL_TOKENS)

MAX_K = 7
"""Ids are stored in two bytes: 4**7 + 5 = 16,389 fits, 4**8 + 5 = 65,541 does not."""


def check_k(k: int) -> None:
    """Raises InputError unless 1 <= k <= 7."""
    if not 1 <= k <= MAX_K:
        raise InputError(f"k is {k}: it must lie between 1 and {MAX_K} (DNABERT was published for 3, 4, 5 and 6).")


def vocabulary_size(k: int) -> int:
    """Number of ids for k: the special tokens and 4**k k-mers (69, 261, 1029, 4101 for k = 3, 4, 5, 6)."""
    check_k(k)
    return FIRST_KMER + 4**k


def vocabulary_tokens(k: int) -> list[str]:
    """Every token in id order: the lines of vocab.txt."""
    check_k(k)
    return [*SPECIAL_TOKENS, *("".join(bases) for bases in itertools.product(BASES, repeat=k))]
