"""A sequence longer than the network takes, cut into pieces that each stand for themselves.

After DNATokenizer.build_inputs_with_special_tokens in src/transformers/tokenization_dna.py of
github.com/jerryji1993/DNABERT: each k-mer is in one piece, and pieces do not overlap.
"""

import numpy as np
from jaxtyping import Integer

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP


def cut_into_pieces(kmers: Integer[np.ndarray, " n"], split: int, length: int) -> Integer[np.ndarray, "split length"]:
    """Pieces of [CLS] kmers [SEP] [PAD], the rest of them [PAD] alone.

    Where the k-mers just fill a piece and there is room for another, that one is [CLS] [SEP]: weights of the original
    know it so.

    Raises:
        InputError: more k-mers than the pieces hold; the original leaves out what is too much and does not say so.
    """
    room = length - 2
    if len(kmers) > split * room:
        raise InputError(
            f"A sequence has {len(kmers)} k-mers, more than the {split * room} of {split} x {length} tokens."
        )
    pieces = np.full((split, length), PAD, kmers.dtype)
    for number in range(min(len(kmers) // room + 1, split)):
        part = kmers[number * room : (number + 1) * room]
        pieces[number, : len(part) + 2] = [CLS, *part, SEP]
    return pieces
