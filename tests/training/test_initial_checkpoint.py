"""A run may begin with the weights of another, or of an imported model, on any mesh."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from dnabert_jax.config import MeshConfig, PretrainConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interop.model_card import model_card
from dnabert_jax.training.loop import pretrain
from dnabert_jax.training.run_directory import read_run_config
from dnabert_jax.training.saved_model import SavedModel, read_saved_model, write_saved_model


def beginning_with(directory: Path, config: PretrainConfig, **changed: object) -> PretrainConfig:
    """At a rate of 0 in its only step, so that the weights stay what they are."""
    optimizer = dataclasses.replace(config.optimizer, warmup_steps=2)
    return dataclasses.replace(
        config, steps=1, optimizer=optimizer, seed=7, initial_checkpoint=str(directory), **changed
    )


def assert_same(ours: dict, theirs: dict) -> None:
    assert jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))


@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(data=2, fsdp=2, tensor=2)])
def test_a_run_begins_with_the_weights_of_another(
    config: PretrainConfig, sample_rows: Path, finished: Path, tmp_path: Path, mesh: MeshConfig
) -> None:
    pretrain(beginning_with(finished, config, mesh=mesh), sample_rows, tmp_path / "run")
    model, before = read_saved_model(tmp_path / "run"), read_saved_model(finished)
    assert_same(model.parameters, before.parameters)
    assert model.description.provenance["pretraining"]["initial"] == as_json(before.description.provenance)
    assert before.description.provenance["pretraining"]["initial"] is None


def as_json(value: object) -> object:
    return json.loads(json.dumps(value))


def with_pooler(model: SavedModel) -> SavedModel:
    parameters = model.parameters | {"pooler": {"dense": {"kernel": np.ones((2, 2), np.float32)}}}
    return dataclasses.replace(model, parameters=parameters)


def test_parts_that_pre_training_has_no_use_for_are_left(
    config: PretrainConfig, sample_rows: Path, finished: Path, tmp_path: Path
) -> None:
    model = with_pooler(read_saved_model(finished))
    imported = {"imported": {"directory": "DNA_bert_3", "sha256": {"model.safetensors": "12ab"}}}
    model = dataclasses.replace(model, description=dataclasses.replace(model.description, provenance=imported))
    write_saved_model(tmp_path / "model", model)
    pretrain(beginning_with(tmp_path / "model", config), sample_rows, tmp_path / "run")
    run = read_saved_model(tmp_path / "run")
    card = model_card(run, "masked-lm")
    assert "the weights of model;" in card
    assert "| model.safetensors | 12ab |" in card
    parameters = run.parameters
    assert parameters.keys() == {"backbone", "head"}
    assert_same(parameters, read_saved_model(finished).parameters)


def test_a_model_that_does_not_fit_is_refused(
    config: PretrainConfig, sample_rows: Path, finished: Path, tmp_path: Path
) -> None:
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, num_layers=5))
    with pytest.raises(InputError, match=r"num_layers 2, the run 5: give --model.num-layers 2"):
        pretrain(beginning_with(finished, other), sample_rows, tmp_path / "run")
    with pytest.raises(InputError, match=r"nowhere is no run directory"):
        pretrain(beginning_with(tmp_path / "nowhere", config), sample_rows, tmp_path / "run")
    model = read_saved_model(finished)
    headless = dataclasses.replace(model, parameters={"backbone": model.parameters["backbone"]})
    write_saved_model(tmp_path / "headless", headless)
    with pytest.raises(InputError, match=r"checkpoints/6 has no head"):
        pretrain(beginning_with(tmp_path / "headless", config), sample_rows, tmp_path / "run")


def test_a_resumed_run_goes_on_with_its_own_weights_and_need_not_be_told_what_it_began_with(
    config: PretrainConfig, sample_rows: Path, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "first")
    start = beginning_with(tmp_path / "first", config)
    pretrain(start, sample_rows, tmp_path / "run")
    shutil.rmtree(tmp_path / "first")
    pretrain(dataclasses.replace(start, steps=2), sample_rows, tmp_path / "run", resume=True)
    assert read_saved_model(tmp_path / "run").description.provenance["pretraining"]["initial"] is not None
    changed = jax.tree.map(
        np.array_equal, read_saved_model(tmp_path / "run").parameters, read_saved_model(finished).parameters
    )
    assert not jax.tree.all(changed)
    unsaid = dataclasses.replace(start, steps=3, initial_checkpoint="")
    pretrain(unsaid, sample_rows, tmp_path / "run", resume=True)
    assert read_run_config(tmp_path / "run").initial_checkpoint == start.initial_checkpoint
    with pytest.raises(InputError, match="another"):
        pretrain(dataclasses.replace(unsaid, initial_checkpoint="another"), sample_rows, tmp_path / "run", resume=True)
