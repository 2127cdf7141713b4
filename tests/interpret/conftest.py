"""A classifier of three labels and sequences of several lengths, one of them with N."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.backbone import Backbone
from dnabert_jax.model.binding import bind
from dnabert_jax.training.saved_model import SavedModel
from tests.model.encoder_states import encoder_states
from tests.random_models import random_dna, random_model

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, max_positions=24)
TASK = TaskConfig("single_label_classification", ("donor", "acceptor", "neither"))


@pytest.fixture(scope="session")
def saved() -> SavedModel:
    return random_model(CONFIG, TASK, spread=0.3)


@pytest.fixture(scope="session")
def model(saved: SavedModel) -> DNAModel:
    return DNAModel(saved)


@pytest.fixture(scope="session")
def sequences() -> list[tuple[str, str]]:
    texts = [random_dna(length, seed) for seed, length in enumerate((24, 7, 3, 24))]
    return [(f"s{number}", text) for number, text in enumerate([*texts, "ACGTNAC"])]


@pytest.fixture(scope="session")
def matrices(saved: SavedModel, model: DNAModel, sequences: list[tuple[str, str]]) -> list[np.ndarray]:
    """Attention, [layers, heads, tokens, tokens], of each sequence alone."""
    backbone = bind(Backbone, jax.tree.map(jnp.asarray, saved.parameters["backbone"]), saved.config)
    rows = [jnp.asarray(ids[None]) for ids in model.encode(text for _, text in sequences)]
    return [np.asarray(encoder_states(backbone, ids).attention[:, 0], np.float64) for ids in rows]


def write_scores(path: Path, names: list[str], texts: list[str], **arrays: np.ndarray) -> None:
    """Writes an npz file such as `dnabert-jax attention` does."""
    bases = np.frombuffer("".join(texts).encode(), "S1")
    np.savez(path, ids=np.array(names), bases=bases, offsets=np.cumsum([0, *map(len, texts)]), **arrays)
