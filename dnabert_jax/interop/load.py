"""Reads a Hugging Face directory into this project's parameters; every tensor is used or accounted for."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from dnabert_jax.data.manifest import file_digest
from dnabert_jax.errors import InputError
from dnabert_jax.families import family_of_settings
from dnabert_jax.families.family import Family
from dnabert_jax.interop.hub import local_directory
from dnabert_jax.interop.huggingface import (
    check_shapes,
    from_huggingface,
    listed,
    parts_of,
    shapes_of_parts,
    tensor_names,
)
from dnabert_jax.interop.task_settings import read_task
from dnabert_jax.interop.weights import WeightFiles, open_weights
from dnabert_jax.training.saved_model import Description, SavedModel, is_saved_model, read_saved_model
from dnabert_jax.typed_json import read_object

_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "model")
"""Parts of names that DistributedDataParallel, torch.compile, FSDP, checkpointing and Lightning add to a model's."""

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model and what became of the tensors of its file.

    Attributes:
        used: number of tensors of the file that became parameters.
        left_out: name in the file -> why it is not needed.
        notes: sentences about names that were changed and rows that were dropped.
    """

    model: SavedModel
    used: int
    left_out: dict[str, str]
    notes: tuple[str, ...]


def read_model(source: str | Path, step: int | None = None) -> SavedModel:
    """Reads a model from wherever it is; names that are changed and rows that are dropped are logged.

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
    loaded = load_directory(directory)
    for note in loaded.notes:
        _LOG.warning("%s: %s", source, note)
    return loaded.model


def load_directory(directory: Path, double_bias: bool = False) -> Loaded:
    """Reads config.json, the vocabulary and the weights of a directory.

    Args:
        double_bias: of the masked-LM head, for weights that the original's code trained: it adds that bias twice
            (BertLMPredictionHead of its src/transformers/modeling_bert.py), where all others add it once.

    Raises:
        InputError: something is missing, damaged, contradicts something else, or is of another architecture.
    """
    if not directory.is_dir():
        raise InputError(f"{directory} is not a directory.")
    if not (directory / "config.json").is_file():
        raise InputError(f"{directory} is not a Hugging Face directory: it has no config.json.")
    settings = read_object(directory / "config.json")
    family = family_of_settings(settings)
    config = family.model_config(settings, directory)
    formats = [
        _Renamed(files, family, settings["vocab_size"], config.vocabulary_size) for files in open_weights(directory)
    ]
    tensors, *others = formats
    for other in others:
        _check_same(tensors, other)
    if config.num_layers > len(tensors):
        raise InputError(f"{directory} has {len(tensors)} tensors, too few for num_hidden_layers {config.num_layers}.")
    task = read_task(settings, tensors.shapes, config, str(directory / "config.json"))
    parts = parts_of(tensors.shapes, family)
    abstract = shapes_of_parts(config, task, parts)
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
    notes = tensors.notes()
    provenance = {
        "imported": {
            "directory": directory.resolve().name,
            "sha256": {path.name: file_digest(path) for path in tensors.files},
            "left_out": left_out,
            "notes": notes,
            "double_bias": double_bias,
            "provenance": read_object(written) if (written := directory / "provenance.json").is_file() else None,
        }
    }
    model = SavedModel(Description(config, task, provenance), 0, parameters)
    return Loaded(model, len(tensors) - len(left_out), left_out, tuple(notes))


class _Renamed(Mapping[str, np.ndarray]):
    """Tensors under the names that transformers gives them today, without the rows beyond the vocabulary."""

    def __init__(self, files: WeightFiles, family: Family, saved_size: int, vocabulary_size: int):
        self.files, self.family = files.files, family
        self._files = files
        self._saved_rows, self._rows = saved_size, vocabulary_size
        self.in_file: dict[str, str] = {}
        self.prefixes: set[str] = set()
        for name in files:
            now = self._current_name(name)
            # transformers has saved the bias of the head under either of its names.
            repeated = family.tied.get(now, "")
            if repeated.endswith(".bias") and repeated not in files:
                now = repeated
            if now in self.in_file:
                raise InputError(f"{files.files[0]} has {now} twice, as {self.in_file[now]} and as {name}.")
            self.in_file[now] = name
        self.shapes = {name: files.shapes[old] for name, old in self.in_file.items()}
        for name in self.shapes.keys() & family.vocabulary_tensors if saved_size != vocabulary_size else ():
            rows, *width = self.shapes[name] or (0,)
            if rows != saved_size:
                raise InputError(f"{files.files[0]}: {name} has {rows} rows, but config.json vocab_size {saved_size}.")
            self.shapes[name] = (vocabulary_size, *width)

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self._files[self.in_file[name]]
        return tensor[: self._rows] if name in self.family.vocabulary_tensors else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.in_file)

    def __len__(self) -> int:
        return len(self.in_file)

    def notes(self) -> list[str]:
        """Returns sentences on the parts that names lost and the rows that were dropped."""
        notes = []
        if parts := ", ".join(sorted(self.prefixes)):
            notes.append(f"Names of tensors were read without {parts}, which a wrapper of the model added.")
        if self._saved_rows > self._rows:
            rows = f"Rows {self._rows} to {self._saved_rows - 1}"
            notes.append(
                f"{rows} of the vocabulary (padding or added tokens) were dropped: the model does not use them."
            )
        return notes

    def _current_name(self, name: str) -> str:
        """Returns a name without wrappers; old files say gamma and beta, those of a bare encoder leave out `bert.`."""
        parts = name.split(".")
        self.prefixes.update(f"{part}." for part in parts if part in _WRAPPERS)
        name = ".".join(part for part in parts if part not in _WRAPPERS)
        return self.family.renamed(name)


def _check_same(tensors: _Renamed, other: _Renamed) -> None:
    """Raises InputError unless two weight files of one directory hold the same."""
    here, there = tensors.files[0], other.files[0]
    for name in sorted(tensors.keys() ^ other.keys()):
        # One of them may repeat what is tied.
        if name not in tensors.family.not_needed and name not in tensors.family.tied:
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
        if name in tensors.family.not_needed:
            left_out[tensors.in_file[name]] = tensors.family.not_needed[name]
        elif name in tensors.family.tied:
            left_out[tensors.in_file[name]] = _tied(tensors, name, directory)
        else:
            unknown.append(tensors.in_file[name])
    if unknown:
        raise InputError(
            f"{directory} has tensors that no {tensors.family.title} of its config.json has: {listed(unknown)}."
        )
    return left_out


def _tied(tensors: _Renamed, name: str, directory: Path) -> str:
    """Returns why a tensor is not needed: it is another one once more."""
    same = tensors.family.tied[name]
    if same not in tensors or not np.array_equal(tensors[name], tensors[same]):
        raise InputError(f"{directory}: {name} is not {same}, which it must repeat: the model here ties them.")
    return f"{same} once more"
