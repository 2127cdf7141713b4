"""What a trained model is to beat: itself untrained, and a table of k-mer frequencies, on the same masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import HELDOUT, TRAIN
from dnabert_jax.data.rows import open_rows
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.parallel.mesh import make_mesh
from dnabert_jax.parallel.placement import RowPlacement
from dnabert_jax.training.checkpoints import Checkpoints, choose_step
from dnabert_jax.training.evaluation import (
    Evaluation,
    EvaluationRows,
    Evaluator,
    frequency_table_logits,
    kmer_frequencies,
    network_predictor,
)
from dnabert_jax.training.masking import MaskedRows
from dnabert_jax.training.state import abstract_network, abstract_state, init_state


@fixed_settings()
def compare_heldout(
    config: PretrainConfig, data: Path, run: Path, devices: Sequence[jax.Device] | None = None
) -> dict[str, Evaluation]:
    """Held-out figures of a run's latest checkpoint, of the same model untrained, and of a frequency table.

    Raises:
        InputError: no held-out split, or no checkpoint.
    """
    mesh = make_mesh(config.mesh, devices or jax.devices())
    placement = RowPlacement(mesh, config.global_batch)
    network = abstract_network(config.model)
    rows = EvaluationRows(open_rows(data, HELDOUT), config.evaluation_rows, placement)
    evaluator = Evaluator(config, rows, placement, mesh)
    evaluate = evaluator.compile(network_predictor(config, network, mesh))
    with Checkpoints(run) as checkpoints:
        step = choose_step(checkpoints, run, None)
        trained = checkpoints.restore_parameters(step, abstract_state(config, network, mesh).parameters)
    counts = kmer_frequencies(open_rows(data, TRAIN))
    table = frequency_table_logits(counts, config.model.padded_vocabulary_size)
    return {
        "trained model": evaluate(trained),
        "untrained model": evaluate(init_state(config, network, mesh).parameters),
        "k-mer frequency table": evaluator.compile(_table_predictor)(table),
    }


def _table_predictor(table: Any, masked: MaskedRows) -> jax.Array:
    """The same logits everywhere."""
    return jnp.broadcast_to(table, (*masked.labels.shape, table.size))
