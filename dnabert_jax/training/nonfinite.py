"""Numbers that are not finite: they stop a run before they are saved, and the rows of their step are named."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dnabert_jax import storage
from dnabert_jax.data.pipeline import shuffled_rows
from dnabert_jax.data.rows import Rows
from dnabert_jax.errors import JobError
from dnabert_jax.training.state import TrainState
from dnabert_jax.training.step import StepMetrics

FILE_NAME = "nonfinite.json"
_ROWS_IN_SENTENCE = 3


class FiniteCheck:
    """Looks at what a run computes.

    Args:
        run: where FILE_NAME is written; not at all, if not given, which is for all processes but one.
    """

    def __init__(self, files: Rows, global_batch: int, seed: int, run: Path | None):
        self._files, self._global_batch, self._seed, self._run = files, global_batch, seed, run

    def figures(self, step: int, metrics: Sequence[StepMetrics]) -> Float[np.ndarray, "S F"]:
        """Returns the figures of the S steps up to `step`; raises JobError if a loss or norm is not finite."""
        values = np.array(jax.device_get(metrics), np.float64).reshape(-1, len(StepMetrics._fields))
        for number, row in enumerate(values.tolist(), step + 1 - len(metrics)):
            loss, norm = (row[StepMetrics._fields.index(name)] for name in ("loss", "gradient_norm"))
            if not np.isfinite([loss, norm]).all():
                what = f"The loss is {loss} at step {number:,}"
                if np.isfinite(loss):
                    what = f"The norm of the gradient is {norm} at step {number:,}, where the loss is {loss:.4f}"
                self._stop(number, what, {"loss": str(loss), "gradient_norm": str(norm)})
        return values

    def state(self, step: int, state: TrainState) -> None:
        """Raises JobError if a parameter or moment after `step` is not finite, though loss and gradient were."""
        if not _all_finite(state):
            self._stop(step, f"Parameters are not finite after step {step:,}", {})

    def _stop(self, step: int, what: str, figures: dict[str, str]) -> None:
        first = (step - 1) * self._global_batch
        numbers = np.arange(first, first + self._global_batch)
        places = self._files.places(shuffled_rows(numbers, len(self._files), self._seed))
        rows = [
            {"number": number, "shard": shard, "row": row}
            for number, (shard, row) in zip(numbers.tolist(), places, strict=True)
        ]
        record = {"step": step, **figures, "rows": rows}
        where = f"rows {first:,} to {first + self._global_batch - 1:,} of the training order: "
        where += ", ".join(f"{shard} row {row}" for shard, row in places[:_ROWS_IN_SENTENCE])
        if self._run is not None:
            storage.write(self._run / FILE_NAME, _one_row_a_line(record).encode())
        raise JobError(
            f"{what} ({where} ..., all in {FILE_NAME} of the run): training stops, and the last checkpoint before "
            "it stays; look at these rows, or start anew with a lower learning rate."
        )


@jax.jit
def _all_finite(state: TrainState) -> Bool[Array, ""]:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state)]).all()


def _one_row_a_line(record: dict[str, Any]) -> str:
    head = json.dumps({name: value for name, value in record.items() if name != "rows"})[:-1]
    return head + ', "rows": [\n' + ",\n".join(map(json.dumps, record["rows"])) + "\n]}\n"
