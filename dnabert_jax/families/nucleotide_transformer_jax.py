"""The release of Nucleotide Transformer for JAX: hyperparams.json, and Haiku's parameters in a joblib file.

Such a file is a pickle, which may hold code. It is read by an unpickler that makes arrays and dictionaries and refuses
everything else, so nothing in it is run.
"""

import collections
import importlib
import io
import math
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from dnabert_jax.errors import InputError, first_line
from dnabert_jax.families.family import OtherLayout, Settings
from dnabert_jax.typed_json import read_object

SETTINGS_FILE = "hyperparams.json"
_EPSILON = 1e-5
"""The epsilon of LayerNorm that the release computes with, Haiku's default; files for transformers say 1e-12."""

_MODULES = {
    "embed": "esm.embeddings.word_embeddings",
    "esm_learned_positional_embeddings/embed": "esm.embeddings.position_embeddings",
    "self_attention/query": "attention.self.query",
    "self_attention/key": "attention.self.key",
    "self_attention/value": "attention.self.value",
    "self_attention/mha_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "LayerNorm",
    "roberta_lm_head/emb_layer_norm_after": "esm.encoder.emb_layer_norm_after",
    "roberta_lm_head/lm_head_fc_1": "lm_head.dense",
    "roberta_lm_head/lm_head_layer_norm": "lm_head.layer_norm",
    "roberta_lm_head/lm_final_fc": "lm_head.decoder",
}
"""Names of Haiku's modules below the model, or below a layer, and what they are in the files for transformers."""

_OLD_MODULES = {"mha": "self_attention", "mha_layer_norm": "self_attention_layer_norm"}
_OLD_MODULES["esm_roberta_lm_head"] = "roberta_lm_head"

_MULTIARRAY = importlib.import_module("numpy._core.multiarray")
"""The module whose functions pickles of arrays name."""

_DAMAGE = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError,
           struct.error, TypeError, ValueError)  # fmt: skip
"""What an unpickler raises where bytes of a file are not what they were."""

_LEAVES = {"w": "weight", "b": "bias", "scale": "weight", "offset": "bias", "embeddings": "weight"}


def read_release(directory: Path) -> OtherLayout:
    """Reads the settings and the parameters, as the files for transformers have them.

    Raises:
        InputError: there is not one joblib file, it holds more than arrays, or a name or setting is unknown.
    """
    files = sorted(directory.glob("*.joblib"))
    if len(files) != 1:
        raise InputError(f"{directory} has {SETTINGS_FILE} and {len(files)} joblib files: one is needed.")
    tensors: dict[str, np.ndarray] = {}
    for module, leaves in read_arrays(files[0]).items():
        if not isinstance(leaves, dict):
            raise InputError(f"{files[0]} holds {module!r} as no dictionary of arrays, as parameters of Haiku are.")
        name = _module_name(str(module), files[0])
        for leaf, array in leaves.items():
            if leaf not in _LEAVES or not isinstance(array, np.ndarray):
                raise InputError(f"{files[0]} holds {module}/{leaf}, which is not a parameter of such a model.")
            tensors[f"{name}.{_LEAVES[leaf]}"] = array.T if leaf == "w" else array
    if "lm_head.decoder.bias" in tensors:
        tensors["lm_head.bias"] = tensors.pop("lm_head.decoder.bias")
    vocabulary = len(tensors.get("esm.embeddings.word_embeddings.weight", ()))
    return OtherLayout(_settings(read_object(directory / SETTINGS_FILE), vocabulary, tensors), files, tensors)


def _module_name(module: str, path: Path) -> str:
    """Returns the name in the files for transformers of a module of Haiku."""
    _, *parts = [_OLD_MODULES.get(part, part) for part in module.split("/") if part != "~"]
    layer = re.fullmatch(r"attention_layer_(\d+)", parts[0]) if parts else None
    known = _MODULES.get("/".join(parts[1:] if layer else parts))
    if known is None:
        raise InputError(f"{path} holds {module!r}, which is not a module of Nucleotide Transformer.")
    return f"esm.encoder.layer.{layer[1]}.{known}" if layer else known


def _settings(release: Settings, vocabulary: int, tensors: dict[str, np.ndarray]) -> Settings:
    for name, known in (("embed_scale", 1.0), ("masking_ratio", 0.15), ("masking_prob", 0.8), ("k_for_kmers", 6)):
        if release.get(name, known) != known:
            raise InputError(f"{SETTINGS_FILE} says {name} = {release[name]!r}: only {known:g} can be read.")
    rotary = bool(release.get("use_rotary_embedding", False))
    positions = tensors.get("esm.embeddings.position_embeddings.weight")
    return {
        "model_type": "esm",
        "vocab_size": vocabulary,
        "hidden_size": release.get("embed_dim"),
        "num_hidden_layers": release.get("num_layers"),
        "num_attention_heads": release.get("attention_heads"),
        "intermediate_size": release.get("ffn_embed_dim"),
        # The table has two rows more than positions, which a rotary model does not have.
        "max_position_embeddings": release.get("max_positions", 0) + 2 if positions is None else len(positions),
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": _EPSILON,
        "position_embedding_type": "rotary" if rotary else "absolute",
        "add_bias_fnn": release.get("add_bias_ffn", True),
        "emb_layer_norm_before": release.get("emb_layer_norm_before", False),
        "token_dropout": release.get("token_dropout", False),
        "tie_word_embeddings": False,
    }


class _Wrapper:
    """Describes an array whose bytes follow in a joblib file, as joblib.numpy_pickle.NumpyArrayWrapper does."""

    shape: tuple[int, ...]
    order: str
    dtype: np.dtype[Any]
    numpy_array_alignment_bytes: int | None = None

    def read(self, file: BinaryIO) -> np.ndarray:
        """Returns the array, whose bytes come next."""
        if self.dtype.hasobject:
            raise pickle.UnpicklingError("an array of objects")
        if self.numpy_array_alignment_bytes is not None:
            file.read(file.read(1)[0])
        content = file.read(self.dtype.itemsize * math.prod(self.shape))
        return np.frombuffer(content, self.dtype).reshape(self.shape, order="F" if self.order == "F" else "C")


def _array_of_jax(make: Callable[..., np.ndarray], arguments: Any, state: Any, _: Any) -> np.ndarray:
    array = make(*arguments)
    array.__setstate__(state)
    return array


class _ArrayUnpickler(pickle._Unpickler):
    """Makes arrays, numbers, texts and containers of them, and nothing else."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): _Wrapper,
        ("jax._src.array", "_reconstruct_array"): _array_of_jax,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): collections.OrderedDict,
        **{
            (f"numpy.{core}.multiarray", name): getattr(_MULTIARRAY, name)
            for core in ("core", "_core")
            for name in ("_reconstruct", "scalar")
        },
    }
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return self.allowed[module, name]

    def load_build(self) -> None:
        pickle._Unpickler.dispatch[pickle.BUILD[0]](self)  # type: ignore[arg-type]
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        if isinstance(stack[-1], _Wrapper):
            stack.append(stack.pop().read(self._file))

    dispatch[pickle.BUILD[0]] = load_build


def read_arrays(path: Path) -> dict[str, Any]:
    """Returns the dictionary of arrays in a joblib file; raises InputError if it holds anything else."""
    try:
        with path.open("rb") as file:
            contents = _ArrayUnpickler(io.BufferedReader(file)).load()
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than arrays ({first_line(error)}), which could run code, and was not read. Where you "
            "trust it, load it with joblib and save its parameters anew, as a dictionary of NumPy arrays."
        ) from error
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged or compressed ({first_line(error)}): download it again.") from error
    if not isinstance(contents, dict):
        raise InputError(f"{path} holds a {type(contents).__name__}, not the parameters of a model.")
    return contents
