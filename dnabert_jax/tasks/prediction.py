"""What a model says of sequences, row after row, as files that numpy or any reader of Parquet opens.

N sequences, H hidden, C labels. Where a sequence has a vector for each k-mer or base, those of all sequences are n in
all.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from jaxtyping import Float, Float32

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.io.npz_file import write_npz
from dnabert_jax.io.output_table import output_table, typed_array
from dnabert_jax.outputs import output_file
from dnabert_jax.sequence.buckets import groups
from dnabert_jax.tasks.datasets.labels import label_matrix
from dnabert_jax.tasks.datasets.unlabelled import BED_COLUMNS

_VALUES = 1 << 20
_ROWS = 1 << 15
"""Of a row group, at most; as many as that hold _VALUES, where there are many labels."""

Prediction = tuple[Sequence[str], Float32[np.ndarray, " C"]]
"""Values of the columns of the input, and the probabilities or numbers of a sequence."""
Dtype = Literal["float32", "float16"]
Embedding = tuple[str, Float32[np.ndarray, "..."]]

_FORMATS = (".npz", ".parquet")
_GROUP_BYTES = 1 << 25
"""Of vectors in a row group."""


def write_predictions(
    path: Path, task: TaskConfig, columns: Sequence[str], predictions: Iterable[Prediction]
) -> dict[str, int]:
    """Writes a row for each prediction, in order and in constant memory: a table, or BED6 if the path ends in .bed.

    The columns of a table are those of the input, then prediction, and the probability of each label as p_LABEL. A
    regression has its numbers in place of these: prediction, or prediction_LABEL if there are several.

    Returns:
        How often each label is predicted; nothing for a regression.
    """
    if path.suffix == ".bed":
        return _write_bed(path, task, predictions)
    classes = task.labels if task.kind.has_classes else ()
    if classes:
        results = [("prediction", pa.string()), *((f"p_{label}", pa.float32()) for label in classes)]
    else:
        names = [f"prediction_{label}" for label in task.labels] if len(task.labels) > 1 else ["prediction"]
        results = [(name, pa.float32()) for name in names]
    for name, _ in results:
        if name in columns:
            raise InputError(f"The input has a column {name!r} already. Name the columns to keep, without it: --keep.")
    # Columns of a table by these names may hold anything.
    numbers = ("start", "end") if columns is BED_COLUMNS else ()
    schema = pa.schema([*((name, pa.int64() if name in numbers else pa.string()) for name in columns), *results])
    if columns is BED_COLUMNS and ".tsv" in path.suffixes:
        schema = schema.set(0, schema.field(0).with_name("#chrom"))  # a comment to BEDTools, which take no header
    counts = dict.fromkeys(classes, 0)
    with output_table(path, schema) as write:
        for fields, scores in _row_groups(predictions, len(task.labels)):
            texts = [typed_array(values, pa.string()) for values in zip(*fields, strict=True)]
            arrays = [text.cast(kind) for text, kind in zip(texts, schema.types, strict=False)]
            if classes:
                arrays.append(pa.array(_decided(task, scores, counts), pa.string()))
            arrays += [pa.array(np.ascontiguousarray(column)) for column in scores.T]
            write(pa.record_batch(arrays, schema=schema))
    return counts


def _write_bed(path: Path, task: TaskConfig, predictions: Iterable[Prediction]) -> dict[str, int]:
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
        for fields, scores in _row_groups(predictions, 2):
            _decided(task, scores, counts)
            for (chrom, start, end, name, strand), score in zip(fields, scores[:, 1], strict=True):
                row = "\t".join((chrom, start, end, name, f"{1000 * score:.0f}", strand))
                file.write(f"{row}\n".encode("utf-8", "surrogateescape"))
    return counts


def _row_groups(
    predictions: Iterable[Prediction], width: int
) -> Iterator[tuple[Sequence[Sequence[str]], Float32[np.ndarray, "N C"]]]:
    for group in groups(predictions, lambda _: 1, max(1, min(_ROWS, _VALUES // width))):
        fields, rows = zip(*group, strict=True)
        scores = np.array(rows)
        for row, column in np.argwhere(~np.isfinite(scores)):
            raise JobError(f"The prediction for {' '.join(fields[row][:3])} is not finite ({scores[row, column]}).")
        yield fields, scores


def _decided(task: TaskConfig, scores: Float32[np.ndarray, "N C"], counts: dict[str, int]) -> list[str]:
    """Returns the label of each row, or those that apply with ; between them, and counts them."""
    chosen = label_matrix(task.kind.decisions(scores), len(task.labels)).astype(bool)
    for label, rows in zip(task.labels, chosen.sum(axis=0).tolist(), strict=True):
        counts[label] += rows
    return [";".join(itertools.compress(task.labels, row)) for row in chosen.tolist()]


def check_embedding_name(path: Path) -> None:
    """Raises InputError unless the name of a file says what it is."""
    if path.suffix not in _FORMATS:
        raise InputError(f"{path} is to be a file of which kind? Its name must end in {' or '.join(_FORMATS)}.")


def write_embeddings(
    path: Path, embeddings: Iterable[Embedding], width: int, by_position: bool, dtype: Dtype = "float32"
) -> None:
    """Writes the embeddings in order and in constant memory.

    As .npz: `ids` (text), `embeddings`, [N, H]; by position [n, H] and `offsets`, [N + 1], so that those of sequence i
    are `embeddings[offsets[i] : offsets[i + 1]]`. Until all is there, the vectors are in a temporary file beside it, so
    that twice their size is needed on disk. As .parquet: `id` and `embedding`, a list of H numbers, by position a list
    of such lists.

    Args:
        embeddings: (name, [H] or, by position, [m, H]) of each sequence.

    Raises:
        InputError: the file exists, or a number is beyond the dtype.
        JobError: a number is not finite.
    """
    narrowed = ((name, _narrowed(name, vectors, dtype)) for name, vectors in embeddings)
    with output_file(path) as file:
        if path.suffix == ".npz":
            arrays = {"embeddings": np.dtype((dtype, (width,)))}
            rows = ((name, (vectors,)) for name, vectors in narrowed)
            write_npz(file, path.parent, rows, arrays, by_position)
            return
        vector = pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), width)
        schema = pa.schema([("id", pa.string()), ("embedding", pa.list_(vector) if by_position else vector)])
        # What a dictionary could save in numbers that are all different is nothing.
        with pa.parquet.ParquetWriter(file, schema, use_dictionary=False) as parquet:
            for group in groups(narrowed, lambda embedding: embedding[1].nbytes, _GROUP_BYTES):
                names, vectors = zip(*group, strict=True)
                numbers = pa.array(np.concatenate([array.ravel() for array in vectors]))
                values = pa.FixedSizeListArray.from_arrays(numbers, width)
                if by_position:
                    values = pa.ListArray.from_arrays(np.cumsum([0, *map(len, vectors)]).astype(np.int32), values)
                columns = [typed_array(names, pa.string()), values.cast(schema.field(1).type)]
                parquet.write_batch(pa.record_batch(columns, schema=schema))


def _narrowed(name: str, vectors: Float32[np.ndarray, "..."], dtype: Dtype) -> Float[np.ndarray, "..."]:
    with np.errstate(over="ignore"):
        narrow = vectors.astype(dtype)
    if not np.isfinite(vectors).all():
        raise JobError(f"The embedding of {name} is not finite.")
    if not np.isfinite(narrow).all():
        raise InputError(f"The embedding of {name} has {np.abs(vectors).max()}, which is beyond {dtype}: use float32.")
    return narrow
