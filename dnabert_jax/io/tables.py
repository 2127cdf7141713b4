"""CSV, TSV and Parquet tables, gzip or not, as a stream of text columns, so that memory does not grow with a table.

All values come as text, whatever a file's own types are: what they mean is decided in one place, `labels.py`.
"""

import csv
import dataclasses
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from dnabert_jax.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_BLOCK_BYTES = 1 << 20
"""Of text read at once, of which Arrow holds some 32. A row must be shorter."""
_PARQUET_ROWS = 1 << 14

SEQUENCE_NAMES = ("sequence", "seq", "dna", "dna_sequence")
LABEL_NAMES = ("label", "labels", "target", "targets", "class")
SPLIT_NAMES = ("split", "set", "partition")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table on local disk, of which only the header was read.

    Attributes:
        path: of the file.
        names: of its columns.
        delimiter: between values; empty if it is Parquet.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str

    def known_rows(self) -> int | None:
        """How many rows there are, where that stands in the file: in Parquet alone."""
        return None if self.delimiter else int(pa.parquet.read_metadata(self.path).num_rows)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields rows in order, with these columns as strings; what is missing is null or empty.

        A list (of Parquet) becomes its elements with commas between. Empty lines do not count as rows.

        Raises:
            InputError: the file is damaged, or a row has more or fewer values than the header.
        """
        try:
            yield from self._parquet(columns) if not self.delimiter else self._text(columns)
        except (pa.ArrowInvalid, OSError) as error:
            if "straddling object" in str(error):
                raise InputError(f"{self.path} has a row of more than {_BLOCK_BYTES >> 20} MiB.") from error
            if "UTF8" in str(error):
                raise InputError(f"{self.path} has a letter that is not UTF-8: save it in that encoding.") from error
            raise InputError(f"{self.path} cannot be read: {str(error).rstrip('.')}.") from error

    def _parquet(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pa.parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_PARQUET_ROWS, columns=list(columns)):
                yield pa.record_batch([_as_text(batch[name], name, self.path) for name in columns], list(columns))

    def _text(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        ragged: list[Any] = []

        def note(row: Any) -> str:
            ragged.append(row)
            return "skip"

        with _uncompressed(self.path) as stream:
            reader = pa.csv.open_csv(
                stream,
                # In one thread, rows that do not fit have their numbers.
                pa.csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
                pa.csv.ParseOptions(delimiter=self.delimiter, invalid_row_handler=note),
                pa.csv.ConvertOptions(include_columns=list(columns), column_types=dict.fromkeys(columns, pa.string())),
            )
            for batch in reader:
                _refuse(ragged, self.path)
                yield batch
            _refuse(ragged, self.path)


def open_table(path: Path) -> Table:
    """Reads the header of a CSV, TSV or Parquet file; what it is, is seen from its content.

    Raises:
        InputError: there is no such file, it is empty, damaged, or no table of such a kind.
    """
    if not path.is_file():
        raise InputError(f"{path} is no file.")
    try:
        with path.open("rb") as file:
            if file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC:
                return Table(path, tuple(pa.parquet.read_schema(path).names), "")
            file.seek(0)
            compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        with (gzip.open if compressed else open)(path, "rb") as file:
            line = file.readline(_BLOCK_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no CSV, TSV or Parquet table: byte {error.start + 1} of its first line is not UTF-8."
        ) from error
    except (EOFError, zlib.error, pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is no CSV, TSV or Parquet table, or is damaged: {error}.") from error
    if not line.strip():
        raise InputError(f"{path} is empty or begins with an empty line: its first line must name the columns.")
    # Spreadsheets write semicolons where the comma is in numbers.
    delimiter = next((one for one in "\t,;" if one in line), ",")
    return Table(path, tuple(next(csv.reader(io.StringIO(line), delimiter=delimiter))), delimiter)


def find_column(table: Table, wanted: str, usual: Sequence[str], what: str) -> str | None:
    """The column of a name, or, if none is given, the only one with a usual name in any case; None if there is none.

    Raises:
        InputError: there is no column of the wanted name, or several could be meant.
    """
    found = [name for name in table.names if (name == wanted if wanted else name.lower() in usual)]
    if wanted and not found:
        raise InputError(f"{table.path} has no column {wanted!r}: its columns are {', '.join(table.names)}.")
    if len(found) > 1:
        raise InputError(f"{table.path} has several columns for the {what} ({', '.join(found)}): name one.")
    return found[0] if found else None


def sequence_column(table: Table, wanted: str = "") -> str:
    """The column of the sequences, by its name or by a usual one; raises InputError if there is none."""
    found = find_column(table, wanted, SEQUENCE_NAMES, "sequence")
    if found is None:
        shown = ", ".join(name if len(name) <= 40 else f"{name[:40]}..." for name in table.names)
        raise InputError(
            f"{table.path} has no column named {' or '.join(SEQUENCE_NAMES)}, only {shown}: name the column of the "
            "sequences, or give the file a header."
        )
    return found


def _refuse(ragged: list[Any], path: Path) -> None:
    if ragged:
        # The header is row 1 to Arrow.
        row = ragged[0]
        raise InputError(
            f"Row {row.number - 1:,} of {path} has {row.actual_columns} values where the header has "
            f"{row.expected_columns}: {row.text[:60]!r}."
        )


def _uncompressed(path: Path) -> pa.NativeFile:
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    return pa.input_stream(str(path), compression="gzip" if compressed else None)


def _as_text(column: pa.Array, name: str, path: Path) -> pa.Array:
    kind = column.type
    try:
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return pa.compute.binary_join(column.cast(pa.list_(pa.string())), ",")
        if pa.types.is_boolean(kind):
            column = column.cast(pa.int8())
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"Column {name!r} of {path} is of type {kind}, which is neither text nor numbers.") from error
