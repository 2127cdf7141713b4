"""Says what a family of DNA language models has of its own. Everything else is the same for all families."""

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

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


class Family(abc.ABC):
    """A family of models in the layout in which its authors published it.

    Attributes:
        title: its name in sentences.
        tag: its name in the metadata of model cards.
        tokens: the name of its tokenizer, which no other family has, in `sequence.tokenizers.TOKENIZERS`.
        presets: configurations of pre-training by name.
        tensors: the table of tensor names, read in both directions.
        prefix: of the backbone's names, which files of a bare encoder leave out.
        tied: tensors that repeat another one, and which.
        not_needed: tensors that no model here has, and why.
        architectures: the classes of transformers that load an exported directory.
    """

    title: ClassVar[str]
    tag: ClassVar[str]
    tokens: ClassVar[str]
    presets: ClassVar[Mapping[str, PretrainConfig]]
    tensors: ClassVar[tuple[Entry, ...]]
    prefix: ClassVar[str]
    tied: ClassVar[Mapping[str, str]] = {}
    not_needed: ClassVar[Mapping[str, str]] = {}
    architectures: ClassVar[Mapping[Architecture, str]]

    @abc.abstractmethod
    def recognises(self, settings: Settings) -> bool:
        """Returns whether a config.json is of this family."""

    @abc.abstractmethod
    def model_config(self, settings: Settings, directory: Path) -> ModelConfig:
        """Returns the network that the settings and the vocabulary of a directory describe.

        Raises:
            InputError: it is one that cannot be computed here, or the settings contradict the vocabulary.
        """

    @abc.abstractmethod
    def settings(self, config: ModelConfig) -> Settings:
        """Returns the settings of a network for the config.json of an exported directory."""

    @abc.abstractmethod
    def write_tokenizer(self, directory: Path, config: ModelConfig) -> None:
        """Writes the files of the tokenizer, which transformers loads."""

    @abc.abstractmethod
    def summary(self, config: ModelConfig) -> str:
        """Returns the sentence of the model card that says what the network is, and after whom."""

    @abc.abstractmethod
    def tokenizer_section(self, config: ModelConfig) -> str:
        """Returns the part of the model card that shows how to use the tokenizer."""

    def renamed(self, name: str) -> str:
        """Returns the name of today of a tensor of an old file."""
        return name

    @property
    def vocabulary_tensors(self) -> frozenset[str]:
        """The names of tensors whose first axis is the vocabulary."""
        names = {entry.name for entry in self.tensors if entry.vocabulary}
        return frozenset(names | {name for name, repeated in self.tied.items() if repeated in names})
