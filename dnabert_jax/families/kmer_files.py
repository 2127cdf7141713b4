"""The tokenizer files of a published or exported directory of a model of k-mers.

vocab.txt is the published DNABERT form, for space-separated k-mers. tokenizer.json takes raw DNA as well: the
`tokenizers` library has no step that gives overlapping pieces, but its rewriting rules can write a base several times.
"""

import json
from pathlib import Path
from typing import Any

from dnabert_jax.errors import InputError
from dnabert_jax.families.family import EXAMPLE
from dnabert_jax.io.text import numbered_lines
from dnabert_jax.sequence.kmers import MAX_K, KmerTokenizer, split_kmers
from dnabert_jax.sequence.vocabulary import CLS, SEP, SPECIAL_TOKENS
from dnabert_jax.typed_json import read_object

_AMBIGUOUS_EXAMPLE = "acgttgcaNgct"

_ROLES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True))


def write_tokenizer(directory: Path, k: int, max_positions: int) -> None:
    """Writes vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json."""
    (directory / "vocab.txt").write_text("\n".join(KmerTokenizer(k).tokens) + "\n", encoding="utf-8")
    settings = {
        **_ROLES,
        # With "BertTokenizer", transformers 5 would keep the vocabulary only and make raw DNA one [UNK].
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        # What follows is for BertTokenizer.from_pretrained, which reads vocab.txt.
        "do_lower_case": False,
        "do_basic_tokenize": True,
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "model_max_length": max_positions,
    }
    for name, content in (
        ("tokenizer_config.json", settings),
        ("special_tokens_map.json", _ROLES),
        ("tokenizer.json", _tokenizer_json(k)),
    ):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _tokenizer_json(k: int) -> dict[str, Any]:
    """For the `tokenizers` library: rules that spell the k-mers, then BERT's WordPiece, whose words are k-mers."""

    def special(token: str, type_id: int = 0) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    def sequence(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    cls, sep = SPECIAL_TOKENS[CLS], SPECIAL_TOKENS[SEP]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True,
            }
            for number, token in enumerate(SPECIAL_TOKENS)
        ],
        "normalizer": {"type": "Sequence", "normalizers": _spell_kmers(k)},
        # By now every k-mer has k letters; a short word has fewer, and a dot after it.
        "pre_tokenizer": {
            "type": "Split", "pattern": {"Regex": f"[ACGTNn]{{1,{k}}}"}, "behavior": "Removed", "invert": True,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special(cls), sequence("A", 0), special(sep)],
            "pair": [special(cls), sequence("A", 0), special(sep), sequence("B", 1), special(sep, 1)],
            "special_tokens": {
                token: {"id": token, "ids": [number], "tokens": [token]} for number, token in ((CLS, cls), (SEP, sep))
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": _ROLES["unk_token"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: number for number, token in enumerate(KmerTokenizer(k).tokens)},
        },
    }  # fmt: skip


def _spell_kmers(k: int) -> list[dict[str, Any]]:
    """Normalizer rules from raw DNA to its k-mers one after another: for k = 3, ACGTT to ACGCGTGTT.

    A replacement is literal text, so that there is a rule for each letter. Bases of the sequence are lower case, copies
    of later bases upper case: acgtt, aCcGgTtTt, aCGcGTgTTtTt, and without the incomplete end aCGcGTgTT. Insertions
    count as part of the character before them, so that the offsets of a k-mer are those of its first base.
    """

    def replace(pattern: str, content: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}

    rules = [
        {"type": "Lowercase"},
        # N, the other ambiguity letters and all else: k-mers that hold one are not in the vocabulary.
        replace(r"[^acgt\s]", "n"),
        # A word of k letters is a k-mer, and one of fewer is unknown. The dot keeps the next rules off them.
        replace(rf"(?<=\S)(?<!\S{{{k + 1}}})(?!\S)", "."),
    ]
    for copies in range(1, k):
        for base in "acgtn":
            if copies == 1:
                pattern = rf"(?<=[acgtn])(?={base}(?![acgtn]{{0,{k - 2}}}\.))"
            else:
                # The base that is `copies` further on is the last copy that the next base got in the round before.
                pattern = f"(?<=[ACGTN])(?=[acgtn][ACGTN]{{{copies - 2}}}{base.upper()})"
            rules.append(replace(pattern, base.upper()))
    if k > 1:
        rules.append(replace(f"(?<=[ACGTN]{{{k - 1}}})[acgtn][ACGTN]{{0,{k - 2}}}(?![ACGTN])\\S*", ""))
    return rules + [replace(base, base.upper()) for base in "acgt"]


def tokenizer_section(k: int, max_positions: int) -> str:
    """What the model card says of the tokenizer, with examples that the tests run."""
    kmers = split_kmers(EXAMPLE, k).split()
    known = set(KmerTokenizer(k).tokens)
    ambiguous = [kmer if kmer in known else "[UNK]" for kmer in split_kmers(_AMBIGUOUS_EXAMPLE, k).split()]
    return f"""### Tokenizer

`AutoTokenizer` takes raw DNA, upper or lower case, or k-mers separated by spaces, as the published DNABERT does. A
sequence of n bases has n - k + 1 tokens; the offsets of each are those of its first base, and those of a k-mer
written by itself are all of it. A k-mer that holds anything but A, C, G, T is [UNK], and so is a word shorter than k. A
space or a line break ends a sequence: no k-mer goes across it. [MASK] stands for one k-mer.

```pycon
>>> from transformers import AutoTokenizer, BertTokenizer
>>> tokenizer = AutoTokenizer.from_pretrained(".")
>>> tokenizer.tokenize("{EXAMPLE}")
{kmers}
>>> tokenizer.tokenize("{" ".join(kmers[:3])}")
{kmers[:3]}
>>> tokenizer.tokenize("{_AMBIGUOUS_EXAMPLE}")
{ambiguous}
>>> tokenizer.tokenize("{EXAMPLE[:8]}[MASK]{EXAMPLE}")
{[*split_kmers(EXAMPLE[:8], k).split(), "[MASK]", *kmers]}
```

`BertTokenizer` reads `vocab.txt` as the published scripts do: it takes k-mers separated by spaces, upper case, and
makes one [UNK] of raw DNA, without a warning.

```pycon
>>> by_vocabulary = BertTokenizer.from_pretrained(".")
>>> by_vocabulary.tokenize("{" ".join(kmers[:3])}")
{kmers[:3]}
>>> by_vocabulary.tokenize("{EXAMPLE}")
['[UNK]']
```

Vocabulary: {len(known)} tokens, the five special ones and the {k}-mers over A, T, C, G in that order, as in the
published DNABERT. Longest input: {max_positions} tokens with [CLS] and [SEP]; `truncation=True` cuts what is longer."""


def read_k(directory: Path) -> int | None:
    """Returns k of the vocabulary of a directory, None without one; raises InputError if it is not DNABERT's."""
    if (path := directory / "vocab.txt").is_file():
        tokens = [token for _, line in numbered_lines(path) for token in line.split()]
    elif (path := directory / "tokenizer.json").is_file():
        contents = read_object(path)
        try:
            numbers = contents["model"]["vocab"]
            tokens = sorted(numbers, key=numbers.get)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a tokenizer with a vocabulary.") from error
    else:
        return None
    first_kmer = tokens[len(SPECIAL_TOKENS)] if len(tokens) > len(SPECIAL_TOKENS) else ""
    k = len(first_kmer)
    if not 1 <= k <= MAX_K:
        raise InputError(
            f"{path} is not the vocabulary of a DNABERT: token {len(SPECIAL_TOKENS)} is {first_kmer!r}, not a k-mer."
        )
    for number, expected in enumerate(KmerTokenizer(k).tokens):
        if number == len(tokens) or tokens[number] != expected:
            token = repr(tokens[number]) if number < len(tokens) else "missing"
            raise InputError(f"{path} is not the vocabulary of a DNABERT: token {number} is {token}, not {expected!r}.")
    return k
