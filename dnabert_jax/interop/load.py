"""A Hugging Face directory of a DNABERT, read into this project's parameters: every tensor used or accounted for."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.interop.hub import local_directory
from dnabert_jax.interop.huggingface import (
    abstract_parameters,
    check_shapes,
    from_huggingface,
    listed,
    parts_of,
    tensor_names,
)
from dnabert_jax.interop.huggingface_config import model_config, read_config_file, read_task
from dnabert_jax.interop.tokenizer import read_k
from dnabert_jax.interop.weights import WeightFiles, open_weights
from dnabert_jax.sequence.vocabulary import MAX_K, vocabulary_size
from dnabert_jax.training.saved_model import Description, SavedModel, is_saved_model, read_saved_model
from dnabert_jax.typed_json import read_object

_DECODER = "cls.predictions.decoder"
_BIAS = "cls.predictions.bias"
_EMBEDDING = "bert.embeddings.word_embeddings.weight"
_NOT_NEEDED = {
    "bert.embeddings.position_ids": "the numbers of the positions, which need no tensor",
    "cls.seq_relationship.weight": "the head of next-sentence prediction, which DNABERT was not trained for",
    "cls.seq_relationship.bias": "the head of next-sentence prediction, which DNABERT was not trained for",
}
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What was read.

    Attributes:
        model: ready to be saved.
        used: tensors of the file that became parameters.
        left_out: name in the file -> why it is not needed.
    """

    model: SavedModel
    used: int
    left_out: dict[str, str]


def read_model(source: str | Path, step: int | None = None) -> SavedModel:
    """A model from wherever it is.

    Args:
        source: a run directory, a model directory, a Hugging Face directory, or OWNER/NAME of a repository on the
            Hugging Face hub.
        step: which checkpoint of a run; the latest if none is given.

    Raises:
        InputError: it is none of these, has no such step, or is damaged.
        JobError: the hub cannot be reached.
    """
    directory = local_directory(source)
    if is_saved_model(directory):
        return read_saved_model(directory, step)
    if step is not None:
        raise InputError(f"{source} has no steps: leave out step = {step}.")
    return load_directory(directory).model


def load_directory(directory: Path, double_bias: bool = False) -> Loaded:
    """Reads config.json, the vocabulary and the weights of a directory.

    Args:
        directory: to read.
        double_bias: of the masked-LM head, for weights that the original's code trained: it adds that bias twice
            (BertLMPredictionHead of its src/transformers/modeling_bert.py), where all others add it once.

    Raises:
        InputError: something is missing, damaged, contradicts something else, or is of another architecture.
    """
    if not directory.is_dir():
        raise InputError(f"{directory} is no directory.")
    settings = read_config_file(directory)
    k = _read_k(directory, settings)
    config = model_config(settings, k, str(directory / "config.json"))
    formats = [_Renamed(files) for files in open_weights(directory)]
    tensors, *others = formats
    for other in others:
        _check_same(tensors, other)
    if config.num_layers > len(tensors):
        raise InputError(f"{directory} has {len(tensors)} tensors, too few for num_hidden_layers {config.num_layers}.")
    task = read_task(settings, tensors.shapes, str(directory / "config.json"))
    parts = parts_of(tensors.shapes)
    abstract = abstract_parameters(config, task, parts)
    left_out = _left_out(tensors, tensor_names(abstract, config), directory)
    if task is not None and "pooler" not in parts:
        raise InputError(
            f"{directory} has a classifier and no pooler: only classifiers of whole sequences can be read."
        )
    try:
        check_shapes(tensors.shapes, abstract, config)
        parameters = from_huggingface(tensors, abstract, config)
    except InputError as error:
        raise InputError(f"{directory}: {error}") from error
    if double_bias:
        if "head" not in parameters:
            raise InputError(f"{directory} has no masked-LM head whose bias could be doubled.")
        parameters["head"]["bias"] *= 2
    provenance = {
        "imported": {
            "directory": directory.resolve().name,
            "sha256": {path.name: _digest(path) for path in tensors.files},
            "left_out": left_out,
            "double_bias": double_bias,
            "provenance": _own_provenance(directory),
        }
    }
    model = SavedModel(Description(config, task, provenance), 0, parameters)
    return Loaded(model, len(tensors) - len(left_out), left_out)


class _Renamed(Mapping[str, np.ndarray]):
    """Tensors under the names that transformers gives them today, whatever the file calls them."""

    def __init__(self, files: WeightFiles):
        self.files = files.files
        self._files = files
        self.in_file: dict[str, str] = {}
        for name in files:
            now = _current_name(name)
            if now == f"{_DECODER}.bias" and _BIAS not in files:
                now = _BIAS
            if now in self.in_file:
                raise InputError(f"{files.files[0]} has {now} twice, as {self.in_file[now]} and as {name}.")
            self.in_file[now] = name
        self.shapes = {name: files.shapes[old] for name, old in self.in_file.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._files[self.in_file[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.in_file)

    def __len__(self) -> int:
        return len(self.in_file)


def _current_name(name: str) -> str:
    """Old files say gamma and beta; those of a bare encoder leave out `bert.`"""
    for old, new in _OLD_NAMES.items():
        name = name.replace(old, new)
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


def _check_same(tensors: _Renamed, other: _Renamed) -> None:
    """Raises InputError unless two weight files of one directory hold the same."""
    here, there = tensors.files[0], other.files[0]
    for name in sorted(tensors.keys() ^ other.keys()):
        # One of them may repeat what is tied.
        if name not in _NOT_NEEDED and not name.startswith(_DECODER):
            raise InputError(f"{here} and {there.name} disagree: {name} is in one of them only. Remove the wrong one.")
    for name in sorted(tensors.keys() & other.keys()):
        if not np.array_equal(tensors[name], other[name]):
            raise InputError(f"{here} and {there.name} disagree on {name}: remove the wrong one.")


def _left_out(tensors: _Renamed, known: set[str], directory: Path) -> dict[str, str]:
    """What is not needed, by its name in the file; raises InputError for what cannot be accounted for."""
    left_out, unknown = {}, []
    for name in tensors:
        if name in known:
            continue
        if name in _NOT_NEEDED:
            left_out[tensors.in_file[name]] = _NOT_NEEDED[name]
        elif name in (f"{_DECODER}.weight", f"{_DECODER}.bias"):
            left_out[tensors.in_file[name]] = _tied(tensors, name, directory)
        else:
            unknown.append(tensors.in_file[name])
    if unknown:
        raise InputError(f"{directory} has tensors that no BERT of its config.json has: {listed(unknown)}.")
    return left_out


def _tied(tensors: _Renamed, name: str, directory: Path) -> str:
    """Why the decoder is not needed: it is the embedding, or the bias, once more."""
    same = _EMBEDDING if name.endswith("weight") else _BIAS
    if same not in tensors or not np.array_equal(tensors[name], tensors[same]):
        raise InputError(f"{directory}: {name} is not {same}, which it must repeat: the model here ties them.")
    return f"{same} once more"


def _read_k(directory: Path, settings: dict[str, Any]) -> int:
    """k of the vocabulary; without a vocabulary file, of its size."""
    k = read_k(directory)
    if k is not None:
        return k
    size = settings.get("vocab_size")
    k = next((k for k in range(1, MAX_K + 1) if vocabulary_size(k) == size), None)
    if k is None:
        raise InputError(
            f"{directory / 'config.json'} says vocab_size = {size!r}: a vocabulary of k-mers has 4**k + 5 tokens."
        )
    return k


def _own_provenance(directory: Path) -> dict[str, Any] | None:
    """What this project wrote when it exported the directory, if it did."""
    path = directory / "provenance.json"
    return read_object(path) if path.is_file() else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
