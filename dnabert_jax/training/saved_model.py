"""A model on disk apart from training: what a run directory and what `dnabert-jax import` wrote have in common.

A run directory describes its model in config.json, any other model directory in model.json; both hold their parameters
under checkpoints/.
"""

import dataclasses
import json
import reprlib
from pathlib import Path
from typing import Any

import jax

from dnabert_jax.config import ModelConfig, TaskConfig, TrainingLengths
from dnabert_jax.data.manifest import Manifest
from dnabert_jax.errors import InputError
from dnabert_jax.outputs import output_directory
from dnabert_jax.training.checkpoints import Checkpoints, choose_step, write_parameters
from dnabert_jax.training.run_directory import DATA_FILE, read_initial, read_run_config
from dnabert_jax.training.state import Parameters
from dnabert_jax.typed_json import parse_json, read_json, to_json

DESCRIPTION_FILE = "model.json"

MAY_DIFFER = ("dropout", "attention_dropout", "initializer_range", "initializer", "compute_dtype")
"""Between a model and a run that begins with its weights."""


@dataclasses.dataclass(frozen=True)
class Description:
    """What model.json says.

    Attributes:
        provenance: where the weights come from, as JSON: an entry for each thing that was done to them, `imported` or
            `pretraining`, which has the provenance of the weights it began with as `initial`.
    """

    config: ModelConfig
    task: TaskConfig | None
    provenance: dict[str, Any]


def training_lengths(provenance: Any) -> TrainingLengths | None:
    """Returns the lengths in the provenance of a fine-tuned model, exported and imported or not; None if not known."""
    try:
        while "finetuning" not in provenance:
            provenance = provenance["imported"]["provenance"]
        lengths = json.dumps(provenance["finetuning"]["lengths"])
        return parse_json(TrainingLengths, lengths.encode(), "provenance")
    # Anyone may have written it, or a later version.
    except (KeyError, TypeError, InputError):
        return None


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A model, read.

    Attributes:
        parameters: on the host, by part: `backbone` and any of `pooler`, `head` (of masked tokens), `classifier`.
    """

    description: Description
    step: int
    parameters: Parameters

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return self.description.config

    def description_line(self) -> str:
        """Returns size, labels and problem, or the parts of a model without a classifier, for a `repr`."""
        config, task = self.config, self.description.task
        facts = [f"tokens={config.tokenizer.unit}", f"layers={config.num_layers}", f"hidden_size={config.hidden_size}"]
        facts.append(f"labels={reprlib.repr(list(task.labels))}" if task else f"parts={list(self.parameters)}")
        facts += [f"problem={task.problem!r}"] if task and not task.kind.exclusive else []
        return ", ".join(facts)


def is_saved_model(directory: Path) -> bool:
    """Whether it is a run directory or a model directory, rather than one of Hugging Face's."""
    return (directory / DESCRIPTION_FILE).is_file() or (directory / DATA_FILE).is_file()


def check_initial_model(directory: Path, config: ModelConfig) -> dict[str, Any]:
    """Returns the provenance of the latest weights; raises InputError if they are not of the network `config`."""
    saved = _network(directory)
    for field in dataclasses.fields(ModelConfig):
        there, here = getattr(saved, field.name), getattr(config, field.name)
        if field.name not in MAY_DIFFER and there != here:
            flag = f"--model.{field.name.replace('_', '-')}"
            raise InputError(f"The model in {directory} has {field.name} {there}, the run {here}: give {flag} {there}.")
    with Checkpoints(directory) as checkpoints:
        return _describe(directory, checkpoints, choose_step(checkpoints, directory, None)).provenance


def _network(directory: Path) -> ModelConfig:
    if not is_saved_model(directory):
        raise InputError(
            f"{directory} is no run directory and no model directory: `dnabert-jax import` makes one of a Hugging Face "
            "directory."
        )
    if (directory / DESCRIPTION_FILE).is_file():
        return read_json(Description, directory / DESCRIPTION_FILE).config
    return read_run_config(directory).model


def _describe(directory: Path, checkpoints: Checkpoints, step: int) -> Description:
    if (directory / DESCRIPTION_FILE).is_file():
        return read_json(Description, directory / DESCRIPTION_FILE)
    config, evaluation = read_run_config(directory), checkpoints.evaluation(step)
    pretraining = {
        "config": dataclasses.asdict(config),
        "step": step,
        "data": dataclasses.asdict(read_json(Manifest, directory / DATA_FILE)),
        "evaluation": dataclasses.asdict(evaluation) if evaluation else None,
        "initial": read_initial(directory),
    }
    return Description(config.model, None, {"pretraining": pretraining})


def read_initial_parameters(directory: Path, abstract: Parameters) -> Parameters:
    """Returns the latest parameters of a run or model directory, laid out as `abstract` says, and no parts it lacks."""
    with Checkpoints(directory) as checkpoints:
        return checkpoints.restore_parts(choose_step(checkpoints, directory, None), abstract)


def read_saved_model(directory: Path, step: int | None = None) -> SavedModel:
    """Reads the latest checkpoint of a run or model directory, or that of a step; raises InputError without one."""
    _network(directory)
    with Checkpoints(directory) as checkpoints:
        step = choose_step(checkpoints, directory, step)
        parameters = jax.device_get(checkpoints.restore_all_parameters(step))
        return SavedModel(_describe(directory, checkpoints, step), step, parameters)


def write_saved_model(out: Path, model: SavedModel) -> None:
    """Writes a model directory; raises InputError if it exists, and JobError if the disk is full."""
    with output_directory(out, DESCRIPTION_FILE) as directory:
        fill_saved_model(directory, model)


def fill_saved_model(directory: Path, model: SavedModel) -> None:
    """Writes a model into a directory that is there; raises JobError if the disk is full."""
    (directory / DESCRIPTION_FILE).write_text(to_json(model.description), "utf-8")
    write_parameters(directory, model.parameters, model.step)
