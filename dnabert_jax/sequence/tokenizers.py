"""The tokenizers by name, as configurations and manifests name them."""

from collections.abc import Callable

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.six_mers import SixMerTokenizer
from dnabert_jax.sequence.tokenizer import Tokenizer

TOKENIZERS: dict[str, Callable[[int], Tokenizer]] = {
    "kmers": KmerTokenizer,
    "6-mers": lambda _: SixMerTokenizer(),
}
"""Each is made with k, the bases of a token, of which some make no use."""


def make_tokenizer(tokens: str, k: int) -> Tokenizer:
    """Returns the tokenizer of a name; raises InputError if there is none, or its k is impossible."""
    if tokens not in TOKENIZERS:
        raise InputError(f"tokens is {tokens!r}: it must be {' or '.join(TOKENIZERS)}.")
    return TOKENIZERS[tokens](k)
