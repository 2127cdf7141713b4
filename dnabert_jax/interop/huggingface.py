"""Weights to and from published files: the table of names of a family, read in both directions.

PyTorch's Linear keeps (out, in) where the kernels here are (in, out); the layers here are stacked, and the vocabulary
is padded. Nothing else differs, so the round trip is exact to the bit.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.families import family_of
from dnabert_jax.families.family import Entry, Family, dense, norm
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import parameter_shapes
from dnabert_jax.model.classification import PooledBackbone
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.training.state import Parameters

Tensors = dict[str, np.ndarray]

_ALIGNMENT = 64
"""Of the arrays of XLA on a CPU, in bytes."""

_LISTED = 8
"""Tensors that an error names, at most."""


_HEADS = (
    # Where a classifier pools over tokens.
    *norm("pooled_norm", "pooler.norm"),
    Entry("pooling_query", "pooler.query"),
    *dense("classifier", "classifier"),
    # The original's models for long sequences: dnalongcat here, dnalong below.
    *dense("classifier1", "classifier1"),
    *dense("classifier2", "classifier2"),
)
"""Tensors that classifiers of every family may have."""


def _recurrence(directions: Iterable[str]) -> list[Entry]:
    """The tensors of a torch.nn.LSTM or GRU; its directions here are forward_0, reverse_0, forward_1 and so on."""
    entries = []
    for direction in directions:
        way, _, layer = direction.partition("_")
        suffix = f"l{layer}" + ("_reverse" if way == "reverse" else "")
        for source, part in (("ih", "input"), ("hh", "state")):
            path = f"rnn.{direction}.{part}"
            entries.append(Entry(f"rnn.weight_{source}_{suffix}", f"{path}.kernel", kernel=True))
            entries.append(Entry(f"rnn.bias_{source}_{suffix}", f"{path}.bias"))
    return entries


def _table(family: Family, directions: Iterable[str]) -> list[Entry]:
    """Returns the entries of all tensors that a model of a family may have, with the directions of a recurrent head."""
    return [*family.tensors, *_HEADS, *_recurrence(directions)]


def _slots(config: ModelConfig, parts: Parameters) -> list[tuple[str, Entry, int | None]]:
    """Every tensor in the file of a model with these parts: its name, its entry and its layer."""
    slots: list[tuple[str, Entry, int | None]] = []
    for entry in _table(family_of(config), parts.get("rnn", ())):
        if _has(parts, entry.path):
            layers = range(config.num_layers) if entry.per_layer else [None]
            slots += [(entry.name.format(layer=layer), entry, layer) for layer in layers]
    return slots


def _has(parts: Parameters, path: str) -> bool:
    tree: Any = parts
    for name in path.split("."):
        if name not in tree:
            return False
        tree = tree[name]
    return True


def parts_of(names: Iterable[str], family: Family) -> list[str]:
    """Returns which parts of a model a file has: `backbone` in any case, and those of which it has a tensor."""
    present = set(names)
    entries = [entry for entry in _table(family, ["forward_0"]) if entry.name.format(layer=0) in present]
    return list(dict.fromkeys(["backbone", *(entry.part for entry in entries)]))


def tensor_names(abstract: Parameters, config: ModelConfig) -> set[str]:
    """The names in a file of all tensors of a model."""
    return {name for name, _, _ in _slots(config, abstract)}


def _view(parameters: Parameters, entry: Entry, layer: int | None, config: ModelConfig) -> np.ndarray:
    """The part of a parameter that an entry names, as it is laid out in the file: no copy, so it can be assigned to."""
    view: Any = parameters
    for name in entry.path.split("."):
        view = view[name]
    if layer is not None:
        view = view[layer]
    if entry.vocabulary:
        view = view[: config.vocabulary_size]
    return view.T if entry.kernel else view


def to_huggingface(parameters: Parameters, config: ModelConfig) -> Tensors:
    """Returns the tensors of a model, named and laid out as its family publishes them.

    They are views by name, not copies; tensors that repeat others are left out.
    """
    return {name: _view(parameters, entry, layer, config) for name, entry, layer in _slots(config, parameters)}


def check_shapes(shapes: Mapping[str, tuple[int, ...]], abstract: Parameters, config: ModelConfig) -> None:
    """Raises InputError, which lists them, if a file lacks tensors of a model or has them in other shapes."""
    blank = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), abstract)
    wanted = to_huggingface(blank, config)
    missing = [f"{name} {tensor.shape}" for name, tensor in wanted.items() if name not in shapes]
    if missing:
        raise InputError(f"Tensors are missing: {listed(missing)}.")
    wrong = [
        f"{name} is {shapes[name]}, not {tensor.shape}"
        for name, tensor in wanted.items()
        if shapes[name] != tensor.shape
    ]
    if wrong:
        raise InputError(f"Tensors have another shape than config.json says: {listed(wrong)}.")


def from_huggingface(tensors: Mapping[str, np.ndarray], abstract: Parameters, config: ModelConfig) -> Parameters:
    """The inverse of `to_huggingface`: parameters as numpy arrays in float32, padded rows zero.

    Args:
        tensors: by name, each asked for once, in shapes that `check_shapes` takes; those of other names are left alone.

    Raises:
        InputError: a tensor is not of floating-point numbers, or not of finite ones.
    """
    parameters = jax.tree.map(lambda leaf: _aligned_zeros(leaf.shape), abstract)
    for name, view in to_huggingface(parameters, config).items():
        tensor = tensors[name]
        if tensor.dtype.kind != "f":
            raise InputError(f"{name} is of {tensor.dtype}: weights are floating-point numbers.")
        if not np.isfinite(tensor).all():
            raise InputError(f"{name} has values that are not finite: the model that was saved was broken already.")
        view[...] = tensor
    return parameters


def _aligned_zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Float32, where JAX on a CPU takes it as it lies: of what begins elsewhere it makes a copy."""
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    buffer = np.zeros(size + _ALIGNMENT, np.uint8)
    begin = -buffer.ctypes.data % _ALIGNMENT
    return buffer[begin : begin + size].view(np.float32).reshape(shape)


def listed(items: list[str]) -> str:
    """The first few of them, and how many more there are, for an error."""
    more = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def shapes_of_parts(config: ModelConfig, task: TaskConfig | None, parts: Iterable[str]) -> Parameters:
    """Shapes of those parts that a model whose classifier is for `task` can have; nothing is computed."""
    shapes = parameter_shapes(LanguageModel, config) | parameter_shapes(PooledBackbone, config)
    if task is not None:
        shapes |= parameter_shapes(sequence_classifier, config, task)
    return {part: shapes[part] for part in parts if part in shapes}
