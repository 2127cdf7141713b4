"""The directory of a run: config.json, data.json (the manifest of its data), checkpoints, logs."""

import dataclasses
from pathlib import Path

from dnabert_jax.config import PretrainConfig, pretrain_config_from_json
from dnabert_jax.data.manifest import Manifest
from dnabert_jax.errors import InputError

CONFIG_FILE = "config.json"
DATA_FILE = "data.json"
CHECKPOINTS_DIRECTORY = "checkpoints"

_MAY_CHANGE = (
    "mesh", "steps", "log_every", "evaluate_every", "evaluation_rows", "checkpoint_every", "keep_checkpoints",
)  # fmt: skip
"""What a resumed run may set anew: nothing here changes the parameters at a step."""


def read_run_config(directory: Path) -> PretrainConfig:
    """The configuration of a run.

    Raises:
        InputError: the directory is no run, or its config.json is damaged.
    """
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise InputError(f"{directory} is no run directory: it has no {CONFIG_FILE}.")
    return pretrain_config_from_json(path.read_text(), path)


def open_run(directory: Path, config: PretrainConfig, manifest: Manifest, resume: bool) -> None:
    """Makes the run directory, or checks that an existing one may go on.

    Raises:
        InputError: it exists and `resume` is false; or it was made with another configuration or other data.
    """
    data_path = directory / DATA_FILE
    if directory.exists() and any(directory.iterdir()):
        if not resume:
            raise InputError(
                f"{directory} exists already: give --resume to go on with the run there, or choose another --out."
            )
        _check_same(directory, read_run_config(directory), config)
        if data_path.read_text() != manifest.to_json():
            raise InputError(f"The data differ from those that {directory} was started with ({data_path}).")
    directory.mkdir(parents=True, exist_ok=True)
    _write_whole(data_path, manifest.to_json())
    _write_whole(directory / CONFIG_FILE, config.to_json())


def _check_same(directory: Path, saved: PretrainConfig, config: PretrainConfig) -> None:
    for field in dataclasses.fields(PretrainConfig):
        before, now = getattr(saved, field.name), getattr(config, field.name)
        if field.name not in _MAY_CHANGE and before != now:
            raise InputError(
                f"{directory} was started with another {field.name} ({before}); a run is resumed with the same, "
                f"not with {now}."
            )


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)
