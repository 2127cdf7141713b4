"""Weights and the settings of a classifier, to and from published files.

The table of names of a family is read in both directions. PyTorch's Linear keeps (out, in) where the kernels here are
(in, out); the layers here are stacked, the vocabulary is padded and has the same special ids in every family, and what
some publishers keep in one tensor are several parameters. Nothing else differs, so the round trip is exact to the bit
for what a publisher has.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.families import family_of
from dnabert_jax.families.family import Entry, Family, Settings, dense, norm
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import parameter_shapes
from dnabert_jax.model.classification import PooledBackbone
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.training.state import Parameters
from dnabert_jax.typed_json import parse_json

_ALIGNMENT = 64
"""Of the arrays of XLA on a CPU, in bytes."""

_NEVER = -1e4
"""The bias of an id that the publisher does not have, so that it has no part in a softmax."""

_LISTED = 8
"""Tensors that an error names, at most."""

_OUR_SETTINGS = "dnabert_jax"
"""The settings of a classifier that transformers does not know."""

_HEADS = (
    # Where a classifier pools over tokens.
    *norm("pooled_norm", "pooler.norm"),
    Entry("pooling_query", "pooler.query"),
    # The original's models for long sequences: dnalongcat here, dnalong below.
    *dense("classifier1", "classifier1"),
    *dense("classifier2", "classifier2"),
)
"""Tensors that classifiers of every family may have."""


def _recurrence(directions: Iterable[str]) -> Iterator[Entry]:
    """Yields the tensors of a torch.nn.LSTM or GRU, whose directions here are forward_0, reverse_0, forward_1, ..."""
    for direction in directions:
        way, _, layer = direction.partition("_")
        suffix = f"l{layer}" + ("_reverse" if way == "reverse" else "")
        for source, part in (("ih", "input"), ("hh", "state")):
            yield Entry(f"rnn.weight_{source}_{suffix}", f"rnn.{direction}.{part}.kernel", kernel=True)
            yield Entry(f"rnn.bias_{source}_{suffix}", f"rnn.{direction}.{part}.bias")


def _table(family: Family, directions: Iterable[str]) -> list[Entry]:
    """Returns the entries of all tensors that a model of a family may have, with the directions of a recurrent head."""
    return [*family.tensors, *dense(family.last_layer, "classifier"), *_HEADS, *_recurrence(directions)]


def parts_of(names: Iterable[str], family: Family) -> list[str]:
    """Returns which parts of a model a file has: `backbone` in any case, and those of which it has a tensor."""
    present = set(names)
    entries = [entry for entry in _table(family, ["forward_0"]) if entry.name.format(layer=0) in present]
    return list(dict.fromkeys(["backbone", *(entry.model_part for entry in entries)]))


def _views(parameters: Parameters, config: ModelConfig) -> dict[str, tuple[Entry, list[np.ndarray]]]:
    """Returns what makes up each tensor in the file of a model, laid out as there.

    These are views, not copies, so that they can be assigned to. Those of one tensor share an entry but for the path.
    """
    views: dict[str, tuple[Entry, list[np.ndarray]]] = {}
    for entry in _table(family_of(config), parameters.get("rnn", ())):
        array: Any = parameters
        for name in entry.path.split("."):
            array = array.get(name, {})
        if isinstance(array, dict):
            continue  # Models with these parts have no such tensor.
        for layer, view in enumerate(array if entry.per_layer else [array]):
            rows = view[: config.vocabulary_size] if entry.vocabulary else view
            views.setdefault(entry.name.format(layer=layer), (entry, []))[1].append(rows.T if entry.kernel else rows)
    return views


def to_huggingface(parameters: Parameters, config: ModelConfig) -> dict[str, np.ndarray]:
    """Returns the tensors of a model, named and laid out as its family publishes them.

    They are views, not copies, where the layout allows it; tensors that repeat others are left out.
    """
    family = family_of(config)
    ids, size = family.published_ids(config), family.published_size(config)

    def assembled(entry: Entry, views: list[np.ndarray]) -> np.ndarray:
        if entry.vocabulary and not np.array_equal(ids, np.arange(size)):
            tensor = np.zeros((size, *views[0].shape[1:]), views[0].dtype)
            tensor[ids[ids >= 0]] = views[0][ids >= 0]
            return tensor
        unused = [np.zeros((entry.skip, *views[0].shape[1:]), views[0].dtype)] * bool(entry.skip)
        return np.concatenate([*unused, *views]) if len(views) + len(unused) > 1 else views[0]

    return {name: assembled(*parts) for name, parts in _views(parameters, config).items()}


def tensor_shapes(abstract: Parameters, config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of all tensors in the file of a model, by name."""
    blank = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), abstract)
    size, shapes = family_of(config).published_size(config), {}
    for name, (entry, views) in _views(blank, config).items():
        rows, *others = views[0].shape
        shapes[name] = (size if entry.vocabulary else rows * len(views) + entry.skip, *others)
    return shapes


def check_shapes(shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises InputError, which lists them, if a file lacks tensors of a model or has them in other shapes."""
    if missing := [f"{name} {shape}" for name, shape in expected.items() if name not in shapes]:
        raise InputError(f"Tensors are missing: {listed(missing)}.")
    if wrong := [f"{name} is {shapes[name]}, not {shape}" for name, shape in expected.items() if shapes[name] != shape]:
        raise InputError(f"Tensors have another shape than config.json says: {listed(wrong)}.")


def from_huggingface(read: Callable[[str], np.ndarray], abstract: Parameters, config: ModelConfig) -> Parameters:
    """Returns the parameters, as numpy arrays in float32 with padded rows zero: the inverse of `to_huggingface`.

    Args:
        read: returns the tensor of a name, in a shape that `check_shapes` takes; it is called once for each.

    Raises:
        InputError: a tensor is not of floating-point numbers, or not of finite ones.
    """
    parameters = jax.tree.map(lambda leaf: _aligned_zeros(leaf.shape), abstract)
    ids = family_of(config).published_ids(config)
    for name, (entry, views) in _views(parameters, config).items():
        tensor = read(name)
        if tensor.dtype.kind != "f":
            raise InputError(f"{name} is of {tensor.dtype}: weights are floating-point numbers.")
        if not np.isfinite(tensor).all():
            raise InputError(f"{name} has values that are not finite: the model that was saved was broken already.")
        for view, part in zip(views, np.split(tensor[entry.skip :], len(views)), strict=True):
            if entry.vocabulary:
                view[ids >= 0] = part[ids[ids >= 0]]
                view[ids < 0] = 0 if view.ndim > 1 else _NEVER
            else:
                view[...] = part
    return parameters


def _aligned_zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Returns float32 zeros that begin where JAX on a CPU takes an array without a copy."""
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    buffer = np.zeros(size + _ALIGNMENT, np.uint8)
    begin = -buffer.ctypes.data % _ALIGNMENT
    return buffer[begin : begin + size].view(np.float32).reshape(shape)


def listed(items: list[str]) -> str:
    """Returns the first few of them, and how many more there are, for an error."""
    more = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def shapes_of_parts(config: ModelConfig, task: TaskConfig | None, parts: Iterable[str]) -> Parameters:
    """Returns the shapes of those parts that a model whose classifier is for `task` can have; nothing is computed."""
    shapes = parameter_shapes(LanguageModel, config) | parameter_shapes(PooledBackbone, config)
    if task is not None:
        shapes |= parameter_shapes(sequence_classifier, config, task)
    return {part: shapes[part] for part in parts if part in shapes}


def task_settings(task: TaskConfig) -> Settings:
    """Returns the settings of a classifier of whole sequences."""
    return {
        "problem_type": task.problem,
        "id2label": {str(number): label for number, label in enumerate(task.labels)},
        "label2id": {label: number for number, label in enumerate(task.labels)},
        "classifier_dropout": task.dropout,
        _OUR_SETTINGS: {"pooling": task.pooling, "strands": task.strands},
    }


def read_task(
    settings: Settings, shapes: Mapping[str, tuple[int, ...]], config: ModelConfig, family: Family, name: str
) -> TaskConfig | None:
    """Returns what the classifier predicts, None if the file has none.

    Raises:
        InputError: settings that no task can have, or tensors of no classifier.
    """
    last = next((layer for layer in (f"{family.last_layer}.weight", "classifier2.weight") if layer in shapes), None)
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
    dropout = config.dropout if settings.get("classifier_dropout") is None else settings["classifier_dropout"]
    record = {"problem": problem, "labels": [labels[place] for place in places], "dropout": dropout}
    if isinstance(ours := settings.get(_OUR_SETTINGS), dict):
        record |= ours
    record |= _for_long(settings, shapes, hidden)
    return parse_json(TaskConfig, json.dumps(record).encode(), name)


def _for_long(settings: Settings, shapes: Mapping[str, tuple[int, ...]], hidden: int) -> dict[str, Any]:
    """Returns the settings that make a task one of the original's for long sequences.

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
