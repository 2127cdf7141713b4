"""Reads a Hugging Face directory into this project's parameters; every tensor is used or accounted for."""

import logging
from collections.abc import Container
from pathlib import Path

import numpy as np

from dnabert_jax.data.manifest import file_digest
from dnabert_jax.errors import InputError
from dnabert_jax.families import FAMILIES, family_of_settings
from dnabert_jax.families.family import Family
from dnabert_jax.interop.hub import local_directory
from dnabert_jax.interop.huggingface import (
    check_shapes,
    from_huggingface,
    listed,
    parts_of,
    read_task,
    shapes_of_parts,
    tensor_shapes,
)
from dnabert_jax.interop.weights import Weight, open_weights, weights_of
from dnabert_jax.training.saved_model import Description, SavedModel, is_saved_model, read_saved_model
from dnabert_jax.typed_json import read_object

_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "model")
"""Parts of names that DistributedDataParallel, torch.compile, FSDP, checkpointing and Lightning add to a model's."""

_LOG = logging.getLogger(__name__)


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
    model = load_directory(directory)
    for note in model.description.provenance["imported"]["notes"]:
        _LOG.warning("%s: %s", source, note)
    return model


def load_directory(directory: Path, double_bias: bool = False) -> SavedModel:
    """Reads config.json, the vocabulary and the weights of a directory.

    The provenance has the tensors that are left out, and why, as `left_out`, and as `notes` sentences on names that
    were changed and rows that were dropped.

    Args:
        double_bias: of the masked-LM head, for weights that the original's code trained: it adds that bias twice
            (BertLMPredictionHead of its src/transformers/modeling_bert.py), where all others add it once.

    Raises:
        InputError: something is missing, damaged, contradicts something else, or is of another architecture.
    """
    if not directory.is_dir():
        raise InputError(f"{directory} is not a directory.")
    other_layout = None
    if not (directory / "config.json").is_file():
        other_layout = next(filter(None, (family.read_other_layout(directory) for family in FAMILIES)), None)
        if other_layout is None:
            raise InputError(f"{directory} is not a Hugging Face directory: it has no config.json.")
    settings = other_layout.settings if other_layout else read_object(directory / "config.json")
    family = family_of_settings(settings)
    config = family.model_config(settings, directory)
    formats = [weights_of(other_layout)] if other_layout else open_weights(directory)
    sizes = settings["vocab_size"], family.published_size(config)
    (files, tensors, notes), *others = [
        (files, *_renamed(files[0], weights, family, *sizes)) for files, weights in formats
    ]
    for (other, *_), same, _ in others:
        _check_same(tensors, same, f"{files[0]} and {other.name}", family)
    if config.num_layers > len(tensors):
        raise InputError(f"{directory} has {len(tensors)} tensors, too few for num_hidden_layers {config.num_layers}.")
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    task = read_task(settings, shapes, config, family, str(directory / "config.json"))
    parts = parts_of(shapes, family)
    abstract = shapes_of_parts(config, task, parts)
    expected = tensor_shapes(abstract, config)
    left_out = _left_out(tensors, expected, family, directory)
    if task is not None and "pooler" not in parts:
        raise InputError(
            f"{directory} has a classifier and no pooler: only classifiers of whole sequences can be read."
        )
    try:
        check_shapes(shapes, expected)
        parameters = from_huggingface(lambda name: tensors[name].read(), abstract, config)
    except InputError as error:
        raise InputError(f"{directory}: {error}") from error
    if double_bias:
        if "head" not in parameters:
            raise InputError(f"{directory} has no masked-LM head whose bias could be doubled.")
        parameters["head"]["bias"] *= 2
    provenance = {
        "imported": {
            "directory": directory.resolve().name,
            "sha256": {path.name: file_digest(path) for path in files},
            "left_out": left_out,
            "notes": notes,
            "double_bias": double_bias,
            "provenance": read_object(written) if (written := directory / "provenance.json").is_file() else None,
        }
    }
    return SavedModel(Description(config, task, provenance), 0, parameters)


def _renamed(
    file: Path, weights: dict[str, Weight], family: Family, saved_rows: int, rows: int
) -> tuple[dict[str, Weight], list[str]]:
    """Returns the tensors by the names that transformers gives them today, without the rows beyond the vocabulary.

    And sentences on the parts that names lost and the rows that were dropped.
    """
    tensors: dict[str, Weight] = {}
    prefixes: set[str] = set()
    for name, weight in weights.items():
        parts = name.split(".")
        prefixes.update(f"{part}." for part in parts if part in _WRAPPERS)
        # Old files say gamma and beta, and those of a bare encoder leave out `bert.`.
        now = family.renamed(".".join(part for part in parts if part not in _WRAPPERS))
        # transformers has saved the bias of the head under either of its names.
        repeated = family.tied.get(now, "")
        if repeated.endswith(".bias") and repeated not in weights:
            now = repeated
        if now in tensors:
            raise InputError(f"{file} has {now} twice, as {tensors[now].name} and as {name}.")
        tensors[now] = weight
    notes = []
    if prefixes:
        listing = ", ".join(sorted(prefixes))
        notes.append(f"Names of tensors were read without {listing}, which a wrapper of the model added.")
    if saved_rows != rows:
        for name in tensors.keys() & family.vocabulary_tensors:
            count = tensors[name].shape[0] if tensors[name].shape else 0
            if count != saved_rows:
                raise InputError(f"{file}: {name} has {count} rows, but config.json vocab_size {saved_rows}.")
            tensors[name] = _first_rows(tensors[name], rows)
        notes.append(
            f"Rows {rows} to {saved_rows - 1} of the vocabulary (padding or added tokens) were dropped: the model does "
            "not use them."
        )
    return tensors, notes


def _first_rows(weight: Weight, rows: int) -> Weight:
    return Weight(weight.name, (rows, *weight.shape[1:]), lambda: weight.read()[:rows])


def _check_same(tensors: dict[str, Weight], others: dict[str, Weight], files: str, family: Family) -> None:
    """Raises InputError unless two weight files of one directory hold the same."""
    for name in sorted(tensors.keys() ^ others.keys()):
        # One of them may repeat what is tied.
        if family.why_not_needed(name) is None and name not in family.tied:
            raise InputError(f"{files} disagree: {name} is in one of them only. Remove the wrong one.")
    for name in sorted(tensors.keys() & others.keys()):
        if not np.array_equal(tensors[name].read(), others[name].read()):
            raise InputError(f"{files} disagree on {name}: remove the wrong one.")


def _left_out(tensors: dict[str, Weight], expected: Container[str], family: Family, directory: Path) -> dict[str, str]:
    """Returns why each other tensor is not needed, by its name in the file.

    Raises:
        InputError: a tensor cannot be accounted for.
    """
    left_out, unknown = {}, []
    for name, tensor in tensors.items():
        if name in expected:
            continue
        if reason := family.why_not_needed(name):
            left_out[tensor.name] = reason
        elif name in family.tied:
            same = family.tied[name]
            if same not in tensors or not np.array_equal(tensor.read(), tensors[same].read()):
                raise InputError(f"{directory}: {name} is not {same}, which it must repeat: the model here ties them.")
            left_out[tensor.name] = f"{same} once more"
        else:
            unknown.append(tensor.name)
    if unknown:
        raise InputError(f"{directory} has tensors that no {family.title} of its config.json has: {listed(unknown)}.")
    return left_out
