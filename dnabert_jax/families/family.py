"""Describes a family of DNA language models as data. Everything else is the same for all families."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from dnabert_jax.config import ModelConfig, PretrainConfig

Architecture = Literal["masked-lm", "encoder", "classifier"]
Settings = dict[str, Any]
"""The contents of the config.json of a published directory."""

EXAMPLE = "ACGTTGCAAGCT"
"""The sequence in the examples of model cards."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor of a published file and the parameter that it is.

    Attributes:
        name: in the file; `{layer}` stands for the number of a layer.
        path: of the parameter, from the part of the model on.
        kernel: whether the file has it transposed, as PyTorch's Linear keeps (out, in).
        vocabulary: whether its first axis is the vocabulary, which is padded here.
    """

    name: str
    path: str
    kernel: bool = False
    vocabulary: bool = False

    @property
    def part(self) -> str:
        return self.path.partition(".")[0]

    @property
    def per_layer(self) -> bool:
        return "{layer}" in self.name


def dense(name: str, path: str) -> tuple[Entry, Entry]:
    """Returns the two tensors of a torch.nn.Linear."""
    return Entry(f"{name}.weight", f"{path}.kernel", kernel=True), Entry(f"{name}.bias", f"{path}.bias")


def norm(name: str, path: str) -> tuple[Entry, Entry]:
    """Returns the two tensors of a torch.nn.LayerNorm."""
    return Entry(f"{name}.weight", f"{path}.scale"), Entry(f"{name}.bias", f"{path}.bias")


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of models in the layout in which its authors published it.

    Attributes:
        title: its name in sentences.
        presets: configurations of pre-training by name.
        tensors: the table of tensor names, read in both directions.
        prefix: of the encoder's names, which files of a bare encoder leave out.
        tied: tensors that repeat another one, and which.
        not_needed: tensors that no model here has, and why.
        renamed: gives the name of today to a tensor of an old file.
        architectures: the classes of transformers that load an exported directory.
        read_settings: reads config.json; raises InputError if it is of another architecture.
        model_config: the network that the settings and the vocabulary of a directory describe.
        settings: returns the settings of the network for the config.json of an exported directory.
        write_tokenizer: writes the files of the tokenizer, which transformers loads.
        tokenizer_section: the part of the model card that shows how to use them.
    """

    title: str
    presets: Mapping[str, PretrainConfig]
    tensors: tuple[Entry, ...]
    prefix: str
    tied: Mapping[str, str]
    not_needed: Mapping[str, str]
    renamed: Callable[[str], str]
    architectures: Mapping[Architecture, str]
    read_settings: Callable[[Path], Settings]
    model_config: Callable[[Settings, Path], ModelConfig]
    settings: Callable[[ModelConfig], Settings]
    write_tokenizer: Callable[[Path, ModelConfig], None]
    tokenizer_section: Callable[[ModelConfig], str]

    @property
    def vocabulary_tensors(self) -> frozenset[str]:
        """The names of tensors whose first axis is the vocabulary."""
        names = {entry.name for entry in self.tensors if entry.vocabulary}
        return frozenset(names | {name for name, repeated in self.tied.items() if repeated in names})
