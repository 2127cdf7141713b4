"""Chooses which parameters of a model learn and which start at random, and makes the whole model of them.

Parameters are trees by part, as in `dnabert_jax.training.state`; what learns is a tree of the same kind.
"""

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.binding import parameter_shapes, random_parameters
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.training.state import Parameters, join_layers, split_layers, stream_key

_LORA = "lora"
_ADAPTED = ("query", "key", "value", "output")
"""Matrices of attention, as in GUE's scripts for LoRA (run_nt.sh: query, value, key, dense)."""


def kept_parts(parameters: Parameters, task: TaskConfig) -> Parameters:
    """Returns the parts of a model that a fine-tuning begins with."""
    # A model's pooler is of [CLS], and its classifier of other labels.
    parts = ("backbone", "pooler") if task.pooling == "cls" else ("backbone",)
    return {part: tree for part, tree in parameters.items() if part in parts}


def with_fresh_heads(parameters: Parameters, model: ModelConfig, task: TaskConfig, seed: int) -> Parameters:
    """Returns the parts of a task's network: those that are given, and the others at random."""
    needed = parameter_shapes(sequence_classifier, model, task).keys()
    given = {part: tree for part, tree in parameters.items() if part in needed}
    key = stream_key(seed, "parameters", 0)
    return given | jax.device_get(_fresh(model, task, frozenset(needed - given.keys()), key))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _fresh(model: ModelConfig, task: TaskConfig, parts: frozenset[str], key: jax.Array) -> Parameters:
    parameters = random_parameters(sequence_classifier, key, model, task)
    return {part: tree for part, tree in parameters.items() if part in parts}


def split_trainable(parameters: Parameters, config: FinetuneConfig, seed: int) -> tuple[Parameters, Parameters]:
    """Returns what stays, which all jobs of a model share, and what learns.

    The seed is that of the low-rank factors that start at random; the others start at zero, so that the model starts as
    it is.
    """
    if config.train == "full":
        return {}, parameters
    frozen = {"backbone": parameters["backbone"]}
    trainable = {part: tree for part, tree in parameters.items() if part != "backbone"}
    if config.train == "lora":
        attention, generator = split_layers(parameters)[0]["attention"], np.random.default_rng(seed)
        trainable[_LORA] = {}
        for name in _ADAPTED:
            layers, inputs, outputs = attention[name]["kernel"].shape
            first = generator.normal(0, inputs**-0.5, (layers, inputs, config.lora_rank)).astype(np.float32)
            trainable[_LORA][name] = {"a": first, "b": np.zeros((layers, config.lora_rank, outputs), np.float32)}
    return frozen, trainable


def whole_model(frozen: Parameters, trainable: Parameters, config: FinetuneConfig) -> Parameters:
    """Returns all parameters, the low-rank additions multiplied out and added."""
    parameters = {**frozen, **trainable}
    additions = parameters.pop(_LORA, None)
    if additions is None:
        return parameters
    scale = config.lora_alpha / config.lora_rank
    layers, rest = split_layers(parameters)
    attention = layers["attention"]
    adapted = {
        name: {**attention[name], "kernel": attention[name]["kernel"] + scale * (factors["a"] @ factors["b"])}
        for name, factors in additions.items()
    }
    return join_layers({**layers, "attention": attention | adapted}, rest)


def shardings_of(parameters: Parameters, whole: Parameters, mesh: Mesh, *leading: str) -> Parameters:
    """Returns the shardings of a subset of the parameters, given those of the whole network.

    Of two low-rank factors, the one that has the divided axis of the matrix is divided, so that their product lies like
    the matrix that it is added to.

    Args:
        leading: the mesh axes of axes before those that a parameter has in the network.
    """

    def sharding(path: tuple[Any, ...], _: Any) -> NamedSharding:
        names = [key.key for key in path]
        if names[0] == _LORA:
            layer, inputs, outputs = split_layers(whole)[0]["attention"][names[1]]["kernel"].spec
            spec = (layer, inputs, None) if names[2] == "a" else (layer, None, outputs)
        else:
            part: Any = whole
            for name in names:
                part = part[name]
            spec = part.spec
        return NamedSharding(mesh, PartitionSpec(*leading, *spec))

    return jax.tree_util.tree_map_with_path(sharding, parameters)


def rate_factors(trainable: Parameters, num_layers: int, layer_decay: float, head_rate: float) -> Parameters:
    """Returns the factor on each parameter's learning rate, which broadcasts: `head_rate` on the encoder, less within.

    The last layer has the factor `layer_decay`, the one before it its square, and so on (Howard and Ruder 2018, arXiv
    1801.06146).
    """

    def factor(path: tuple[Any, ...], parameter: Array | np.ndarray) -> np.ndarray:
        names = [key.key for key in path]
        if "layers" in names or names[0] == _LORA:
            powers = np.arange(num_layers, 0, -1).reshape(-1, *[1] * (parameter.ndim - 1))
            return (layer_decay**powers).astype(np.float32)
        if names[0] != "backbone":
            return np.array(head_rate, np.float32)
        # What is above the last layer, a LayerNorm, learns at the whole rate.
        return np.array(layer_decay ** (num_layers + 1) if "embeddings" in names else 1.0, np.float32)

    return jax.tree_util.tree_map_with_path(factor, trainable)


def stacked(trees: list[Parameters]) -> Parameters:
    """Returns a tree with a leading axis over jobs, on the host: no device may hold all of it."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
