"""CSV, TSV and Parquet tables as a stream of text columns, so that memory does not grow with a table.

All values come as text, whatever a file's own types are: what they mean is decided in one place, `labels.py`.
"""

import csv
import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from dnabert_jax.errors import InputError
from dnabert_jax.io.text import open_bytes, valid_unicode

_PARQUET_MAGIC = b"PAR1"
_BLOCK_BYTES = 1 << 20
"""Bytes of text that are read at once. A row must be shorter."""
_PARQUET_ROWS = 1 << 14
_WORKBOOKS = (".xlsx", ".xls", ".ods")

SEQUENCE_NAMES = ("sequence", "seq", "dna", "dna_sequence")
LABEL_NAMES = ("label", "labels", "target", "targets", "class", "bound")
SPLIT_NAMES = ("split", "set", "partition", "foldid")
ID_NAMES = ("id", "name", "seq_id", "sequence_id")
_DEEPBIND = ("foldid", "eventid", "seq", "bound")
_UNNAMED = ("name", "sequence", "label")
"""Columns of the 690 ENCODE sets as they circulate, `>chr1:100-200 ACGT... 1`, which have no header."""
LOCUS_NAMES = (
    ("chrom", "chr", "#chrom", "#chr", "chromosome", "contig", "seqname", "seqnames"),
    ("start", "chromstart", "chrom_start"),
    ("end", "chromend", "chrom_end", "stop"),
)
"""Usual names of the columns of contig, start and end."""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of which only the header was read.

    Attributes:
        names: names of its columns; of two with one name, the second has ".1" behind it, as in pandas.
        delimiter: what separates values; empty for Parquet.
        written: the names as they are in the file.
        has_header: whether the first line names the columns.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str
    written: tuple[str, ...]
    has_header: bool = True

    @property
    def of_deepbind(self) -> bool:
        """Returns whether this is a table of DeepBind's (Alipanahi et al. 2015), whose last value may be absent."""
        return tuple(name.lower() for name in self.names) == _DEEPBIND

    def known_rows(self) -> int | None:
        """Returns the number of rows if the file states it, as Parquet does."""
        return None if self.delimiter else int(pa.parquet.read_metadata(self.path).num_rows)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        r"""Yields rows in order, with these columns as strings; what is missing is null or empty.

        A list (of Parquet) becomes its elements with semicolons between. A byte that is not UTF-8 becomes \xNN. Empty
        lines do not count as rows, and neither do lines of separators alone at the end of the file.
        """
        try:
            if self.delimiter:
                yield from self._text(columns)
                return
            with pa.parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(_PARQUET_ROWS, columns=list(columns)):
                    yield pa.record_batch([_as_text(batch[name], name, self.path) for name in columns], list(columns))
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.path} cannot be read: {str(error).rstrip('.')}.") from error

    def _text(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        ragged: list[Any] = []

        def note(row: Any) -> str:
            ragged.append(row)
            return "skip"

        options = (
            pa.csv.ParseOptions(delimiter=self.delimiter, invalid_row_handler=note),
            # As bytes, since Arrow's strings are UTF-8.
            pa.csv.ConvertOptions(include_columns=list(columns), column_types=dict.fromkeys(columns, pa.binary())),
        )
        rows, mark = 0, self.delimiter.encode()
        with open_bytes(self.path) as stream:
            for number, block in enumerate(_blocks(stream, self.delimiter, self.path)):
                lines = block if number or not self.has_header else block[block.find(b"\n") + 1 :]
                if not lines.strip(b"\n"):
                    continue
                if self.of_deepbind:
                    three = mark.join([rb"[^\n" + mark + rb"]+"] * 3)
                    lines = re.sub(rb"(?m)^" + three + rb"$", rb"\g<0>" + mark, lines)
                # In one thread, rows that do not fit have their numbers.
                reading = pa.csv.ReadOptions(block_size=len(block), use_threads=False, column_names=self.names)
                # Arrow's reader of streams goes on in a thread, which would end a process that stops at an error.
                table = pa.csv.read_csv(pa.BufferReader(lines), reading, *options)
                if ragged:
                    row = ragged[0]
                    raise InputError(
                        f"Row {rows + row.number:,} of {self.path} has {row.actual_columns} values where "
                        f"{'the header has' if self.has_header else 'there must be'} {row.expected_columns}: "
                        f"{row.text[:60]!r}."
                    )
                rows += len(table)
                for batch in table.to_batches():
                    yield pa.record_batch([_decoded(batch[name]) for name in columns], list(columns))


def open_table(path: Path) -> Table:
    """Reads the header of a CSV, TSV or Parquet file; which of them it is, is read from its content."""
    if path.suffix.lower() in _WORKBOOKS:
        raise InputError(f"{path} is a spreadsheet. Save the sheet as CSV (UTF-8) or as tab-separated text.")
    with open_bytes(path) as stream:
        if stream.peek(len(_PARQUET_MAGIC)).startswith(_PARQUET_MAGIC):  # type: ignore[attr-defined]
            try:
                names = tuple(pa.parquet.read_schema(path).names)
            except (pa.ArrowInvalid, OSError) as error:
                raise InputError(f"{path} is a damaged Parquet file: {str(error).rstrip('.')}.") from error
            return Table(path, names, "", names)
        lines = (line for block in _blocks(stream, "", path) for line in block.split(b"\n"))
        header = next(lines, b"")
        row = next((line for line in lines if line), b"")
    if b"\0" in header:
        raise InputError(f"{path} is not a CSV, TSV or Parquet table.")
    if not header.strip():
        raise InputError(
            f"{path} is empty or begins with an empty line. Its first line must name the columns, or be a row such as "
            "'>chr1:100-107 ACGTACGT 1'."
        )
    if (header.startswith(b">") and len(header.split()) > 1) or _lacks_header(path, header):
        return Table(path, _UNNAMED, "\t" if b"\t" in header else " ", _UNNAMED, has_header=False)
    # Spreadsheets write semicolons where the comma is in numbers.
    unquoted = re.sub(rb'"[^"]*"', b"", header).decode("ascii", "replace")
    otherwise = " " if unquoted.lower().split() == [*_DEEPBIND] else ","
    delimiter = next((mark for mark in "\t,;" if mark in unquoted), otherwise)
    limit = csv.field_size_limit(_BLOCK_BYTES)  # of the whole process
    written, values = (
        next(csv.reader([line.decode("utf-8", "backslashreplace")], delimiter=delimiter, skipinitialspace=True), [])
        for line in (header, row)
    )
    csv.field_size_limit(limit)
    written = [name.strip() for name in written]
    # Separators at the end of the header alone, or of the rows alone.
    if values and not any(written[len(values) :]):
        written = written[: len(values)]
    if not any(values[len(written) :]):
        written += values[len(written) :]
    return Table(path, _unique(written), delimiter, tuple(written))


def _lacks_header(path: Path, line: bytes) -> bool:
    """Returns whether a file is named like those of the 690 ENCODE sets, `train.data`, and its first line is a row."""
    names = re.split(r"[\s,;]", line.decode("ascii", "replace").lower())
    return path.name.lower().removesuffix(".gz").endswith(".data") and not {*names} & {*SEQUENCE_NAMES}


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    unique: dict[str, None] = {}
    for name in names:
        others = (f"{name}.{number}" for number in itertools.count(1))
        unique[name if name not in unique else next(other for other in others if other not in {*names, *unique})] = None
    return tuple(unique)


def find_column(table: Table, wanted: str, usual: Sequence[str], flag: str) -> str | None:
    """Returns the column of a name, or else the only one with a usual name in any case; None if there is none."""
    if wanted:
        if (name := valid_unicode(wanted)) in table.names:
            return name
        raise InputError(f"{table.path} has no column {name!r}: its columns are {', '.join(table.names)}.")
    columns = [name for name, written in zip(table.names, table.written, strict=True) if written.lower() in usual]
    if len(columns) > 1:
        raise InputError(f"{table.path} has the columns {', '.join(columns)}. Choose one with {flag}.")
    return columns[0] if columns else None


def id_column(table: Table, wanted: str = "") -> str | None:
    """Returns the column that names rows, or else the first with a usual name; None if there is none."""
    if wanted:
        return find_column(table, wanted, (), "--id")
    return next((name for name in table.names if name.lower() in ID_NAMES), None)


def required_column(table: Table, wanted: str, usual: Sequence[str], flag: str) -> str:
    """Returns a column as `find_column` does; raises InputError if there is none."""
    if (column := find_column(table, wanted, usual, flag)) is not None:
        return column
    shown = ", ".join(name if len(name) <= 40 else f"{name[:40]}..." for name in table.names)
    raise InputError(
        f"{table.path} has no column named {' or '.join(usual)}, only {shown}. Choose one with {flag}, or "
        "give the file a header."
    )


def _blocks(stream: BinaryIO, delimiter: str, path: Path) -> Iterator[bytes]:
    """Yields whole lines, with line feeds behind them, but no lines of separators alone at the end of the file."""
    held, blank = b"", b"\n " + delimiter.encode()
    with ThreadPoolExecutor(1) as thread:  # unpacks the next block meanwhile
        reading = thread.submit(stream.read, _BLOCK_BYTES)
        while block := reading.result():
            reading = thread.submit(stream.read, _BLOCK_BYTES)
            if b"\r" in block:  # CR LF on the edge of two blocks gives an empty line, which does not count
                block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            block = held + block
            filled = len(block.rstrip(blank))
            end = block.rfind(b"\n", 0, filled) + 1
            if block.count(b'"', 0, end) % 2:  # that line feed may stand within quotes
                marks = np.frombuffer(block, np.uint8)[:end]
                ends = np.flatnonzero((marks == ord("\n")) & (np.cumsum(marks == ord('"')) % 2 == 0))
                end = int(ends[-1]) + 1 if len(ends) else end
            if filled - end > _BLOCK_BYTES:
                raise InputError(f"{path} has a row of more than {_BLOCK_BYTES >> 20} MiB.")
            if end:
                yield block[:end]
            held = block[end:]
    if held:
        yield held[: held.find(b"\n", len(held.rstrip(blank))) + 1 or len(held)]


def _decoded(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:  # text is rarely anything but UTF-8
        return pa.array(
            [value if value is None else value.decode("utf-8", "backslashreplace") for value in column.to_pylist()],
            pa.string(),
        )


def _as_text(column: pa.Array, name: str, path: Path) -> pa.Array:
    kind = column.type
    try:
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return pa.compute.binary_join(column.cast(pa.list_(pa.string())), ";")
        if pa.types.is_binary(kind):
            return _decoded(column)
        if pa.types.is_boolean(kind):
            column = column.cast(pa.int8())
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"Column {name!r} of {path} is of type {kind}, which is neither text nor numbers.") from error
