"""Weights to and from Hugging Face's BertForMaskedLM: one table of names, read in both directions.

PyTorch's Linear keeps (out, in) where the kernels here are (in, out); the layers here are stacked, and the vocabulary
is padded. Nothing else differs, so the round trip is exact to the bit.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from dnabert_jax.config import ModelConfig
from dnabert_jax.sequence.vocabulary import PAD

Tensors = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One tensor of the file and where it lies here.

    Attributes:
        name: in the file; `{layer}` stands for the number of a layer.
        path: of the parameter, from the root of BertForMaskedLM.
        kernel: transposed in the file.
        vocabulary: the first axis is the padded vocabulary.
    """

    name: str
    path: str
    kernel: bool = False
    vocabulary: bool = False

    @property
    def per_layer(self) -> bool:
        return "{layer}" in self.name


def _dense(name: str, path: str) -> list[_Entry]:
    return [_Entry(f"{name}.weight", f"{path}.kernel", kernel=True), _Entry(f"{name}.bias", f"{path}.bias")]


def _norm(name: str, path: str) -> list[_Entry]:
    return [_Entry(f"{name}.weight", f"{path}.scale"), _Entry(f"{name}.bias", f"{path}.bias")]


_LAYER = "bert.encoder.layer.{layer}"

_TABLE = [
    _Entry("bert.embeddings.word_embeddings.weight", "bert.embeddings.token.table", vocabulary=True),
    _Entry("bert.embeddings.position_embeddings.weight", "bert.embeddings.position.table"),
    _Entry("bert.embeddings.token_type_embeddings.weight", "bert.embeddings.token_type.table"),
    *_norm("bert.embeddings.LayerNorm", "bert.embeddings.norm"),
    *_dense(f"{_LAYER}.attention.self.query", "bert.layers.attention.query"),
    *_dense(f"{_LAYER}.attention.self.key", "bert.layers.attention.key"),
    *_dense(f"{_LAYER}.attention.self.value", "bert.layers.attention.value"),
    *_dense(f"{_LAYER}.attention.output.dense", "bert.layers.attention.output"),
    *_norm(f"{_LAYER}.attention.output.LayerNorm", "bert.layers.attention_norm"),
    *_dense(f"{_LAYER}.intermediate.dense", "bert.layers.intermediate"),
    *_dense(f"{_LAYER}.output.dense", "bert.layers.output"),
    *_norm(f"{_LAYER}.output.LayerNorm", "bert.layers.output_norm"),
    *_dense("cls.predictions.transform.dense", "head.transform"),
    *_norm("cls.predictions.transform.LayerNorm", "head.norm"),
    _Entry("cls.predictions.bias", "head.bias", vocabulary=True),
]


def _slots(config: ModelConfig) -> list[tuple[str, _Entry, int | None]]:
    """Every tensor of the file: its name, its entry and its layer."""
    slots: list[tuple[str, _Entry, int | None]] = []
    for entry in _TABLE:
        layers = range(config.num_layers) if entry.per_layer else [None]
        slots += [(entry.name.format(layer=layer), entry, layer) for layer in layers]
    return slots


def _view(parameters: dict[str, Any], entry: _Entry, layer: int | None, config: ModelConfig) -> np.ndarray:
    """The part of a parameter that an entry names: no copy, so that it can be assigned to."""
    view: Any = parameters
    for name in entry.path.split("."):
        view = view[name]
    if layer is not None:
        view = view[layer]
    return view[: config.vocabulary_size] if entry.vocabulary else view


def to_huggingface(parameters: dict[str, Any], config: ModelConfig) -> Tensors:
    """The tensors of a BertForMaskedLM, named and laid out as transformers saves them.

    Args:
        parameters: as in TrainState, of numpy arrays, float32.
        config: of the network.

    Returns:
        Contiguous float32 arrays by name; the decoder is tied to the embedding and not repeated.
    """
    tensors = {}
    for name, entry, layer in _slots(config):
        view = _view(parameters, entry, layer, config)
        tensors[name] = np.ascontiguousarray(view.T if entry.kernel else view)
    return tensors


def from_huggingface(tensors: Tensors, abstract: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """The inverse of `to_huggingface`: parameters as numpy arrays, padded rows zero.

    Args:
        tensors: by name; those that the table does not name are ignored.
        abstract: the parameters' shapes.
        config: of the network.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape.
    """
    parameters = _zeros(abstract)
    for name, entry, layer in _slots(config):
        view = _view(parameters, entry, layer, config)
        tensor: Float[np.ndarray, ...] = tensors[name]
        expected = view.shape[::-1] if entry.kernel else view.shape
        if tensor.shape != expected:
            raise ValueError(f"{name} has the shape {tensor.shape}, where {expected} is needed.")
        view[...] = tensor.T if entry.kernel else tensor
    return parameters


def _zeros(abstract: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _zeros(value) if isinstance(value, dict) else np.zeros(value.shape, np.float32)
        for name, value in abstract.items()
    }


def huggingface_config(config: ModelConfig) -> dict[str, Any]:
    """config.json of the exported directory."""
    return {
        "architectures": ["BertForMaskedLM"],
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
        "torch_dtype": "float32",
    }
