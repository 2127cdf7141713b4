"""Commands that take a whole configuration: which one they start from, and any field of it as a flag."""

import dataclasses
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from dnabert_jax.config import PretrainConfig
from dnabert_jax.errors import InputError
from dnabert_jax.presets import PRESETS
from dnabert_jax.typed_json import read_json
from launch.flags import REGISTRY, SETTINGS

_Job = TypeVar("_Job")

_SPELT_ALIKE = 0.8
"""Similarity of a mistyped flag to the right one; that of --process to --preset is 0.7."""


@dataclasses.dataclass(frozen=True)
class _StartingPoint:
    """The flags that say which configuration the others override."""

    preset: str | None = None
    config: Path | None = None
    resume: bool = False
    out: Path | None = None

    def read(self) -> PretrainConfig:
        """Returns that configuration; raises InputError if none is named, or two are."""
        if self.preset and self.config:
            raise InputError("Give --preset or --config, not both: each is a whole configuration to start from.")
        saved = self.out / "config.json" if self.resume and self.out else None
        path = self.config or (saved if saved and saved.is_file() and not self.preset else None)
        if path:
            return read_json(PretrainConfig, path)
        if self.preset is None:
            raise InputError(f"Choose a configuration: --preset {'|'.join(PRESETS)}, or --config RUN/config.json.")
        if self.preset not in PRESETS:
            raise InputError(f"There is no preset {self.preset!r}: choose one of {', '.join(PRESETS)}.")
        return PRESETS[self.preset]


def parse_with_settings(job: Callable[[PretrainConfig], _Job], program: str, arguments: Sequence[str]) -> _Job:
    """Parses in two passes: the first finds the configuration whose fields are the defaults of the second.

    Args:
        job: makes a job, a dataclass, with this configuration; what must be given is tyro.MISSING.
    """
    wants_help = bool({"-h", "--help"} & set(arguments))
    scanned = [argument for argument in arguments if argument not in ("-h", "--help")]
    start, others = tyro.cli(
        _StartingPoint, args=scanned, return_unknown_args=True, prog=program, config=SETTINGS, registry=REGISTRY
    )
    try:
        settings = start.read()
    except InputError as error:
        if not wants_help:
            for flag in (argument.partition("=")[0] for argument in others if argument.startswith("-")):
                if close := difflib.get_close_matches(flag, ["--preset", "--config"], cutoff=_SPELT_ALIKE):
                    raise InputError(f"There is no flag {flag}. Did you mean {close[0]}? {error}") from error
            raise
        settings = PRESETS["dnabert6"]
    default = job(settings)
    return tyro.cli(
        type(default), args=list(arguments), default=default, prog=program, config=SETTINGS, registry=REGISTRY
    )
