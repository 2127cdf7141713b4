"""The families of DNA language models: one file each, which says all that is particular to it.

Nothing outside of this folder names a family.
"""

from collections.abc import Mapping

from dnabert_jax.config import ModelConfig, PretrainConfig
from dnabert_jax.families.dnabert import DNABERT
from dnabert_jax.families.family import Family

FAMILIES = (DNABERT,)

PRESETS: Mapping[str, PretrainConfig] = {name: preset for family in FAMILIES for name, preset in family.presets.items()}
"""Configurations of pre-training by name."""


def family_of(config: ModelConfig) -> Family:
    """Returns the family of a network."""
    del config  # there is one
    return DNABERT
