"""A checkpoint to a directory that `transformers` loads."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import safetensors.numpy
from flax import nnx

from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import Manifest
from dnabert_jax.interop.huggingface import huggingface_config, to_huggingface
from dnabert_jax.interop.model_card import model_card
from dnabert_jax.interop.tokenizer import write_tokenizer
from dnabert_jax.output_directory import output_directory
from dnabert_jax.storage import Location
from dnabert_jax.training.checkpoints import Checkpoints, abstract_on_one_device, choose_step
from dnabert_jax.training.run_directory import DATA_FILE, read_run_config
from dnabert_jax.training.state import Parameters, abstract_network
from dnabert_jax.typed_json import read_json


@dataclasses.dataclass(frozen=True)
class RunCheckpoint:
    """One checkpoint of a run, read for use outside training.

    Attributes:
        step: updates made.
        config: of the run.
        manifest: of its data, as JSON.
        evaluation: {"step", "figures"} of the last held-out evaluation, or None.
        parameters: on the host.
    """

    step: int
    config: PretrainConfig
    manifest: dict[str, Any]
    evaluation: dict[str, Any] | None
    parameters: Parameters


def read_run_checkpoint(run: Path, step: int | None = None) -> RunCheckpoint:
    """Reads the weights of the latest checkpoint of a run directory, or of a given step.

    Raises:
        InputError: no run, or no such checkpoint.
    """
    config = read_run_config(run)
    abstract = abstract_on_one_device(nnx.to_pure_dict(abstract_network(config.model).abstract))
    with Checkpoints(run) as checkpoints:
        step = choose_step(checkpoints, run, step)
        parameters = jax.device_get(checkpoints.restore_parameters(step, abstract))
        last = checkpoints.evaluation(step)
    evaluation = dataclasses.asdict(last) if last else None
    return RunCheckpoint(step, config, dataclasses.asdict(read_json(Manifest, run / DATA_FILE)), evaluation, parameters)


def export_run(run: Path, out: Location, step: int | None = None) -> RunCheckpoint:
    """Writes the masked-LM directory of a run's checkpoint to `out` and returns what was exported.

    Raises:
        InputError: no such run or checkpoint, or `out` exists.
    """
    checkpoint = read_run_checkpoint(run, step)
    model = checkpoint.config.model
    with output_directory(out, "config.json") as directory:
        weights = safetensors.numpy.save(to_huggingface(checkpoint.parameters, model), {"format": "pt"})
        (directory / "model.safetensors").write_bytes(weights)
        (directory / "config.json").write_text(json.dumps(huggingface_config(model), indent=2) + "\n")
        write_tokenizer(directory, model.k, model.max_positions)
        (directory / "README.md").write_text(
            model_card(checkpoint.config, checkpoint.step, checkpoint.manifest, checkpoint.evaluation)
        )
        provenance = {
            "config": dataclasses.asdict(checkpoint.config),
            "step": checkpoint.step,
            "data": checkpoint.manifest,
            "evaluation": checkpoint.evaluation,
        }
        (directory / "pretraining.json").write_text(json.dumps(provenance, indent=2) + "\n")
    return checkpoint
