"""The ids of special tokens, which are the same inside every model; tokens that spell bases have the ids behind them.

They are those of DNABERT's published vocabularies. Other publishers' ids are permuted where weights come in and go out.
"""

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL_TOKENS))

NUM_SPECIAL = len(SPECIAL_TOKENS)
"""The number of special tokens, so the first id of a token that spells bases."""
