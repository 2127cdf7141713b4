"""Writes tables row group by row group: TSV or CSV, gzip or not, or Parquet, as the name of the file says."""

import contextlib
import csv
import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet

from dnabert_jax.errors import InputError, first_line
from dnabert_jax.io.text import valid_unicode
from dnabert_jax.outputs import output_file

_DELIMITERS = {".tsv": "\t", ".csv": ","}
_PARQUET = ".parquet"

Write = Callable[[pa.RecordBatch], None]
"""Takes the next rows."""


def check_table_name(path: Path, others: str = "") -> str:
    """Returns the ending that says what a table is, or raises InputError; `others` are endings of other files."""
    kind = Path(path.name.removesuffix(".gz")).suffix
    if kind not in (*_DELIMITERS, _PARQUET) or path.name.endswith(f"{_PARQUET}.gz"):
        raise InputError(
            f"The name of {path} does not say what kind of file to write: it must end in "
            f".tsv, .csv, .tsv.gz, .csv.gz or .parquet{others}."
        )
    return kind


def record_batch(columns: Sequence[Iterable[object]], schema: pa.Schema) -> pa.RecordBatch:
    """Returns rows for a table, given the values of its columns as for `typed_array`."""
    arrays = [typed_array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def typed_array(values: Iterable[object], kind: pa.DataType) -> pa.Array:
    """Returns a column of a table; text that was not UTF-8 in its file becomes so (`valid_unicode`)."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([valid_unicode(value) if isinstance(value, str) else value for value in values], kind)


@contextlib.contextmanager
def output_table(path: Path, schema: pa.Schema) -> Iterator[Write]:
    """Yields a function that writes rows; the file gets its name when the block ends well, and is removed if not."""
    with output_file(path) as file, table_writer(file, path, schema) as write:
        yield write


@contextlib.contextmanager
def table_writer(file: BinaryIO, path: Path, schema: pa.Schema) -> Iterator[Write]:
    """Yields a function that writes rows to a file that is open; the table is complete when the block has ended.

    Numbers are written as text with the fewest digits that read back to the same number; a text that holds the
    delimiter, a quote or a line end is in quotes.
    """
    kind = check_table_name(path)
    try:
        if kind == _PARQUET:
            with pa.parquet.ParquetWriter(file, schema) as parquet:
                yield parquet.write_batch
            return
        # The time of writing is left out: the same rows give the same bytes.
        compressed = gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) if path.name.endswith(".gz") else None
        text = io.TextIOWrapper(compressed or file, "utf-8", newline="")
        rows = csv.writer(text, delimiter=_DELIMITERS[kind], lineterminator="\n")
        rows.writerow(schema.names)

        def write(batch: pa.RecordBatch) -> None:
            rows.writerows(zip(*(column.cast(pa.string()).to_pylist() for column in batch.columns), strict=True))

        yield write
        text.flush()
        text.detach()
        if compressed:
            compressed.close()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"{path} cannot hold a value: {first_line(error)}.") from error
