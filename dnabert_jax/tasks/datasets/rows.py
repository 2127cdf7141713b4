"""Rows of labelled DNA as they are in files.

Letters: n rows.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Bool, Int64, Integer, Shaped

from dnabert_jax.errors import InputError
from dnabert_jax.io.tables import (
    LABEL_NAMES,
    LOCUS_NAMES,
    SPLIT_NAMES,
    Table,
    find_column,
    id_column,
    open_table,
    required_column,
    sequence_column,
)
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.tasks.datasets.labels import Labels, TextColumn, is_missing, listed
from dnabert_jax.tasks.datasets.layout import ALIASES, NPY_SEQUENCES, NPY_TARGETS, SPLITS, Split, labelled_files
from dnabert_jax.tasks.datasets.sequences import SequenceParser, Sequences

_NPY_ROWS = 1 << 14
_FOLDS: dict[str, Split] = {"a": "train", "b": "test", "c": "train"}
"""Folds of DeepBind's sets (Alipanahi et al. 2015): B is held out."""
_Labels = TypeVar("_Labels", Labels, dict[str, TextColumn])
_LOCUS = r"(?:^>?|.*::)(?P<contig>[^:\s]+):(?P<start>[0-9]+)-(?P<end>[0-9]+)(?:\([-+.]\)|_shuf)?$"
"""Matches intervals as samtools and bedtools name them: chr1:100-200, name::chr1:100-200(+); and shuffles of them."""


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

    def names(self) -> Shaped[np.ndarray, " n"]:
        """Returns the contig, start and end of each row as one text."""
        contigs = np.array(self.contigs.values, dtype=np.str_)[self.contigs.index]
        return np.array([f"{c}:{s}-{e}" for c, s, e in zip(contigs, self.starts, self.ends, strict=True)], np.str_)

    def select(self, rows: Integer[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Loci":
        """Returns some of the rows, by numbers or by a mask."""
        return Loci(self.contigs.select(rows), self.starts[rows], self.ends[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Rows(Generic[_Labels]):
    """Rows of a split.

    Attributes:
        labels: numbers of classes (int32), 0 or 1 for each of several labels (uint8), or targets (float32); columns of
            text by name as long as they have no meaning.
        rows: number of each in its file, from 1, without the header; counted through all shards of a table.
        source: the file, or the first shard.
        loci: where they lie, if the table says so and has no splits, or if they are of a set of the 690.
        shards: files of a table in shards, and rows before each.
        table: the header of the file, if it is a table.
        unlabelled: rows of the test half of a set of DeepBind's that were left out, as they have no label.
    """

    sequences: Sequences
    labels: _Labels
    rows: Int64[np.ndarray, " n"]
    source: str
    loci: Loci | None = None
    shards: tuple[tuple[str, int], ...] = ()
    table: Table | None = None
    unlabelled: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, row: int) -> str:
        """Returns what an error calls a row."""
        shards = self.shards or ((self.source, 0),)
        source, before = next(shard for shard in reversed(shards) if shard[1] < self.rows[row])
        return f"Row {self.rows[row] - before:,} of {source}"

    def select(self, rows: Integer[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Rows[_Labels]":
        """Returns some of the rows, by numbers or by a mask."""
        labels: Any = self.labels
        if isinstance(labels, dict):
            labels = {name: column.select(rows) for name, column in labels.items()}
        else:
            labels = labels[rows]
        sequences, loci = self.sequences.select(rows), self.loci and self.loci.select(rows)
        return dataclasses.replace(self, sequences=sequences, labels=labels, rows=self.rows[rows], loci=loci)


TextRows = Rows[dict[str, TextColumn]]


def read_rows(source: Path | Mapping[Split, Path], tokenizer: Tokenizer, columns: Columns) -> dict[Split, TextRows]:
    """Returns the rows of each split of a data set, as `read_labelled` takes it."""
    files = labelled_files(source) if isinstance(source, Path) else {split: [path] for split, path in source.items()}
    if isinstance(files, Path):
        parts = _split_table(files, tokenizer, columns)
    else:
        with_loci = set(files) < set(SPLITS)
        parts = {
            split: _read_npy(files[split][0], tokenizer)
            if files[split][0].is_dir()
            else _read_tables([open_table(path) for path in files[split]], tokenizer, columns, with_loci)
            for split in SPLITS
            if split in files
        }
    if "test" in parts and parts["test"].table and parts["test"].table.of_deepbind:
        parts["test"] = _labelled(parts["test"])
    for rows in parts.values():
        if rows.table and (rows.table.of_deepbind or not rows.table.has_header):
            _check_binding(rows, next(iter(parts.values())))
    return parts


def _labelled(rows: TextRows) -> TextRows:
    """Returns the rows that have a label; raises InputError if none has."""
    column = next(iter(rows.labels.values()))
    missing = np.array([is_missing(value) for value in column.values], bool)[column.index]
    if len(rows) and missing.all():
        raise InputError(
            f"No row of the test half in {rows.source} has a label, so that nothing can be measured on it. Add the "
            "labels, or remove these rows, so that some of the training rows are put aside."
        )
    return dataclasses.replace(rows.select(~missing), unlabelled=int(missing.sum()))


def _split_table(path: Path, tokenizer: Tokenizer, columns: Columns) -> dict[Split, TextRows]:
    """Returns the splits of a table by its split column; without one, all rows are the training split."""
    table = open_table(path)
    split = find_column(table, columns.split, SPLIT_NAMES, "--split")
    rows = _read_tables([table], tokenizer, columns, with_loci=split is None, split=split or "")
    if not len(rows):
        raise InputError(f"{path} has no rows.")
    if split is None:
        return {"train": rows}
    names = rows.labels.pop(split)
    aliases = _FOLDS if split.lower() == "foldid" else ALIASES
    splits = np.array([aliases.get(name.lower(), "") for name in names.values])[names.index]
    if (splits == "").any():
        row = int(np.argmax(splits == ""))
        raise InputError(
            f"{rows.where(row)} is of the split {names.values[names.index[row]]!r}, which is none of "
            f"{listed(list(aliases))}."
        )
    return {wanted: rows.select(splits == wanted) for wanted in SPLITS if wanted in splits}


def _read_tables(
    tables: Sequence[Table], tokenizer: Tokenizer, columns: Columns, with_loci: bool, split: str = ""
) -> TextRows:
    """Returns the rows of all shards of a table; the column of the split, if one is named, is the last label."""
    sequences = [sequence_column(table, columns.sequence) for table in tables]
    wanted = columns.labels or ("",)
    labels = [[required_column(table, name, LABEL_NAMES, "--labels") for name in wanted] for table in tables]
    labels = [[*names, split] if split else names for names in labels]
    for table, sequence, names in zip(tables, sequences, labels, strict=True):
        if len({sequence, *names}) <= len(names):
            raise InputError(
                f"A column of {table.path} is named twice among sequence, labels and split: "
                f"{listed([sequence, *names])}."
            )
        if names != labels[0]:
            raise InputError(f"{table.path} has the labels {listed(names)}, {tables[0].path} {listed(labels[0])}.")
    taken = {*sequences, *labels[0]}
    with_loci |= not tables[0].has_header
    loci = [[name for name in _locus_columns(table) if with_loci and name not in taken] for table in tables]
    if len({len(names) for names in loci}) > 1:
        loci = [[] for _ in tables]
    streams = [
        (str(table.path), (batch.columns for batch in table.batches([sequence, *labels[0], *names])))
        for table, sequence, names in zip(tables, sequences, loci, strict=True)
    ]
    rows, texts = _collect(streams, tokenizer, labels[0], len(loci[0]))
    return dataclasses.replace(rows, loci=_loci(texts, rows.sequences.lengths), table=tables[0])


def _check_binding(rows: TextRows, first: TextRows) -> None:
    """Raises InputError unless rows are as the 690 sets have them: with labels 0 and 1, and as long as the first."""
    column, lengths = next(iter(rows.labels.values())), rows.sequences.lengths
    wrong = np.array([value not in ("0", "1") for value in column.values])[column.index]
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"{rows.where(row)} has the label {column.values[column.index[row]]!r}: it must be 0 or 1.")
    if len(first) and (lengths != first.sequences.lengths[0]).any():
        row, length = int(np.argmax(lengths != first.sequences.lengths[0])), first.sequences.lengths[0]
        raise InputError(f"{rows.where(row)} has {lengths[row]:,} bases, the first row of the set {length:,}.")


def _locus_columns(table: Table) -> list[str]:
    """Returns the columns of contig, start and perhaps end, or that of names which may be such as chr1:100-200."""
    usual = [next((name for name in table.names if name.lower() in names), None) for names in LOCUS_NAMES]
    if None in usual[:2]:
        usual = [id_column(table)]
    return [name for name in usual if name is not None]


def _loci(columns: Sequence[pa.ChunkedArray], lengths: Int64[np.ndarray, " n"]) -> Loci | None:
    """Returns the loci in columns of contig, start and perhaps end, or of names; None where any row has none."""
    if not columns:
        return None
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
    streams: Iterable[tuple[str, Iterable[Sequence[pa.Array]]]],
    tokenizer: Tokenizer,
    labels: Sequence[str],
    others: int,
) -> tuple[TextRows, list[pa.ChunkedArray]]:
    """Returns the rows of files, and the texts of other columns."""
    parsed, texts, shards, count = [], [], [], 0
    for source, batches in streams:
        parser = SequenceParser(source, tokenizer)
        for sequence, *columns in batches:
            parsed.append(parser.parse(sequence))
            texts.append([pa.compute.utf8_trim_whitespace(pa.compute.fill_null(column, "")) for column in columns])
        shards.append((source, count))
        count += parser.rows
    arrays = [pa.chunked_array([batch[n] for batch in texts], pa.string()) for n in range(len(labels) + others)]
    named = {name: TextColumn.of(array) for name, array in zip(labels, arrays, strict=False)}
    rows = Rows(Sequences.of(parsed), named, np.arange(1, count + 1), shards[0][0], shards=tuple(shards))
    return rows, arrays[len(labels) :]


def _read_npy(folder: Path, tokenizer: Tokenizer) -> TextRows:
    """Reads the original's layout of a split of the 690 ENCODE sets, as process_690.py reads it."""
    sequences = _load(folder / NPY_SEQUENCES)
    targets = _load(folder / NPY_TARGETS)
    if sequences.dtype.kind not in "SU" or sequences.size != len(sequences):
        raise InputError(
            f"{folder / NPY_SEQUENCES} holds {sequences.dtype} of the shape {sequences.shape}: one text is needed for "
            "each row."
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
    batches = (
        [
            pa.array(column.tolist() if column.dtype.kind in "SU" else column).cast(pa.string())
            for column in (sequences[first : first + _NPY_ROWS].ravel(), *targets[first : first + _NPY_ROWS].T)
        ]
        for first in range(0, len(targets), _NPY_ROWS)
    )
    return _collect([(str(folder), batches)], tokenizer, names, 0)[0]


def _load(path: Path) -> np.ndarray:
    try:
        # Without pickle, a file cannot run code.
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} cannot be read as an array of text or numbers: {str(error).rstrip('.')}.") from error
