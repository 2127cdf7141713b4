"""Predictions as the columns of a table."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import JobError
from dnabert_jax.io.output_table import output_table
from dnabert_jax.tasks.measures.scores import decisions

_VALUES = 1 << 20
_ROWS = 1 << 15
"""Of a row group, at most; as many as that hold _VALUES, where there are many labels."""

Prediction = tuple[str, Float32[np.ndarray, " C"]]


def prediction_schema(task: TaskConfig) -> pa.Schema:
    """Columns: id, prediction, and the probability of each label as p_LABEL.

    A regression has its numbers in place of these: prediction, or prediction_LABEL if there are several.
    """
    if task.problem == "regression":
        several = len(task.labels) > 1
        values = [f"prediction_{label}" if several else "prediction" for label in task.labels]
        return pa.schema([("id", pa.string()), *((name, pa.float32()) for name in values)])
    probabilities = ((f"p_{label}", pa.float32()) for label in task.labels)
    return pa.schema([("id", pa.string()), ("prediction", pa.string()), *probabilities])


def write_predictions(path: Path, task: TaskConfig, predictions: Iterable[Prediction]) -> dict[str, int]:
    """Writes a row for each prediction, in order and in constant memory.

    Args:
        path: of the table; its name says what kind it is.
        task: of the classifier.
        predictions: (name, probabilities or numbers) of each sequence.

    Returns:
        How often each label is predicted; nothing for a regression.

    Raises:
        InputError: as `output_table`.
        JobError: a result is not finite.
    """
    schema = prediction_schema(task)
    counts = dict.fromkeys(task.labels if task.problem != "regression" else (), 0)
    with output_table(path, schema) as write:
        for names, scores in _row_groups(predictions, len(task.labels)):
            columns: list[pa.Array] = [pa.array(names, pa.string())]
            if task.problem != "regression":
                columns.append(pa.array(_decided(task, scores, counts), pa.string()))
            columns += [pa.array(np.ascontiguousarray(column)) for column in scores.T]
            write(pa.record_batch(columns, schema=schema))
    return counts


def _row_groups(
    predictions: Iterable[Prediction], width: int
) -> Iterator[tuple[list[str], Float32[np.ndarray, "N C"]]]:
    most = max(1, min(_ROWS, _VALUES // width))
    names: list[str] = []
    scores = np.empty((most, width), np.float32)
    for name, row in predictions:
        if not np.isfinite(row).all():
            raise JobError(f"What the model predicts of {name} is not finite ({row[~np.isfinite(row)][0]}).")
        scores[len(names)] = row
        names.append(name)
        if len(names) == most:
            yield names, scores
            names = []
    if names:
        yield names, scores[: len(names)]


def _decided(task: TaskConfig, scores: Float32[np.ndarray, "N C"], counts: dict[str, int]) -> list[str]:
    """The label of each row, or those that apply with ; between them; also counts them."""
    if task.problem == "single_label_classification":
        found = [[task.labels[number]] for number in decisions(task, scores)]
    else:
        chosen = decisions(task, scores).astype(bool)
        found = [[label for label, applies in zip(task.labels, row, strict=True) if applies] for row in chosen]
    for labels in found:
        for label in labels:
            counts[label] += 1
    return [";".join(labels) for labels in found]
