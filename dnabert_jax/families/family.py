"""Says what a family of DNA language models has of its own. Everything else is the same for all families."""

import abc
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import Int64

from dnabert_jax.config import MaskingConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.errors import InputError

Architecture = Literal["masked-lm", "encoder", "classifier"]
Settings = dict[str, Any]
"""The contents of the config.json of a published directory."""

EXAMPLE = "ACGTTGCAAGCT"
"""The sequence in the examples of model cards."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor of a published file and the parameter that it is.

    Entries of one name whose parameters a model has share the first axis of the tensor in equal parts, in their order.

    Attributes:
        name: in the file; `{layer}` stands for the number of a layer.
        path: of the parameter, from the part of the model on.
        kernel: whether the file has it transposed, as PyTorch's Linear keeps (out, in).
        vocabulary: whether its first axis is the vocabulary, which is padded here and may have other ids.
        skip: rows of the file before its first one, which no model uses.
    """

    name: str
    path: str
    kernel: bool = False
    vocabulary: bool = False
    skip: int = 0

    @property
    def model_part(self) -> str:
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


_LARGEST = 2**20
"""The largest number of a setting, below which the shapes that follow can be computed and compared with the file's."""


SIZES = {
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_positions",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "layer_norm_eps": "layer_norm_epsilon",
    "initializer_range": "initializer_range",
}
"""The field of `ModelConfig` of each number in a config.json of transformers."""


def read_sizes(settings: Settings, path: Path, max_positions: int) -> dict[str, Any]:
    """Returns the numbers of a config.json by their fields of `ModelConfig`.

    What a file does not give has the default of transformers, which is that of `ModelConfig` too.

    Args:
        path: of the file, for errors.
        max_positions: the default of max_position_embeddings.

    Raises:
        InputError: one is not such a number, or too large.
    """
    values = {}
    for key, field in SIZES.items():
        default = max_positions if field == "max_positions" else getattr(ModelConfig, field)
        value = settings.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float) if isinstance(default, float) else int):
            raise InputError(f"{path} says {key} = {value!r}: that must be a number like {default}.")
        if value > _LARGEST:
            raise InputError(f"{path} says {key} = {value}: that must be at most {_LARGEST}.")
        values[field] = type(default)(value)
    return values


def tiny_recipe(model: ModelConfig, masking: MaskingConfig) -> PretrainConfig:
    """Returns the pre-training of a model of two layers of 64, which learns in minutes on two CPU cores."""
    return PretrainConfig(
        model=dataclasses.replace(
            model,
            hidden_size=64,
            num_layers=2,
            num_heads=2,
            intermediate_size=256,
            max_positions=512,
            dropout=0.0,
            attention_dropout=0.0,
            initializer_range=0.04,
            initializer="mimetic",
        ),
        masking=masking,
        optimizer=OptimizerConfig(peak_learning_rate=4e-3, warmup_steps=100, schedule_steps=1800),
        global_batch=8,
        steps=1600,
        log_every=20,
        evaluate_every=200,
        evaluation_rows=256,
        checkpoint_every=400,
    )


class OtherLayout(NamedTuple):
    """A model in another layout than that of transformers, brought into it.

    Attributes:
        settings: what its config.json would say.
        files: that have the weights.
        tensors: by their names in the files for transformers.
    """

    settings: Settings
    files: list[Path]
    tensors: dict[str, np.ndarray]


class Family(abc.ABC):
    """A family of models in the layout in which its authors published it.

    Attributes:
        title: its name in sentences.
        tag: its name in the metadata of model cards.
        tokens: the name of its tokenizer, which no other family has, in `sequence.tokenizers.TOKENIZERS`.
        presets: configurations of pre-training by name, the one to suggest first.
        tensors: the table of tensor names, read in both directions.
        prefix: of the backbone's names, which files of a bare encoder leave out.
        tied: tensors that repeat another one, and which.
        not_needed: tensors that no model here has, and why; `{layer}` stands for the number of a layer.
        licence: of published weights and of all that is derived from them, in the metadata of model cards; empty if
            it binds nothing derived.
        last_layer: the name of the tensors of a classifier's last layer.
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
    licence: ClassVar[str] = ""
    last_layer: ClassVar[str] = "classifier"
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

    def load_arguments(self, config: ModelConfig) -> str:
        """Returns what follows the directory where transformers loads it, from a comma on."""
        return ""

    def renamed(self, name: str) -> str:
        """Returns the name of today of a tensor of an old file."""
        return name

    def read_other_layout(self, directory: Path) -> OtherLayout | None:
        """Returns a model of another published layout than that of transformers; None if the directory has none."""
        return None

    def published_ids(self, config: ModelConfig) -> Int64[np.ndarray, " V"]:
        """Returns the published id of each id here, -1 for one that the publisher does not have."""
        return np.arange(config.vocabulary_size)

    def published_size(self, config: ModelConfig) -> int:
        """Returns the number of published ids."""
        return config.vocabulary_size

    def unused_tensors(self, config: ModelConfig) -> dict[str, np.ndarray]:
        """Returns tensors that no model here has, but that the publisher's classes ask for."""
        return {}

    def why_not_needed(self, name: str) -> str | None:
        """Returns why a tensor of a published file is not needed; None if it is, or is not of the family."""
        return self.not_needed.get(re.sub(r"\.\d+\.", ".{layer}.", name))

    @property
    def vocabulary_tensors(self) -> frozenset[str]:
        """The names of tensors whose first axis is the vocabulary."""
        names = {entry.name for entry in self.tensors if entry.vocabulary}
        return frozenset(names | {name for name, repeated in self.tied.items() if repeated in names})
