"""A classifier of three labels and sequences of several lengths, one of them with N."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.backbone import Backbone
from dnabert_jax.model.binding import bind
from dnabert_jax.model.classification import SequenceClassifier
from dnabert_jax.training.saved_model import Description, SavedModel
from tests.model.encoder_states import encoder_states

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, max_positions=24)
TASK = TaskConfig("single_label_classification", ("donor", "acceptor", "neither"))


@pytest.fixture(scope="session")
def saved() -> SavedModel:
    @jax.jit
    def initial() -> Any:
        return nnx.to_pure_dict(nnx.state(SequenceClassifier(CONFIG, TASK, rngs=nnx.Rngs(0)), nnx.Param))

    rng = np.random.default_rng(0)
    parameters = jax.tree.map(lambda x: np.asarray(x + 0.3 * rng.normal(size=x.shape), np.float32), initial())
    return SavedModel(Description(CONFIG, TASK, {}), 0, parameters)


@pytest.fixture(scope="session")
def model(saved: SavedModel) -> DNAModel:
    return DNAModel(saved)


@pytest.fixture(scope="session")
def sequences() -> list[tuple[str, str]]:
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("ACGT"), length)) for length in (24, 7, 3, 24)]
    return [(f"s{number}", text) for number, text in enumerate([*texts, "ACGTNAC"])]


@pytest.fixture(scope="session")
def matrices(saved: SavedModel, model: DNAModel, sequences: list[tuple[str, str]]) -> list[np.ndarray]:
    """Attention, [layers, heads, tokens, tokens], of each sequence alone."""
    backbone = bind(Backbone, jax.tree.map(jnp.asarray, saved.parameters["backbone"]), saved.config)
    rows = [jnp.asarray(ids[None]) for ids in model.encode(text for _, text in sequences)]
    return [np.asarray(encoder_states(backbone, ids).attention[:, 0], np.float64) for ids in rows]
