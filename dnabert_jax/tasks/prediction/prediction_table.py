"""Predictions as the columns of a table, behind the columns of the input."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.io.output_table import output_table, typed_array
from dnabert_jax.output_file import output_file
from dnabert_jax.sequence.buckets import groups
from dnabert_jax.tasks.datasets.intervals import BED_COLUMNS
from dnabert_jax.tasks.datasets.labels import label_matrix

_VALUES = 1 << 20
_ROWS = 1 << 15
"""Of a row group, at most; as many as that hold _VALUES, where there are many labels."""

Prediction = tuple[Sequence[str], Float32[np.ndarray, " C"]]
"""Values of the columns of the input, and the probabilities or numbers of a sequence."""


def prediction_schema(task: TaskConfig, columns: Sequence[str]) -> pa.Schema:
    """Returns the columns of the input, then prediction, and the probability of each label as p_LABEL.

    A regression has its numbers in place of these: prediction, or prediction_LABEL if there are several.
    """
    if task.problem == "regression":
        several = len(task.labels) > 1
        results = [(f"prediction_{label}" if several else "prediction", pa.float32()) for label in task.labels]
    else:
        results = [("prediction", pa.string()), *((f"p_{label}", pa.float32()) for label in task.labels)]
    for name, _ in results:
        if name in columns:
            raise InputError(f"The input has a column {name!r} already. Name the columns to keep, without it: --keep.")
    # Columns of a table by these names may hold anything.
    numbers = ("start", "end") if columns is BED_COLUMNS else ()
    return pa.schema([*((name, pa.int64() if name in numbers else pa.string()) for name in columns), *results])


def write_predictions(
    path: Path, task: TaskConfig, columns: Sequence[str], predictions: Iterable[Prediction]
) -> dict[str, int]:
    """Writes a row for each prediction, in order and in constant memory.

    Returns:
        How often each label is predicted; nothing for a regression.
    """
    schema = prediction_schema(task, columns)
    if columns is BED_COLUMNS and ".tsv" in path.suffixes:
        schema = schema.set(0, schema.field(0).with_name("#chrom"))  # a comment to BEDTools, which take no header
    counts = dict.fromkeys(task.labels if task.problem != "regression" else (), 0)
    with output_table(path, schema) as write:
        for kept, scores in _row_groups(predictions, len(task.labels)):
            results: list[pa.Array] = []
            if task.problem != "regression":
                results.append(pa.array(_decided(task, scores, counts), pa.string()))
            results += [pa.array(np.ascontiguousarray(column)) for column in scores.T]
            texts = [typed_array(values, pa.string()) for values in zip(*kept, strict=True)]
            given = [text.cast(kind) for text, kind in zip(texts, schema.types, strict=False)]
            write(pa.record_batch([*given, *results], schema=schema))
    return counts


def write_prediction_bed(path: Path, task: TaskConfig, predictions: Iterable[Prediction]) -> dict[str, int]:
    """Writes intervals as BED6 for genome browsers: the score is 1,000 times the probability of the second class.

    Returns:
        How often each label is predicted.

    Raises:
        InputError: there are not two classes; as for `output_file`.
        JobError: a result is not finite.
    """
    if not task.positive:
        raise InputError(f"{path} has one score for each interval, so it needs a model of two classes. Write .tsv.")
    counts = dict.fromkeys(task.labels, 0)
    with output_file(path) as file:
        for kept, scores in _row_groups(predictions, 2):
            _decided(task, scores, counts)
            for (chrom, start, end, name, strand), score in zip(kept, scores[:, 1], strict=True):
                row = "\t".join((chrom, start, end, name, f"{1000 * score:.0f}", strand))
                file.write(f"{row}\n".encode("utf-8", "surrogateescape"))
    return counts


def _row_groups(
    predictions: Iterable[Prediction], width: int
) -> Iterator[tuple[Sequence[Sequence[str]], Float32[np.ndarray, "N C"]]]:
    for group in groups(predictions, lambda _: 1, max(1, min(_ROWS, _VALUES // width))):
        kept, rows = zip(*group, strict=True)
        scores = np.array(rows)
        for row, column in np.argwhere(~np.isfinite(scores)):
            raise JobError(f"The prediction for {' '.join(kept[row][:3])} is not finite ({scores[row, column]}).")
        yield kept, scores


def _decided(task: TaskConfig, scores: Float32[np.ndarray, "N C"], counts: dict[str, int]) -> list[str]:
    """Returns the label of each row, or those that apply with ; between them, and counts them."""
    chosen = label_matrix(task.kind.decisions(scores), len(task.labels)).astype(bool)
    for label, rows in zip(task.labels, chosen.sum(axis=0).tolist(), strict=True):
        counts[label] += rows
    return [";".join(itertools.compress(task.labels, row)) for row in chosen.tolist()]
