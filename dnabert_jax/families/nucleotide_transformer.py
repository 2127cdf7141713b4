"""Nucleotide Transformer, v1 and v2 (Dalla-Torre et al. 2025), in the layout of Hugging Face's ESM.

v1 has learned positions, GELU and token dropout, and `transformers` loads it. v2 has rotary positions and SwiGLU, which
the publisher's own code computes.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from dnabert_jax.config import ExecutionConfig, MaskingConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.errors import InputError
from dnabert_jax.families.family import (
    EXAMPLE,
    SIZES,
    Architecture,
    Entry,
    Family,
    OtherLayout,
    Settings,
    dense,
    norm,
    read_sizes,
    tiny_recipe,
)
from dnabert_jax.families.nucleotide_transformer_jax import SETTINGS_FILE, read_release
from dnabert_jax.io.text import numbered_lines
from dnabert_jax.sequence.six_mers import SixMerTokenizer
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL

_LAYER = "esm.encoder.layer.{layer}"

_UNUSED_POSITIONS = 2
"""The first rows of the table of positions, that of padding and the one before it."""

_TENSORS = (
    Entry("esm.embeddings.word_embeddings.weight", "backbone.embeddings.token.table", vocabulary=True),
    Entry("esm.embeddings.position_embeddings.weight", "backbone.embeddings.position.table", skip=_UNUSED_POSITIONS),
    *norm(f"{_LAYER}.attention.LayerNorm", "backbone.layers.attention_norm"),
    *dense(f"{_LAYER}.attention.self.query", "backbone.layers.attention.query"),
    *dense(f"{_LAYER}.attention.self.key", "backbone.layers.attention.key"),
    *dense(f"{_LAYER}.attention.self.value", "backbone.layers.attention.value"),
    *dense(f"{_LAYER}.attention.output.dense", "backbone.layers.attention.output"),
    *norm(f"{_LAYER}.LayerNorm", "backbone.layers.output_norm"),
    # v2 has two products in this tensor, that of the SiLU first.
    Entry(f"{_LAYER}.intermediate.dense.weight", "backbone.layers.gate.kernel", kernel=True),
    *dense(f"{_LAYER}.intermediate.dense", "backbone.layers.intermediate"),
    *dense(f"{_LAYER}.output.dense", "backbone.layers.output"),
    *norm("esm.encoder.emb_layer_norm_after", "backbone.norm"),
    *dense("lm_head.dense", "head.transform"),
    *norm("lm_head.layer_norm", "head.norm"),
    Entry("lm_head.decoder.weight", "head.decoder.table", vocabulary=True),
    Entry("lm_head.bias", "head.bias", vocabulary=True),
    *dense("classifier.dense", "pooler.dense"),
)

_FREQUENCIES = "esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
_CONTACTS = "the head that predicts contacts of proteins"
_NOT_NEEDED = {
    "esm.embeddings.position_ids": "the numbers of the positions, which need no tensor",
    "esm.embeddings.position_embeddings.weight": "a table of positions, which a model with rotary ones does not use",
    "esm.contact_head.regression.weight": _CONTACTS,
    "esm.contact_head.regression.bias": _CONTACTS,
    _FREQUENCIES: "the frequencies of rotary positions, which are computed",
    "esm.rotary_embeddings.inv_freq": "the frequencies of rotary positions, which are computed",
}

_ARCHITECTURES: dict[Architecture, str] = {
    "masked-lm": "EsmForMaskedLM",
    "encoder": "EsmModel",
    "classifier": "EsmForSequenceClassification",
}

_CODE = "InstaDeepAI/nucleotide-transformer-v2-50m-multi-species"
"""The repository of the publisher that has the code of v2, which is the same for all sizes."""

_AUTO_MAP = {
    "AutoConfig": "esm_config.EsmConfig",
    "AutoModel": "modeling_esm.EsmModel",
    "AutoModelForMaskedLM": "modeling_esm.EsmForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_esm.EsmForSequenceClassification",
}

_SPECIAL = {
    "v1": ("<unk>", "<pad>", "<mask>", "<cls>"),
    "v2": ("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>"),
}
"""The published special tokens in the order of their ids."""

_OURS = ("<pad>", "<unk>", "<cls>", "<eos>", "<mask>")
"""The published name of each of the first special tokens here."""

_ROLES = {"cls_token": "<cls>", "mask_token": "<mask>", "pad_token": "<pad>", "unk_token": "<unk>"}

_MAX_POSITION_EMBEDDINGS = 1026
"""The default of transformers' EsmConfig."""

_TOKEN_DROPOUT = 0.15 * 0.8
"""The share of tokens that training replaces by <mask>, as transformers and the publisher have it."""

_TOKENIZER = SixMerTokenizer()
_CONTENT = _TOKENIZER.tokens[NUM_SPECIAL : _TOKENIZER.content_end]

_SHARED = ModelConfig(
    tokens="6-mers", norm="pre", token_types=False, tied_head=False, dropout=0.0, attention_dropout=0.0
)
_NETWORKS = {
    "v1": dataclasses.replace(_SHARED, token_dropout=_TOKEN_DROPOUT),
    "v2": dataclasses.replace(_SHARED, positions="rotary", feed_forward="swiglu"),
}
"""The mechanisms of each version, with sizes that mean nothing."""


_MASKING = MaskingConfig(late_rate=0.15, random_from="others")


def _published(version: str, layers: int, size: int, heads: int, tokens: int) -> PretrainConfig:
    """Returns the recipe of the model cards: a million tokens per batch.

    Args:
        tokens: that training sees.
    """
    model = dataclasses.replace(
        _NETWORKS[version],
        num_layers=layers,
        hidden_size=size,
        num_heads=heads,
        intermediate_size=4 * size,
        max_positions={"v1": 1000, "v2": 2048}[version],
        compute_dtype="bfloat16",
    )
    steps = tokens // 10**6
    return PretrainConfig(
        model=model,
        masking=_MASKING,
        optimizer=OptimizerConfig(
            peak_learning_rate=1e-4,
            initial_learning_rate=5e-5,
            warmup_steps=16_000,
            schedule_steps=steps + 1,
            decay="inverse-sqrt",
            beta2=0.999,
            epsilon=1e-8,
            weight_decay=0.0,
        ),
        execution=ExecutionConfig(scan_unroll=model.num_layers),
        global_batch=10**6 // model.max_positions // 8 * 8,
        steps=steps,
    )


_PRESETS = {
    "nt-v2-50m": _published("v2", 12, 512, 16, 300 * 10**9),
    "nt-v2-100m": _published("v2", 22, 512, 16, 300 * 10**9),
    "nt-v2-250m": _published("v2", 24, 768, 16, 10**12),
    "nt-v2-500m": _published("v2", 29, 1024, 16, 10**12),
    "nt-500m": _published("v1", 24, 1280, 20, 50 * 10**9),
    "nt-2.5b": _published("v1", 32, 2560, 20, 300 * 10**9),
    "nt-tiny": tiny_recipe(_NETWORKS["v2"], _MASKING),
}


class NucleotideTransformer(Family):
    """A transformer on 6-mers that do not overlap."""

    title = "Nucleotide Transformer"
    tag = "nucleotide-transformer"
    tokens = "6-mers"
    presets = _PRESETS
    tensors = _TENSORS
    prefix = "esm."
    tied = {"lm_head.decoder.weight": "esm.embeddings.word_embeddings.weight"}  # noqa: RUF012
    not_needed = _NOT_NEEDED
    last_layer = "classifier.out_proj"
    architectures = _ARCHITECTURES
    licence = "cc-by-nc-sa-4.0"

    def recognises(self, settings: Settings) -> bool:
        return settings.get("model_type") == "esm" or "esm_config.EsmConfig" in str(settings.get("auto_map"))

    def model_config(self, settings: Settings, directory: Path) -> ModelConfig:
        path = directory / "config.json"
        version = _version_of(settings, path)
        _check_vocabulary(directory / "vocab.txt", version)
        if "token_dropout" not in settings:
            raise InputError(
                f"{path} does not say token_dropout, which changes every number of the model: published models of v1 "
                "have true, those of v2 false. Add it."
            )
        sizes = read_sizes(settings, path, _MAX_POSITION_EMBEDDINGS)
        sizes["max_positions"] -= _UNUSED_POSITIONS
        return dataclasses.replace(
            _NETWORKS[version],
            **sizes,
            token_dropout=_TOKEN_DROPOUT if settings["token_dropout"] else 0.0,
            tied_head=bool(settings.get("tie_word_embeddings", True)),
        )

    def settings(self, config: ModelConfig) -> Settings:
        version = _version(config)
        shared = {
            "vocab_size": self.published_size(config),
            "mask_token_id": _SPECIAL[version].index("<mask>"),
            "pad_token_id": _SPECIAL[version].index("<pad>"),
            "hidden_act": "gelu",
            **{key: getattr(config, field) for key, field in SIZES.items()},
            "max_position_embeddings": config.max_positions + _UNUSED_POSITIONS,
            "position_embedding_type": "absolute" if version == "v1" else "rotary",
            "emb_layer_norm_before": False,
            "token_dropout": config.token_dropout > 0,
            "tie_word_embeddings": config.tied_head,
            "is_folding_model": False,
            "use_cache": False,
        }
        if version == "v1":
            return {"model_type": "esm", **shared}
        auto_map = {name: f"{_CODE}--{target}" for name, target in _AUTO_MAP.items()}
        return {**shared, "add_bias_fnn": False, "auto_map": auto_map}

    def load_arguments(self, config: ModelConfig) -> str:
        return ", trust_remote_code=True" if _version(config) == "v2" else ""

    def renamed(self, name: str) -> str:
        return f"esm.{name}" if name.startswith(("embeddings.", "encoder.", "contact_head.", "rotary_")) else name

    def read_other_layout(self, directory: Path) -> OtherLayout | None:
        return read_release(directory) if (directory / SETTINGS_FILE).is_file() else None

    def published_ids(self, config: ModelConfig) -> Int64[np.ndarray, " V"]:
        version = _version(config)
        numbers = {token: number for number, token in enumerate(_vocabulary(version))}
        return np.array([numbers.get(token, -1) for token in (*_OURS, *_CONTENT, "<bos>")])

    def published_size(self, config: ModelConfig) -> int:
        return len(_vocabulary(_version(config)))

    def unused_tensors(self, config: ModelConfig) -> dict[str, np.ndarray]:
        heads = config.num_layers * config.num_heads
        tensors = {
            "esm.contact_head.regression.weight": np.zeros((1, heads), np.float32),
            "esm.contact_head.regression.bias": np.zeros(1, np.float32),
        }
        if config.positions == "rotary":
            size, rows = config.head_size, config.max_positions + _UNUSED_POSITIONS
            tensors["esm.embeddings.position_embeddings.weight"] = np.zeros((rows, config.hidden_size), np.float32)
            frequencies = (10_000.0 ** -(np.arange(0, size, 2) / size)).astype(np.float32)
            tensors |= {_FREQUENCIES.format(layer=layer): frequencies for layer in range(config.num_layers)}
        return tensors

    def write_tokenizer(self, directory: Path, config: ModelConfig) -> None:
        # Without a line break at the end, as it is published.
        (directory / "vocab.txt").write_text("\n".join(_vocabulary(_version(config))), "utf-8")
        settings = {"model_max_length": config.max_positions, "tokenizer_class": "EsmTokenizer", "eos_token": None}
        for name, content in (("tokenizer_config.json", settings), ("special_tokens_map.json", _ROLES)):
            (directory / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")

    def summary(self, config: ModelConfig) -> str:
        version = _version(config)
        code = {
            "v1": "It is ESM as `transformers` knows it: no remote code.",
            "v2": f"`transformers` loads it with the publisher's code, which is in {_CODE}: trust_remote_code=True.",
        }
        return (
            f"A transformer on 6-mers without overlap, as Nucleotide Transformer {version} (Dalla-Torre et al. 2025, "
            f"doi 10.1038/s41592-024-02523-z). {code[version]}"
        )

    def tokenizer_section(self, config: ModelConfig) -> str:
        known = _vocabulary(_version(config))
        ids = _TOKENIZER.encode_text(EXAMPLE + "NACGT")
        return f"""### Tokenizer

`AutoTokenizer` reads raw DNA in upper case: six bases per token from the first base on, then single bases, also before
an N. Any other letter, lower case too, becomes one <unk>.

```pycon
>>> from transformers import AutoTokenizer
>>> tokenizer = AutoTokenizer.from_pretrained(".")
>>> tokenizer.tokenize("{EXAMPLE}NACGT")
{[_TOKENIZER.tokens[number] for number in ids]}
```

Vocabulary: {len(known):,} tokens. Longest input: {config.max_positions:,} tokens with <cls>."""


def _version(config: ModelConfig) -> str:
    return "v2" if config.positions == "rotary" else "v1"


def _vocabulary(version: str) -> list[str]:
    return [*_SPECIAL[version], *_CONTENT]


def _version_of(settings: Settings, path: Path) -> str:
    """Returns the version that config.json describes; raises InputError if it is none of them."""
    size, positions = settings.get("vocab_size"), settings.get("position_embedding_type", "absolute")
    gated = settings.get("add_bias_fnn", True) is False
    version = next((name for name in _SPECIAL if len(_vocabulary(name)) == size), None)
    if version is None:
        raise InputError(
            f"{path} says vocab_size = {size!r}: Nucleotide Transformer has 4,105 tokens (v1) or 4,107 (v2), and other "
            "models of ESM, such as those of proteins, cannot be read."
        )
    if (positions, gated) != (("absolute", False) if version == "v1" else ("rotary", True)):
        raise InputError(
            f"{path} says vocab_size = {size}, which is {version}, with position_embedding_type = {positions!r} and "
            f"add_bias_fnn = {not gated}: v1 has 'absolute' and true, v2 'rotary' and false."
        )
    for name, allowed in (("emb_layer_norm_before", False), ("is_folding_model", False), ("hidden_act", "gelu")):
        if settings.get(name) not in (None, allowed):
            raise InputError(f"{path} says {name} = {settings[name]!r}: only {allowed!r} can be read.")
    return version


def _check_vocabulary(path: Path, version: str) -> None:
    """Raises InputError unless a vocabulary is that of the version; it need not be there."""
    if not path.is_file():
        return
    tokens, expected = [line.strip() for _, line in numbered_lines(path)], _vocabulary(version)
    if tokens != expected:
        other = next((name for name in _SPECIAL if tokens == _vocabulary(name)), None)
        raise InputError(
            f"{path} is the vocabulary of {other}, but config.json and the weights are of {version}: their ids differ. "
            "Get the files of one model."
            if other
            else f"{path} is not the vocabulary of Nucleotide Transformer {version}."
        )
