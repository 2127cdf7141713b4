"""config.json of Hugging Face's BERT, written and read."""

import json
from pathlib import Path
from typing import Any

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import PAD, vocabulary_size

_ARCHITECTURES = {"masked-lm": "BertForMaskedLM", "encoder": "BertModel", "classifier": "BertForSequenceClassification"}

_DEFAULTS = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
}
"""Of transformers' BertConfig: what a file does not say is this."""

_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert",),
    "hidden_act": ("gelu", "gelu_python"),
    "position_embedding_type": ("absolute",),
    "type_vocab_size": (2,),
    "pad_token_id": (PAD,),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
"""What the network here can be; a file that says nothing of one of them means its first value."""

_OF_DNABERT2 = ("alibi_starting_size", "attn_alibi", "auto_map")
