"""DNABERT (Ji et al. 2021): BERT on overlapping k-mers, in the layout of Hugging Face's BERT."""

from pathlib import Path
from typing import Any

from dnabert_jax.config import ExecutionConfig, MaskingConfig, ModelConfig, PretrainConfig
from dnabert_jax.errors import InputError
from dnabert_jax.families.family import Architecture, Entry, Family, Settings, dense, norm, read_sizes, tiny_recipe
from dnabert_jax.families.kmer_files import read_k, tokenizer_section, write_tokenizer
from dnabert_jax.sequence.kmers import MAX_K, KmerTokenizer
from dnabert_jax.sequence.vocabulary import PAD

_LAYER = "bert.encoder.layer.{layer}"

_TENSORS = (
    Entry("bert.embeddings.word_embeddings.weight", "backbone.embeddings.token.table", vocabulary=True),
    Entry("bert.embeddings.position_embeddings.weight", "backbone.embeddings.position.table"),
    Entry("bert.embeddings.token_type_embeddings.weight", "backbone.embeddings.token_type.table"),
    *norm("bert.embeddings.LayerNorm", "backbone.embeddings.norm"),
    *dense(f"{_LAYER}.attention.self.query", "backbone.layers.attention.query"),
    *dense(f"{_LAYER}.attention.self.key", "backbone.layers.attention.key"),
    *dense(f"{_LAYER}.attention.self.value", "backbone.layers.attention.value"),
    *dense(f"{_LAYER}.attention.output.dense", "backbone.layers.attention.output"),
    *norm(f"{_LAYER}.attention.output.LayerNorm", "backbone.layers.attention_norm"),
    *dense(f"{_LAYER}.intermediate.dense", "backbone.layers.intermediate"),
    *dense(f"{_LAYER}.output.dense", "backbone.layers.output"),
    *norm(f"{_LAYER}.output.LayerNorm", "backbone.layers.output_norm"),
    *dense("cls.predictions.transform.dense", "head.transform"),
    *norm("cls.predictions.transform.LayerNorm", "head.norm"),
    Entry("cls.predictions.bias", "head.bias", vocabulary=True),
    *dense("bert.pooler.dense", "pooler.dense"),
)

_TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}

_NOT_NEEDED = {
    "bert.embeddings.position_ids": "the numbers of the positions, which need no tensor",
    "cls.seq_relationship.weight": "the head of next-sentence prediction, which DNABERT was not trained for",
    "cls.seq_relationship.bias": "the head of next-sentence prediction, which DNABERT was not trained for",
}

_ARCHITECTURES: dict[Architecture, str] = {
    "masked-lm": "BertForMaskedLM",
    "encoder": "BertModel",
    "classifier": "BertForSequenceClassification",
}

_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}

_PADDING_MULTIPLE = 64

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
"""The settings that can be read, with their values. A file that does not give one means its first value."""

_OF_DNABERT2 = ("alibi_starting_size", "attn_alibi")


def _dnabert(k: int) -> PretrainConfig:
    """The paper's model and recipe (Ji et al. 2021).

    The paper's batch is 2,000 sequences. Packed rows of 512 tokens hold 1.58 sequences each on average
    (`sequences / rows` in the manifest of the first 70 Mb of chromosome X), so 1,280 rows hold 2,020: the smallest
    batch with at least the paper's 2,000 that divides over 256 chips.
    """
    model = ModelConfig(k=k, compute_dtype="bfloat16")
    return PretrainConfig(model=model, execution=ExecutionConfig(scan_unroll=model.num_layers))


_PRESETS = {
    "dnabert3": _dnabert(3),
    "dnabert4": _dnabert(4),
    "dnabert5": _dnabert(5),
    "dnabert6": _dnabert(6),
    "tiny": tiny_recipe(ModelConfig(k=3), MaskingConfig(late_from_step=1300)),
}


class Dnabert(Family):
    """BERT, a token for every k consecutive bases."""

    title = "DNABERT"
    tag = "dnabert"
    tokens = "kmers"
    presets = _PRESETS
    tensors = _TENSORS
    prefix = "bert."
    tied = _TIED
    not_needed = _NOT_NEEDED
    architectures = _ARCHITECTURES

    def recognises(self, settings: Settings) -> bool:
        # An auto_map says nothing: the published DNABERT too comes with a copy of BERT's code.
        return settings.get("model_type", "bert") == "bert" and not any(name in settings for name in _OF_DNABERT2)

    def model_config(self, settings: Settings, directory: Path) -> ModelConfig:
        path = directory / "config.json"
        if any(name in settings for name in _OF_DNABERT2):
            raise InputError(
                f"{path} says ALiBi, as DNABERT-2 does: only BERT with k-mer tokens, as the first DNABERT, can be read."
            )
        for name, allowed in _FIXED.items():
            if settings.get(name) not in (None, *allowed):
                raise InputError(
                    f"{path} says {name} = {settings[name]!r}: only BERT with {name} = {allowed[0]!r}, as the first "
                    "DNABERT, can be read."
                )
        k, sizes = _k(settings, directory), read_sizes(settings, path, ModelConfig.max_positions)
        fewest = KmerTokenizer(k).vocabulary_size
        if not isinstance(size := settings.get("vocab_size"), int) or size < fewest:
            raise InputError(
                f"{path} says vocab_size = {size!r}: a vocabulary of {k}-mers has at least {fewest} tokens."
            )
        return ModelConfig(tokens=self.tokens, k=k, **sizes)

    def settings(self, config: ModelConfig) -> Settings:
        return {
            "model_type": "bert",
            "vocab_size": config.vocabulary_size,
            "hidden_size": config.hidden_size,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads,
            "intermediate_size": config.intermediate_size,
            "max_position_embeddings": config.max_positions,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "hidden_dropout_prob": config.dropout,
            "attention_probs_dropout_prob": config.attention_dropout,
            "initializer_range": config.initializer_range,
            "layer_norm_eps": config.layer_norm_epsilon,
            "pad_token_id": PAD,
            "tie_word_embeddings": True,
        }

    def renamed(self, name: str) -> str:
        for old, new in _OLD_NAMES.items():
            name = name.replace(old, new)
        return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name

    def write_tokenizer(self, directory: Path, config: ModelConfig) -> None:
        write_tokenizer(directory, config.k, config.max_positions)

    def summary(self, config: ModelConfig) -> str:
        return (
            f"A BERT of DNA in overlapping {config.k}-mers, after DNABERT (Ji et al. 2021, doi "
            "10.1093/bioinformatics/btab083). It is BERT as `transformers` knows it: no remote code."
        )

    def tokenizer_section(self, config: ModelConfig) -> str:
        return tokenizer_section(config.k, config.max_positions)


def _k(settings: Settings, directory: Path) -> int:
    """Returns k of the vocabulary; without a vocabulary file, of its size, which may be padded."""
    k = read_k(directory)
    if k is not None:
        return k
    size = settings.get("vocab_size")
    for k in reversed(range(1, MAX_K + 1)):
        if isinstance(size, int) and 0 <= size - KmerTokenizer(k).vocabulary_size < _PADDING_MULTIPLE:
            return k
    raise InputError(
        f"{directory / 'config.json'} says vocab_size = {size!r}: a vocabulary of k-mers has 4**k + 5 tokens, or is "
        f"padded to a multiple of at most {_PADDING_MULTIPLE}."
    )
