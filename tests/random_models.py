"""Random DNA, and models with random weights, of any configuration."""

from typing import Any

import jax
import numpy as np
from flax import nnx

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.classification import PooledBackbone
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.training.saved_model import Description, SavedModel


def random_dna(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def random_model(
    config: ModelConfig, task: TaskConfig | None = None, seed: int = 0, spread: float = 0.1, **provenance: object
) -> SavedModel:
    """Returns a model with a pooler, and either a classifier or the head of masked tokens; no parameter is zero."""

    @jax.jit
    def initial() -> list[Any]:
        rngs = nnx.Rngs(seed)
        modules = [LanguageModel(config, rngs=rngs), PooledBackbone(config, rngs=rngs)]
        modules = modules if task is None else [sequence_classifier(config, task, rngs=nnx.Rngs(seed))]
        return [nnx.to_pure_dict(nnx.state(module, nnx.Param)) for module in modules]

    parameters = {part: tree for module in initial() for part, tree in module.items()}
    rng = np.random.default_rng(seed)
    shaken = jax.tree.map(lambda x: np.asarray(x + spread * rng.normal(size=x.shape), np.float32), parameters)
    return SavedModel(Description(config, task, provenance), 0, shaken)
