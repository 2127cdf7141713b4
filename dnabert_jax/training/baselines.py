"""What a trained model is to beat: itself untrained, and a table of k-mer frequencies, on the same masks."""

import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import HELDOUT, TRAIN
from dnabert_jax.data.rows import open_rows
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.parallel.mesh import RowPlacement, make_mesh
from dnabert_jax.training.checkpoints import Checkpoints, choose_step
from dnabert_jax.training.evaluation import (
    Evaluation,
    evaluate,
    evaluation_rows,
    frequency_table_logits,
    kmer_frequencies,
    network_predictor,
)
from dnabert_jax.training.masking import MaskedTokens
from dnabert_jax.training.state import abstract_state, init_state


@fixed_settings()
def compare_heldout(
    config: PretrainConfig, data: Path, run: Path, devices: Sequence[jax.Device] | None = None
) -> dict[str, Evaluation]:
    """Held-out figures of a run's latest checkpoint, of the same model untrained, and of a frequency table."""
    mesh = make_mesh(config.mesh, devices or jax.devices())
    placement = RowPlacement(mesh, config.global_batch)
    rows = evaluation_rows(open_rows(data, HELDOUT), config.evaluation_rows, placement)
    evaluated = functools.partial(evaluate, rows, placement, MaskedTokens(config.masking, config.model.tokenizer))
    predict = network_predictor(config.model, config.execution, mesh)
    with Checkpoints(run) as checkpoints:
        step = choose_step(checkpoints, run, None)
        abstract = abstract_state(config.model, config.optimizer, mesh).parameters
        trained = checkpoints.restore_parameters(step, abstract)
    counts = kmer_frequencies(open_rows(data, TRAIN))
    table = frequency_table_logits(counts, config.model.padded_vocabulary_size)
    return {
        "trained model": evaluated(predict, trained),
        "untrained model": evaluated(predict, init_state(config.model, config.optimizer, config.seed, mesh).parameters),
        # The same logits everywhere.
        "k-mer frequency table": evaluated(
            lambda t, masked: jnp.broadcast_to(t, (*masked.labels.shape, t.size)), table
        ),
    }
