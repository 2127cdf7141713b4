"""The directory of a run: config.json, data.json (the manifest of its data), what it began with, checkpoints, logs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from dnabert_jax import storage
from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import Manifest
from dnabert_jax.errors import InputError
from dnabert_jax.outputs import is_unused
from dnabert_jax.typed_json import read_json, read_object, to_json

CONFIG_FILE = "config.json"
DATA_FILE = "data.json"
INITIAL_FILE = "initial.json"
CHECKPOINTS_DIRECTORY = "checkpoints"

_MAY_CHANGE = (
    "mesh", "execution", "steps", "log_every", "evaluate_every", "evaluation_rows", "checkpoint_every",
    "keep_checkpoints",
)  # fmt: skip
"""What a resumed run may set anew: none of it changes which rows and masks a step sees."""


def read_run_config(directory: Path) -> PretrainConfig:
    """Returns the configuration of a run; raises InputError if it is not a run, or is damaged."""
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise InputError(f"{directory} is no run directory: it has no {CONFIG_FILE}.")
    return read_json(PretrainConfig, path)


def check_run(directory: Path, config: PretrainConfig, manifest: Manifest, resume: bool) -> None:
    """Raises InputError unless a run may begin, or go on, in the directory; changes nothing.

    A directory without a configuration, but for what `write_run` writes first, is a run killed before it began.
    """
    if is_unused(directory):
        return
    if not resume:
        raise InputError(
            f"{directory} exists already: give --resume to go on with the run there, or choose another --out."
        )
    if is_unused(directory, ignored=(DATA_FILE, INITIAL_FILE)):
        return
    saved = read_run_config(directory)
    latest = max(
        (int(path.name) for path in directory.glob(f"{CHECKPOINTS_DIRECTORY}/*") if path.name.isdigit()), default=0
    )
    if latest > config.steps:
        raise InputError(
            f"{directory} is at step {latest} already, beyond the {config.steps} steps that are asked for."
        )
    asked = _flat(dataclasses.asdict(config))
    for name, before in _flat(dataclasses.asdict(saved)).items():
        if name.split(".")[0] not in _MAY_CHANGE and (now := asked[name]) != before:
            before, now = ("none" if value == "" else value for value in (before, now))
            raise InputError(f"{directory} was started with {name} {before}: it cannot be resumed with {now}.")
    data_path = directory / DATA_FILE
    if read_json(Manifest, data_path) != manifest:
        raise InputError(f"The data differ from those that {directory} was started with ({data_path}).")


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields under dotted names, as on the command line."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def read_initial(directory: Path) -> dict[str, Any] | None:
    """Returns the provenance of the weights that a run began with; None if they were random."""
    path = directory / INITIAL_FILE
    return read_object(path) if path.is_file() else None


def write_run(
    directory: Path, config: PretrainConfig, manifest: Manifest, initial: dict[str, Any] | None = None
) -> None:
    """Makes the directory if need be, and writes into it data.json, initial.json if it is given, then config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    storage.write(directory / DATA_FILE, manifest.text.encode())
    if initial is not None:
        storage.write(directory / INITIAL_FILE, json.dumps(initial, indent=2).encode())
    storage.write(directory / CONFIG_FILE, to_json(config).encode())
