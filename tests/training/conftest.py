"""A run of seconds, for what trains from the embedded sample."""

from pathlib import Path

import pytest

from dnabert_jax.config import ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.training.loop import pretrain


@pytest.fixture(scope="session")
def config(small_model: ModelConfig) -> PretrainConfig:
    return PretrainConfig(
        model=small_model,
        optimizer=OptimizerConfig(peak_learning_rate=1e-3, warmup_steps=2, schedule_steps=20),
        global_batch=8,
        steps=6,
        log_every=2,
        evaluate_every=3,
        evaluation_rows=16,
        checkpoint_every=2,
        keep_checkpoints=2,
    )


@pytest.fixture(scope="module")
def finished(config: PretrainConfig, sample_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run when it is over, to be read or copied."""
    out = tmp_path_factory.mktemp("finished") / "run"
    pretrain(config, sample_rows, out)
    return out
