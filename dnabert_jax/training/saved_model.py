"""A model on disk apart from training: what a run directory and what `dnabert-jax import` wrote have in common.

A run directory describes its model in config.json, any other model directory in model.json; both hold their parameters
under checkpoints/.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.data.manifest import Manifest
from dnabert_jax.output_directory import output_directory
from dnabert_jax.training.checkpoints import Checkpoints, choose_step
from dnabert_jax.training.run_directory import DATA_FILE, read_run_config
from dnabert_jax.training.state import Parameters
from dnabert_jax.typed_json import read_json, to_json

DESCRIPTION_FILE = "model.json"


@dataclasses.dataclass(frozen=True)
class Description:
    """What model.json says.

    Attributes:
        config: of the network.
        task: of its classifier, if it has one.
        provenance: where the weights come from, as JSON: an entry for each thing that was done to them, `imported` or
            `pretraining`.
    """

    config: ModelConfig
    task: TaskConfig | None
    provenance: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A model, read.

    Attributes:
        description: its model.json, or what would stand there.
        step: of the checkpoint: updates made.
        parameters: on the host, by part: `bert` and any of `pooler`, `head` (of masked tokens), `classifier`.
    """

    description: Description
    step: int
    parameters: Parameters

    @property
    def config(self) -> ModelConfig:
        """Of the network."""
        return self.description.config


def is_saved_model(directory: Path) -> bool:
    """Whether it is a run directory or a model directory, rather than one of Hugging Face's."""
    return (directory / DESCRIPTION_FILE).is_file() or (directory / DATA_FILE).is_file()


def read_saved_model(directory: Path, step: int | None = None) -> SavedModel:
    """Reads the weights of the latest checkpoint of a run or model directory, or of a given step.

    Raises:
        InputError: neither a run nor a model, or no such checkpoint.
    """
    imported = (directory / DESCRIPTION_FILE).is_file()
    config = None if imported else read_run_config(directory)
    with Checkpoints(directory) as checkpoints:
        step = choose_step(checkpoints, directory, step)
        parameters = jax.device_get(checkpoints.restore_all_parameters(step))
        if config is None:
            description = read_json(Description, directory / DESCRIPTION_FILE)
        else:
            evaluation = checkpoints.evaluation(step)
            pretraining = {
                "config": dataclasses.asdict(config),
                "step": step,
                "data": dataclasses.asdict(read_json(Manifest, directory / DATA_FILE)),
                "evaluation": dataclasses.asdict(evaluation) if evaluation else None,
            }
            description = Description(config.model, None, {"pretraining": pretraining})
    return SavedModel(description, step, parameters)


def write_saved_model(out: Path, model: SavedModel) -> None:
    """Writes a model directory.

    Raises:
        InputError: `out` exists already.
        JobError: the disk is full.
    """
    with output_directory(out, DESCRIPTION_FILE) as directory:
        (directory / DESCRIPTION_FILE).write_text(to_json(model.description))
        with Checkpoints(directory, keep=1) as checkpoints:
            checkpoints.save_parameters(model.parameters, model.step)
