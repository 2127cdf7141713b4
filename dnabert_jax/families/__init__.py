"""The families of DNA language models: one file each, which says what is particular to it."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from dnabert_jax.config import ModelConfig, PretrainConfig
from dnabert_jax.families.dnabert import Dnabert
from dnabert_jax.families.family import Family, Settings
from dnabert_jax.families.nucleotide_transformer import NucleotideTransformer
from dnabert_jax.sequence.tokenizer import Tokenizer

FAMILIES: list[Family] = [NucleotideTransformer(), Dnabert()]
"""The last one takes what no other recognises."""

PRESETS: Mapping[str, PretrainConfig] = {name: preset for family in FAMILIES for name, preset in family.presets.items()}
"""Configurations of pre-training by name."""

DEFAULT_PRESET = "dnabert6"

PresetName = Literal[tuple(PRESETS)]
"""The type of a flag that names a preset."""


def closest_preset(tokenizer: Tokenizer, like: ModelConfig | None = None) -> str:
    """Returns the name of a preset that reads the ids of a tokenizer, or of the default one if none does.

    It is the first one of its family, or the one that agrees with most fields of another network.
    """

    def agreeing(name: str) -> int:
        ours, theirs = (vars(config) for config in (PRESETS[name].model, like or PRESETS[name].model))
        return sum(ours[field.name] == theirs[field.name] for field in dataclasses.fields(ModelConfig))

    names = [name for name, preset in PRESETS.items() if preset.model.tokenizer == tokenizer]
    return max(names, key=agreeing, default=DEFAULT_PRESET)


def family_of(config: ModelConfig) -> Family:
    """Returns the family of a network, which its tokenizer tells."""
    return next(family for family in FAMILIES if family.tokens == config.tokens)


def family_of_settings(settings: Settings) -> Family:
    """Returns the family of a config.json; where none recognises it, the last one, which says what is wrong."""
    return next((family for family in FAMILIES if family.recognises(settings)), FAMILIES[-1])
