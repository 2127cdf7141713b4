"""Weight files in Hugging Face's layout, read tensor by tensor; nothing in them is executed.

`model.safetensors` and `pytorch_model.bin`, whole or in parts with an index. Safetensors need no PyTorch; a .bin is a
pickle, and PyTorch's weights-only loader reads it, which makes tensors and calls nothing.
"""

import functools
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors

from dnabert_jax.errors import InputError, first_line
from dnabert_jax.extras import require_extra
from dnabert_jax.families.family import OtherLayout
from dnabert_jax.typed_json import read_object

_SAFETENSORS, _PICKLE = "model.safetensors", "pytorch_model.bin"
_INDEX = ".index.json"
_ADAPTER = "adapter_config.json"
_SAFE_TORCH = (2, 6)
"""Before it, the weights-only loader could be made to run code (CVE-2025-32434)."""

_TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
"""Of safetensors that NumPy and ml_dtypes have. What is no weight, position numbers say, may be integers."""

_DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    struct.error, TypeError, ValueError,
)  # fmt: skip
"""What PyTorch's weights-only loader raises where bytes of a file are not what they were."""


class Weight(NamedTuple):
    """A tensor by its name in a file; `read` returns it in the type it is stored in, 16-bit ones as float32."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def _read_files(files: list[Path]) -> tuple[list[Path], dict[str, Weight]]:
    weights: dict[str, Weight] = {}
    for path in files:
        for weight in _pickled(path) if path.suffix == ".bin" else _safetensors(path):
            if weight.name in weights:
                raise InputError(f"{path} has {weight.name} once more, which another part of the same model has.")
            weights[weight.name] = weight
    return files, weights


def weights_of(layout: OtherLayout) -> tuple[list[Path], dict[str, Weight]]:
    """Returns the weights of a model that a family has read."""

    def weight(name: str, array: np.ndarray) -> Weight:
        # 16-bit numbers as all others.
        return Weight(name, array.shape, lambda: array.astype(np.float32))

    return layout.files, {name: weight(name, array) for name, array in layout.tensors.items()}


def _safetensors(path: Path) -> Iterator[Weight]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            stored = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or no safetensors file ({error}): get it anew.") from error
    for name, (kind, shape) in stored.items():
        if kind not in _TYPES:
            raise InputError(f"{path} has {name} as {kind}: weights of 16 bits or more can be read.")
        yield Weight(name, shape, functools.partial(_read_safetensor, path, name))


def _read_safetensor(path: Path, name: str) -> np.ndarray:
    # Opened for each: what was read of a file that stays open stays in memory, all of it in the end.
    with safetensors.safe_open(path, framework="numpy") as file:
        array = file.get_tensor(name)
    return array.astype(np.float32) if array.dtype in (ml_dtypes.bfloat16, np.float16) else array


def _read_torch(tensor: Any) -> np.ndarray:
    narrow = tensor.is_floating_point() and tensor.dtype.itemsize < np.dtype(np.float32).itemsize
    return (tensor.float() if narrow else tensor).numpy()


def _pickled(path: Path) -> Iterator[Weight]:
    require_extra("huggingface", f"Reading {path}", "torch", otherwise="get the weights as model.safetensors")
    import torch

    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _SAFE_TORCH:
        raise InputError(f"PyTorch {torch.__version__} can run code that {path} may hold: install 2.6 or newer.")
    try:
        with warnings.catch_warnings():
            # Of a file that may be damaged: the errors below say all.
            warnings.simplefilter("ignore")
            # Only the newer of its two formats can be mapped.
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors, or is damaged, and was not loaded: what a pickle holds may run code. "
            "Get the weights as safetensors, or from who made them."
        ) from error
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged or no PyTorch weights ({first_line(error)}): get it anew.") from error
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and torch.is_tensor(tensor) and _is_plain(tensor) for name, tensor in tensors.items()
    ):
        raise InputError(f"{path} holds other things than named, dense tensors: save the model's state_dict() alone.")
    for name, tensor in tensors.items():
        yield Weight(name, tuple(tensor.shape), functools.partial(_read_torch, tensor.detach()))


def _is_plain(tensor: Any) -> bool:
    """Returns whether the file has each number of it: a few bytes can be a tensor of any size that repeats them."""
    return (
        str(tensor.layout) == "torch.strided"
        and tensor.device.type == "cpu"
        and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
        and tensor.nbytes <= tensor.untyped_storage().nbytes()
    )


def open_weights(directory: Path) -> list[tuple[list[Path], dict[str, Weight]]]:
    """Returns the weight files of a directory and their tensors by name, once for each format.

    Safetensors come first, whole files before those in parts.
    """
    formats = []
    for name in (_SAFETENSORS, _PICKLE):
        if (directory / name).is_file():
            formats.append(_read_files([directory / name]))
        if (directory / (name + _INDEX)).is_file():
            formats.append(_read_files(_parts(directory / (name + _INDEX))))
    if not formats and (directory / _ADAPTER).is_file():
        raise InputError(
            f"{directory} has the adapter of a model ({_ADAPTER}), not a model: merge the two with peft's "
            "merge_and_unload() and save the result."
        )
    if not formats:
        raise InputError(
            f"{directory} has no weights: {_SAFETENSORS} or {_PICKLE} is needed, whole or in parts with an index."
        )
    return formats


def _parts(index: Path) -> list[Path]:
    try:
        parts = sorted(set(read_object(index)["weight_map"].values()))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index} is no index of weight files.") from error
    # What is not by name in the directory, but above it say, is not there.
    present = {path.name for path in index.parent.iterdir() if path.is_file()}
    for part in parts:
        if part not in present:
            raise InputError(f"{index} names {part!s:.80}, which is not in {index.parent}.")
    return [index.parent / part for part in parts]
