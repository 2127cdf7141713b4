"""Embeddings as a file that numpy or any reader of Parquet opens, written as they come.

N sequences, H hidden. Where a sequence has a vector for each k-mer or base, those of all sequences are n in all.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from jaxtyping import Float, Float32

from dnabert_jax.errors import InputError, JobError
from dnabert_jax.io.npz_file import write_npz
from dnabert_jax.io.output_table import typed_array
from dnabert_jax.output_file import output_file
from dnabert_jax.sequence.buckets import groups

Dtype = Literal["float32", "float16"]
Embedding = tuple[str, Float32[np.ndarray, "..."]]

_FORMATS = (".npz", ".parquet")
_GROUP_BYTES = 1 << 25
"""Of vectors in a row group."""


def check_embedding_name(path: Path) -> None:
    """Raises InputError unless the name of a file says what it is."""
    if path.suffix not in _FORMATS:
        raise InputError(f"{path} is to be a file of which kind? Its name must end in {' or '.join(_FORMATS)}.")


def write_embeddings(
    path: Path, embeddings: Iterable[Embedding], width: int, by_position: bool, dtype: Dtype = "float32"
) -> int:
    """Writes the embeddings in order and in constant memory; returns how many sequences there are.

    As .npz: `ids` (text), `embeddings`, [N, H]; by position [n, H] and `offsets`, [N + 1], so that those of sequence i
    are `embeddings[offsets[i] : offsets[i + 1]]`. Until all is there, the vectors are in a temporary file beside it, so
    that twice their size is needed on disk. As .parquet: `id` and `embedding`, a list of H numbers, by position a list
    of such lists.

    Args:
        embeddings: (name, [H] or, by position, [m, H]) of each sequence.

    Raises:
        InputError: the name does not say what it is, the file exists, or a number is beyond the dtype.
        JobError: a number is not finite.
    """
    check_embedding_name(path)
    narrowed = ((name, _narrowed(name, vectors, dtype)) for name, vectors in embeddings)
    with output_file(path) as file:
        if path.suffix == ".npz":
            arrays = {"embeddings": np.dtype((dtype, (width,)))}
            rows = ((name, (vectors,)) for name, vectors in narrowed)
            return write_npz(file, path.parent, rows, arrays, by_position)
        return _write_parquet(file, narrowed, width, by_position, dtype)


def _narrowed(name: str, vectors: Float32[np.ndarray, "..."], dtype: Dtype) -> Float[np.ndarray, "..."]:
    with np.errstate(over="ignore"):
        narrow = vectors.astype(dtype)
    if not np.isfinite(vectors).all():
        raise JobError(f"The embedding of {name} is not finite.")
    if not np.isfinite(narrow).all():
        raise InputError(f"The embedding of {name} has {np.abs(vectors).max()}, which is beyond {dtype}: use float32.")
    return narrow


def _write_parquet(
    file: IO[bytes], embeddings: Iterable[Embedding], width: int, by_position: bool, dtype: Dtype
) -> int:
    vector = pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), width)
    schema = pa.schema([("id", pa.string()), ("embedding", pa.list_(vector) if by_position else vector)])
    count = 0
    # What a dictionary could save in numbers that are all different is nothing.
    with pa.parquet.ParquetWriter(file, schema, use_dictionary=False) as parquet:
        for group in groups(embeddings, lambda embedding: embedding[1].nbytes, _GROUP_BYTES):
            names, vectors = zip(*group, strict=True)
            values = pa.FixedSizeListArray.from_arrays(
                pa.array(np.concatenate([own.ravel() for own in vectors])), width
            )
            if by_position:
                ends = np.cumsum([0, *(len(own) for own in vectors)]).astype(np.int32)
                values = pa.ListArray.from_arrays(ends, values)
            parquet.write_batch(
                pa.record_batch([typed_array(names, pa.string()), values.cast(schema.field(1).type)], schema=schema)
            )
            count += len(names)
    return count
