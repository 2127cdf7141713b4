"""Tokenizer files of an exported directory: the published DNABERT form, which takes space-separated k-mers."""

import json
from pathlib import Path
from typing import Any

from dnabert_jax.sequence.vocabulary import CLS, SEP, SPECIAL_TOKENS, vocabulary_tokens

_ROLES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True))


def write_tokenizer(directory: Path, k: int, max_positions: int) -> None:
    """Writes vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json."""
    (directory / "vocab.txt").write_text("\n".join(vocabulary_tokens(k)) + "\n")
    settings = {
        **_ROLES,
        "tokenizer_class": "BertTokenizer",
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
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")


def _tokenizer_json(k: int) -> dict[str, Any]:
    """The same tokenizer for the `tokenizers` library: BERT's WordPiece, whose words here are whole k-mers."""

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
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": False,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
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
            "vocab": {token: number for number, token in enumerate(vocabulary_tokens(k))},
        },
    }  # fmt: skip
