"""Writes a model as a directory that `transformers` loads with no code of its own."""

import json
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np

from dnabert_jax.errors import InputError, JobError, first_line
from dnabert_jax.extras import require_extra
from dnabert_jax.families import family_of
from dnabert_jax.families.family import Architecture
from dnabert_jax.interop.huggingface import task_settings, to_huggingface
from dnabert_jax.interop.model_card import model_card
from dnabert_jax.io.pictures import accompanying
from dnabert_jax.outputs import output_directory
from dnabert_jax.storage import Location, write_text
from dnabert_jax.training.saved_model import SavedModel

Format = Literal["safetensors", "pytorch", "both"]
Dtype = Literal["float32", "bfloat16", "float16"]

_PARTS: dict[Architecture, tuple[str, ...]] = {
    "masked-lm": ("backbone", "head"),
    "encoder": ("pooler", "backbone"),
    "classifier": ("backbone", "pooler", "classifier"),
}
"""The parts of a model that are exported if it has them; it must have the last one."""
_SAFETENSORS: dict[Dtype, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
_DTYPES: dict[Dtype, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


def architecture_of(model: SavedModel) -> Architecture:
    """Returns what the model is for: a classifier if it has one, else masked tokens, else the encoder alone."""
    for architecture in ("classifier", "masked-lm"):
        if _PARTS[architecture][-1] in model.parameters:
            return architecture
    return "encoder"


def export_model(
    model: SavedModel,
    out: Location,
    architecture: Architecture | None = None,
    file_format: Format = "safetensors",
    dtype: Dtype = "float32",
) -> Architecture:
    """Writes a directory that AutoModel loads, with tokenizer, model card and provenance; returns its architecture.

    Args:
        architecture: which of the model's heads; as `architecture_of` says if none is given.
        file_format: of the weights; pytorch needs PyTorch.
        dtype: of the weights; float32 is exact, the others round once.

    Raises:
        InputError: the model has no such head, `out` exists, PyTorch is needed and missing, or a weight is out of the
            range of float16.
        JobError: the disk is full.
    """
    description = model.description
    if description.task is not None and description.task.long != "none" and architecture in (None, "classifier"):
        raise InputError(
            "transformers has no model that puts pieces of a long sequence together: this model runs here alone; its "
            "encoder can be exported as architecture encoder."
        )
    architecture = architecture or architecture_of(model)
    if (needed := _PARTS[architecture][-1]) not in model.parameters:
        raise InputError(f"The model has no {needed}: it can be exported as {architecture_of(model)}.")
    if file_format != "safetensors":
        require_extra("huggingface", "Writing pytorch_model.bin", "torch", otherwise="export safetensors")
    parameters = {part: model.parameters[part] for part in _PARTS[architecture] if part in model.parameters}
    pools_kmers = description.task is not None and description.task.pooling != "cls"
    if architecture == "encoder" and pools_kmers:
        del parameters["pooler"]
    config, task, family = description.config, description.task, family_of(description.config)
    tensors, loaded_as = to_huggingface(parameters, config) | family.unused_tensors(config), architecture
    if architecture == "encoder" or (architecture == "classifier" and pools_kmers):
        # transformers' own classes of classifiers pool [CLS]: the encoder is loaded, and the card says what follows.
        tensors, loaded_as = {name.removeprefix(family.prefix): tensor for name, tensor in tensors.items()}, "encoder"
    settings = {"architectures": [family.architectures[loaded_as]], **family.settings(config)}
    if architecture == "classifier" and task is not None:
        settings |= task_settings(task)
    settings["torch_dtype"] = dtype
    with output_directory(out, "config.json") as directory:
        try:
            if file_format != "pytorch":
                _write_safetensors(directory / "model.safetensors", tensors, dtype)
            if file_format != "safetensors":
                _write_pickle(directory / "pytorch_model.bin", tensors, dtype)
        # What PyTorch raises when a file cannot be written; it does not say why.
        except RuntimeError as error:
            raise JobError(
                f"The weights could not be written to {out} ({first_line(error)}): is the disk full?"
            ) from error
        write_text(directory / "config.json", json.dumps(settings, indent=2) + "\n")
        family.write_tokenizer(directory, config)
        write_text(directory / "provenance.json", json.dumps(description.provenance, indent=2) + "\n")
        with accompanying(directory / "README.md"):
            write_text(directory / "README.md", model_card(model, architecture))
    return architecture


def _rounded(name: str, tensor: np.ndarray, dtype: Dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(tensor, _DTYPES[dtype])
    if dtype == "float16" and not np.isfinite(narrow).all():
        raise InputError(f"{name} has values that float16 cannot hold: export in bfloat16 or float32.")
    return narrow


def _write_safetensors(path: Path, tensors: dict[str, np.ndarray], dtype: Dtype) -> None:
    """Writes the bytes that safetensors' `save_file` writes: the header's size, the header, the tensors.

    `save_file` wants all tensors at once in C order, a second copy of the kernels: the peak memory of an export of 12
    layers of 768 was 1,050 MB with it, and is 870 MB here, where each tensor is copied for itself.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(tensors):
        begin, end = end, end + tensors[name].size * np.dtype(_DTYPES[dtype]).itemsize
        header[name] = {"dtype": _SAFETENSORS[dtype], "shape": tensors[name].shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            file.write(_rounded(name, tensors[name], dtype).view(np.uint8).data)


def _write_pickle(path: Path, tensors: dict[str, np.ndarray], dtype: Dtype) -> None:
    import torch

    # PyTorch cannot take NumPy's bfloat16, but its bits.
    bits = np.uint16 if dtype == "bfloat16" else _DTYPES[dtype]
    state = {}
    for name, tensor in tensors.items():
        narrow = np.require(_rounded(name, tensor, dtype), requirements="W")
        state[name] = torch.from_numpy(narrow.view(bits)).view(getattr(torch, dtype))
    torch.save(state, path)
