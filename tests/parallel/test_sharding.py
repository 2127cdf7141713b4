"""Meshes and the rule table: what does not fit is refused with a sentence."""

import dataclasses

import jax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from dnabert_jax.config import MeshConfig, ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.model.bert import BertForMaskedLM
from dnabert_jax.model.binding import abstract_parameters, parameter_shapes
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.parallel.mesh import RowPlacement, make_mesh, parameter_shardings
from dnabert_jax.training.state import masked_lm_shardings


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (1, 8, 1)),
        (MeshConfig(fsdp=2), (4, 2, 1)),
        (MeshConfig(data=2), (2, 4, 1)),
        (MeshConfig(tensor=2), (1, 4, 2)),
        (MeshConfig(data=2, fsdp=2, tensor=2), (2, 2, 2)),
        (MeshConfig(data=1, tensor=8), (1, 1, 8)),
    ],
)
def test_axes_have_the_asked_sizes(config: MeshConfig, shape: tuple[int, ...]) -> None:
    mesh = make_mesh(config, jax.devices())
    assert mesh.devices.shape == shape
    assert mesh.axis_names == ("data", "fsdp", "tensor")


@pytest.mark.parametrize(
    "config", [MeshConfig(data=3), MeshConfig(fsdp=3), MeshConfig(data=8, tensor=2), MeshConfig(tensor=16)]
)
def test_an_impossible_mesh_is_refused(config: MeshConfig) -> None:
    with pytest.raises(InputError, match="impossible on 8 devices"):
        make_mesh(config, jax.devices())


def test_every_parameter_has_a_sharding_by_the_rules(small_model: ModelConfig) -> None:
    shardings = masked_lm_shardings(small_model, make_mesh(MeshConfig(data=2, fsdp=2, tensor=2), jax.devices()))
    assert jax.tree.structure(shardings) == jax.tree.structure(parameter_shapes(BertForMaskedLM, small_model))
    attention = shardings["bert"]["layers"]["attention"]
    assert attention["query"]["kernel"].spec == PartitionSpec(None, "fsdp", "tensor")
    assert attention["output"]["kernel"].spec == PartitionSpec(None, "tensor", "fsdp")
    assert shardings["bert"]["embeddings"]["token"]["table"].spec == PartitionSpec("tensor", "fsdp")


@pytest.mark.parametrize("long", ["none", "lstm", "gru", "concatenation", "attention"])
def test_the_parameters_of_every_head_have_a_sharding(small_model: ModelConfig, long: str) -> None:
    windows = 0 if long == "none" else 9
    task = TaskConfig("regression", ("signal",), long=long, split=1 if long == "none" else 2, window=windows)
    parameters = abstract_parameters(sequence_classifier, small_model, task)
    shardings = parameter_shardings(parameters, make_mesh(MeshConfig(data=2, fsdp=2, tensor=2), jax.devices()))
    assert shardings["pooler"]["dense"]["kernel"].spec == PartitionSpec("fsdp", None)
    head = shardings["classifier2" if long == "concatenation" else "classifier"]
    assert (head["kernel"].spec, head["bias"].spec) == (PartitionSpec("fsdp", None), PartitionSpec(None))


def test_a_parameter_whose_axis_has_no_rule_stops_construction() -> None:
    mesh = make_mesh(MeshConfig(), jax.devices())
    for axes in (("embed", "nowhere"), ("embed",)):
        state = nnx.State({"kernel": nnx.Param(jax.numpy.zeros((4, 4)), axes=axes)})
        with pytest.raises(ValueError, match="Parameter kernel"):
            parameter_shardings(state, mesh)


def test_a_model_that_does_not_divide_is_refused(small_model: ModelConfig) -> None:
    odd = dataclasses.replace(small_model, num_heads=2)
    with pytest.raises(InputError, match="mesh axis tensor of size 8 does not divide the 2 of 'heads'"):
        masked_lm_shardings(odd, make_mesh(MeshConfig(tensor=8), jax.devices()))


def test_a_batch_that_does_not_divide_is_refused() -> None:
    mesh = make_mesh(MeshConfig(data=4, fsdp=2), jax.devices())
    RowPlacement(mesh, 16)
    with pytest.raises(InputError, match="multiple of 8"):
        RowPlacement(mesh, 12)
