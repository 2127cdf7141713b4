"""Rows of labelled DNA as they are in files, before their labels have a meaning.

Letters: n rows.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Bool, Int64, Integer

from dnabert_jax.errors import InputError
from dnabert_jax.io.tables import (
    ID_NAMES,
    LABEL_NAMES,
    LOCUS_NAMES,
    SPLIT_NAMES,
    Table,
    find_column,
    open_table,
    sequence_column,
)
from dnabert_jax.tasks.datasets.labels import TextColumn, listed
from dnabert_jax.tasks.datasets.layout import ALIASES, NPY_SEQUENCES, NPY_TARGETS, SPLITS, Split, labelled_files
from dnabert_jax.tasks.datasets.sequences import SequenceParser, Sequences

_NPY_ROWS = 1 << 14
_LOCUS = r"(?:^|.*::)(?P<contig>[^:\s]+):(?P<start>[0-9]+)-(?P<end>[0-9]+)(?:\([-+.]\))?$"
"""As samtools and bedtools name intervals: chr1:100-200, name::chr1:100-200(+)."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """Names of the columns; those that are empty are found by their usual names.

    Attributes:
        sequence: column of raw DNA or k-mers.
        labels: the column of labels, or one for each output.
        split: column of train, dev or validation, and test, in a table that holds them all.
    """

    sequence: str = ""
    labels: tuple[str, ...] = ()
    split: str = ""


USUAL_COLUMNS = Columns()


@dataclasses.dataclass(frozen=True, eq=False)
class Loci:
    """Where the sequences of rows lie in a genome."""

    contigs: TextColumn
    starts: Int64[np.ndarray, " n"]
    ends: Int64[np.ndarray, " n"]

    def select(self, rows: Integer[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Loci":
        """Returns some of the rows, by numbers or by a mask."""
        return Loci(self.contigs.select(rows), self.starts[rows], self.ends[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class UnlabelledRows:
    """Rows whose labels have no meaning yet."""

    sequences: Sequences
    labels: dict[str, TextColumn]
    rows: Int64[np.ndarray, " n"]
    source: str
    delimiter: str = ""
    loci: Loci | None = None
    shards: tuple[tuple[str, int], ...] = ()

    def where(self, row: int) -> str:
        return row_place(self.rows, self.shards or ((self.source, 0),), row)

    def select(self, rows: Bool[np.ndarray, " n"]) -> "UnlabelledRows":
        labels = {name: column.select(rows) for name, column in self.labels.items()}
        return dataclasses.replace(
            self, sequences=self.sequences.select(rows), labels=labels, rows=self.rows[rows], loci=None
        )


def row_place(rows: Int64[np.ndarray, " n"], shards: Sequence[tuple[str, int]], row: int) -> str:
    """Returns what an error calls a row, by its number and the file that it is in."""
    source, before = next(shard for shard in reversed(shards) if shard[1] < rows[row])
    return f"Row {rows[row] - before:,} of {source}"


def read_rows(source: Path | Mapping[Split, Path], k: int, columns: Columns) -> tuple[str, dict[Split, UnlabelledRows]]:
    """Returns the name of a data set, for errors, and the rows of each of its splits, as `read_labelled` takes them."""
    files = labelled_files(source) if isinstance(source, Path) else {split: [path] for split, path in source.items()}
    if isinstance(files, Path):
        parts = _split_table(files, k, columns)
        if not parts:
            raise InputError(f"{files} has no rows.")
        return str(files), parts
    name = str(source) if isinstance(source, Path) else ", ".join(str(path) for path in source.values())
    loci = set(files) < set(SPLITS)
    read = {split: [_read(path, k, columns, loci) for path in files[split]] for split in SPLITS if split in files}
    return name, {split: _joined(shards) for split, shards in read.items()}


def _joined(parts: Sequence[UnlabelledRows]) -> UnlabelledRows:
    """Returns the rows of all shards of a table."""
    if len(parts) == 1:
        return parts[0]
    names = list(parts[0].labels)
    for part in parts:
        if list(part.labels) != names:
            raise InputError(
                f"{part.source} has the labels {listed(list(part.labels))}, {parts[0].source} {listed(names)}."
            )
    counts = [len(part.rows) for part in parts]
    labels = {name: _concatenated([part.labels[name] for part in parts]) for name in names}
    loci = [part.loci for part in parts if part.loci is not None]
    joined = (
        Loci(
            _concatenated([own.contigs for own in loci]),
            np.concatenate([own.starts for own in loci]),
            np.concatenate([own.ends for own in loci]),
        )
        if len(loci) == len(parts)
        else None
    )
    return UnlabelledRows(
        Sequences.of((part.sequences.codes, part.sequences.lengths) for part in parts),
        labels,
        np.arange(1, sum(counts) + 1),
        parts[0].source,
        parts[0].delimiter,
        joined,
        tuple((part.source, sum(counts[:number])) for number, part in enumerate(parts)),
    )


def _concatenated(columns: Sequence[TextColumn]) -> TextColumn:
    return TextColumn.of(
        pa.chunked_array([pa.array(column.values, pa.string()).take(pa.array(column.index)) for column in columns])
    )


def _read(path: Path, k: int, columns: Columns, loci: bool) -> UnlabelledRows:
    return _read_npy(path, k) if path.is_dir() else _read_table(open_table(path), k, columns, "", loci)[0]


def _read_table(
    table: Table, k: int, columns: Columns, split: str, with_loci: bool
) -> tuple[UnlabelledRows, TextColumn | None]:
    """Returns the rows of a table, and its split column if one is named."""
    sequence = sequence_column(table, columns.sequence)
    wanted = columns.labels or ("",)
    labels = [name for own in wanted if (name := find_column(table, own, LABEL_NAMES, "labels")) is not None]
    if not labels:
        raise InputError(
            f"{table.path} has no column named {' or '.join(LABEL_NAMES)}, only {listed(table.names)}: name "
            "those of the labels."
        )
    chosen = list(dict.fromkeys([sequence, *labels, *([split] if split else [])]))
    if len(chosen) < 1 + len(labels) + bool(split):
        raise InputError(
            f"A column of {table.path} is named twice among sequence, labels and split: {', '.join(chosen)}."
        )
    loci = [name for name in _locus_columns(table) if name not in chosen] if with_loci else []
    part, texts = _collect(
        str(table.path), table.batches([*chosen, *loci]), k, sequence, labels, [*chosen[1 + len(labels) :], *loci]
    )
    where = _loci([texts[name] for name in loci], part.sequences.lengths) if loci else None
    return dataclasses.replace(part, delimiter=table.delimiter, loci=where), TextColumn.of(
        texts[split]
    ) if split else None


def _locus_columns(table: Table) -> list[str]:
    """Returns the columns of contig, start and perhaps end, or that of names which may be such as chr1:100-200."""
    usual = [next((name for name in table.names if name.lower() in names), None) for names in LOCUS_NAMES]
    if None in usual[:2]:
        return [name for name in table.names if name.lower() in ID_NAMES][:1]
    return [name for name in usual if name is not None]


def _loci(columns: Sequence[pa.ChunkedArray], lengths: Int64[np.ndarray, " n"]) -> Loci | None:
    """Returns the loci in columns of contig, start and perhaps end, or of names; None where any row has none."""
    if len(columns) == 1:
        fields = pa.compute.extract_regex(columns[0], _LOCUS)
        if fields.null_count:
            return None
        columns = [pa.compute.struct_field(fields, name) for name in ("contig", "start", "end")]
    try:
        starts, *ends = (column.cast(pa.int64()).to_numpy() for column in columns[1:])
    except pa.ArrowInvalid:
        return None
    return Loci(TextColumn.of(columns[0]), starts, ends[0] if ends else starts + lengths)


def _collect(
    source: str, batches: Iterator[pa.RecordBatch], k: int, sequence: str, labels: Sequence[str], others: Sequence[str]
) -> tuple[UnlabelledRows, dict[str, pa.ChunkedArray]]:
    """Returns the rows, and the texts of the other columns."""
    parser = SequenceParser(source, k)
    arrays: dict[str, list[pa.Array]] = {name: [] for name in [*labels, *others]}
    parsed = []
    for batch in batches:
        parsed.append(parser.parse(batch[sequence]))
        for name, own in arrays.items():
            own.append(pa.compute.utf8_trim_whitespace(pa.compute.fill_null(batch[name], "")))
    texts = {name: pa.chunked_array(own, pa.string()) for name, own in arrays.items()}
    rows = np.arange(1, parser.rows + 1)
    part = UnlabelledRows(Sequences.of(parsed), {name: TextColumn.of(texts[name]) for name in labels}, rows, source)
    return part, texts


def _split_table(path: Path, k: int, columns: Columns) -> dict[Split, UnlabelledRows]:
    """Returns the splits of a table by its split column; without one, all rows are the training split."""
    table = open_table(path)
    split = find_column(table, columns.split, SPLIT_NAMES, "split")
    part, names = _read_table(table, k, columns, split or "", with_loci=split is None)
    if names is None:
        return {"train": part} if len(part.rows) else {}
    of_row = [ALIASES.get(name.lower()) for name in names.values]
    if None in of_row:
        unknown = of_row.index(None)
        row = int(np.argmax(names.index == unknown))
        raise InputError(
            f"{part.where(row)} is of the split {names.values[unknown]!r}, which is none of {listed(list(ALIASES))}."
        )
    result = {}
    for wanted in SPLITS:
        chosen = np.isin(names.index, [number for number, name in enumerate(of_row) if name == wanted])
        if chosen.any():
            result[wanted] = part.select(chosen)
    return result


def _read_npy(folder: Path, k: int) -> UnlabelledRows:
    """Reads the original's layout of a split of the 690 ENCODE sets, as process_690.py reads it."""
    sequences = _load(folder / NPY_SEQUENCES)
    targets = _load(folder / NPY_TARGETS)
    if sequences.dtype.kind not in "SU" or sequences.size != len(sequences):
        raise InputError(
            f"{folder / NPY_SEQUENCES} is no array of one text a row: {sequences.dtype}, {sequences.shape}."
        )
    if targets.dtype.kind not in "biuf" or targets.ndim not in (1, 2) or len(targets) != len(sequences):
        raise InputError(
            f"{folder / NPY_TARGETS} holds {targets.dtype} of the shape {targets.shape}: numbers for the "
            f"{len(sequences):,} sequences are needed."
        )
    targets = targets.reshape(len(targets), -1)
    if targets.dtype.kind == "b":
        targets = targets.astype(np.uint8)
    names = ["label"] if targets.shape[1] == 1 else [str(number) for number in range(targets.shape[1])]

    def batches() -> Iterator[pa.RecordBatch]:
        for first in range(0, len(targets), _NPY_ROWS):
            texts = sequences[first : first + _NPY_ROWS].ravel().tolist()
            numbers = targets[first : first + _NPY_ROWS].T
            arrays = [pa.array(texts).cast(pa.string()), *(pa.array(own).cast(pa.string()) for own in numbers)]
            yield pa.record_batch(arrays, ["sequence", *names])

    return _collect(str(folder), batches(), k, "sequence", names, ())[0]


def _load(path: Path) -> np.ndarray:
    try:
        # Without pickle, a file cannot run code.
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} cannot be read as an array of text or numbers: {str(error).rstrip('.')}.") from error
