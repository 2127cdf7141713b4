"""A table written row group by row group: TSV or CSV, gzip or not, or Parquet, as its name says."""

import contextlib
import csv
import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from dnabert_jax.errors import InputError
from dnabert_jax.output_file import output_file

_DELIMITERS = {".tsv": "\t", ".csv": ","}
_PARQUET = ".parquet"

Write = Callable[[pa.RecordBatch], None]
"""Takes the next rows."""


def check_table_name(path: Path, others: str = "") -> None:
    """Raises InputError unless the name of a table says what it is; `others` are endings of what is no table."""
    _kind(path, others)


def _kind(path: Path, others: str = "") -> str:
    kind = Path(path.name.removesuffix(".gz")).suffix
    if kind not in (*_DELIMITERS, _PARQUET) or path.name.endswith(f"{_PARQUET}.gz"):
        raise InputError(
            f"{path} is to be a file of which kind? Its name must end in "
            f".tsv, .csv, .tsv.gz, .csv.gz or .parquet{others}."
        )
    return kind


@contextlib.contextmanager
def output_table(path: Path, schema: pa.Schema) -> Iterator[Write]:
    """Yields what writes rows; the file has its name when the block ends well, and is removed if not.

    Numbers are written as text with the fewest digits that read back to the same number; a text that holds the
    delimiter, a quote or a line end is in quotes.

    Raises:
        InputError: the name does not say what it is, or the file exists.
    """
    kind = _kind(path)
    with output_file(path) as file:
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
