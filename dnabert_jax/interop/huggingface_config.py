"""config.json of Hugging Face's BERT, written and read."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import PAD
from dnabert_jax.typed_json import parse_json, read_object

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

_LARGEST = 2**20
"""Of these numbers: the shapes that follow can be computed, and compared with those in the file."""

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

OUR_SETTINGS = "dnabert_jax"
"""The settings of a classifier that transformers does not know."""

_OF_DNABERT2 = ("alibi_starting_size", "attn_alibi")


def huggingface_config(config: ModelConfig, task: TaskConfig | None = None, model: str = "masked-lm") -> dict[str, Any]:
    """config.json of an exported directory.

    Args:
        model: masked-lm, encoder or classifier.
    """
    pooled = model == "classifier" and task is not None and task.pooling != "cls"
    settings: dict[str, Any] = {
        "architectures": [_ARCHITECTURES["encoder" if pooled else model]],
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
    if model == "classifier" and task is not None:
        settings |= {
            "problem_type": task.problem,
            "id2label": {str(number): label for number, label in enumerate(task.labels)},
            "label2id": {label: number for number, label in enumerate(task.labels)},
            "classifier_dropout": task.dropout,
            OUR_SETTINGS: {"pooling": task.pooling, "strands": task.strands},
        }
    return settings


def read_config_file(directory: Path) -> dict[str, Any]:
    """Returns the settings in config.json; raises InputError unless they are of a BERT as it is known here."""
    path = directory / "config.json"
    if not path.is_file():
        raise InputError(f"{directory} is no Hugging Face directory: it has no config.json.")
    settings = read_object(path)
    # An auto_map says nothing: the published DNABERT too comes with a copy of BERT's code.
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
    return settings


def model_config(settings: dict[str, Any], k: int, name: str) -> ModelConfig:
    """The network that config.json describes; what it does not say is BERT's default.

    Raises:
        InputError: a setting of another type or out of range, or a vocabulary that is too small.
    """
    found = {key: settings.get(key, default) for key, default in _DEFAULTS.items()}
    for key, default in _DEFAULTS.items():
        value = found[key]
        if isinstance(value, bool) or not isinstance(value, (int, float) if isinstance(default, float) else int):
            raise InputError(f"{name} says {key} = {value!r}: that must be a number like {default}.")
        if value > _LARGEST:
            raise InputError(f"{name} says {key} = {value}: that must be at most {_LARGEST}.")
    fewest = KmerTokenizer(k).vocabulary_size
    if not isinstance(size := settings.get("vocab_size"), int) or size < fewest:
        raise InputError(f"{name} says vocab_size = {size!r}: a vocabulary of {k}-mers has at least {fewest} tokens.")
    return ModelConfig(
        k=k,
        hidden_size=found["hidden_size"],
        num_layers=found["num_hidden_layers"],
        num_heads=found["num_attention_heads"],
        intermediate_size=found["intermediate_size"],
        max_positions=found["max_position_embeddings"],
        dropout=float(found["hidden_dropout_prob"]),
        attention_dropout=float(found["attention_probs_dropout_prob"]),
        layer_norm_epsilon=float(found["layer_norm_eps"]),
        initializer_range=float(found["initializer_range"]),
    )


def read_task(settings: dict[str, Any], shapes: Mapping[str, tuple[int, ...]], name: str) -> TaskConfig | None:
    """What the classifier predicts, if the file has one.

    Raises:
        InputError: settings that no task can have, or tensors of no classifier.
    """
    last = next((layer for layer in ("classifier.weight", "classifier2.weight") if layer in shapes), None)
    if last is None:
        return None
    for matrix in (last, "classifier1.weight", "rnn.weight_hh_l0"):
        if matrix in shapes and (len(shapes[matrix]) != 2 or 0 in shapes[matrix]):
            raise InputError(f"{name} is of a classifier whose {matrix} is {shapes[matrix]}: it must be a matrix.")
    count, hidden = shapes[last]
    places = [str(number) for number in range(count)]
    labels = names if isinstance(names := settings.get("id2label"), dict) else {}
    if sorted(labels) != sorted(places):
        # Names that nobody gave may be too few: old transformers kept two, whatever num_labels was.
        if any(label != f"LABEL_{place}" for place, label in labels.items()):
            raise InputError(
                f"{name} names {len(labels)} labels in id2label: the classifier has {count}, 0 to {count - 1}."
            )
        labels = {place: f"LABEL_{place}" for place in places}
    problem = settings.get("problem_type") or ("regression" if count == 1 else "single_label_classification")
    # None is what transformers writes for "as elsewhere".
    dropout = settings.get("classifier_dropout")
    if dropout is None:
        dropout = settings.get("hidden_dropout_prob", _DEFAULTS["hidden_dropout_prob"])
    record = {"problem": problem, "labels": [labels[place] for place in places], "dropout": dropout}
    if isinstance(ours := settings.get(OUR_SETTINGS), dict):
        record |= ours
    record |= _for_long(settings, shapes, hidden)
    return parse_json(TaskConfig, json.dumps(record).encode(), name)


def _for_long(settings: dict[str, Any], shapes: Mapping[str, tuple[int, ...]], hidden: int) -> dict[str, Any]:
    """What makes a task one of the original's for long sequences.

    The tensors tell which it is: every config.json of the original has `rnn`, `split` and their like, mostly unused.
    """
    if "classifier1.weight" in shapes:
        return {"long": "concatenation", "split": shapes["classifier1.weight"][-1] // hidden}
    gates = shapes.get("rnn.weight_hh_l0")
    if gates is None:
        return {}
    return {
        "long": {4: "lstm", 3: "gru"}.get(gates[0] // hidden, "none"),
        "split": settings.get("split", 1),
        "num_rnn_layer": sum(re.fullmatch(r"rnn\.weight_hh_l\d+", name) is not None for name in shapes),
        "rnn_dropout": settings.get("rnn_dropout", 0.0),
    }
