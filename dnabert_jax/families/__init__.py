"""The families of DNA language models: one file each, which says what is particular to it."""

from collections.abc import Mapping
from typing import Literal

from dnabert_jax.config import ModelConfig, PretrainConfig
from dnabert_jax.families.dnabert import DNABERT
from dnabert_jax.families.family import Family
from dnabert_jax.sequence.tokenizer import Tokenizer

FAMILIES = (DNABERT,)

PRESETS: Mapping[str, PretrainConfig] = {name: preset for family in FAMILIES for name, preset in family.presets.items()}
"""Configurations of pre-training by name."""

DEFAULT_PRESET = "dnabert6"

PresetName = Literal[tuple(PRESETS)]
"""The type of a flag that names a preset."""


def closest_preset(tokenizer: Tokenizer) -> str:
    """Returns the name of the largest preset that reads the ids of a tokenizer, or of the default one if none does."""
    names = [name for name, preset in PRESETS.items() if preset.model.tokenizer == tokenizer]
    return max(names, key=lambda name: PRESETS[name].model.hidden_size, default=DEFAULT_PRESET)


def family_of(_: ModelConfig) -> Family:
    """Returns the family of a network; there is one so far."""
    return DNABERT
