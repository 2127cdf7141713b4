"""Labelled DNA as it is passed around, read and checked before anything is trained on it.

The original's trap: its `dev.tsv` IS its test set (process_690.py writes the test half there), and it keeps the
checkpoint that scores best on it. A dev file is the validation split here, so figures on it are no test figures; or
say that it is the test split, and a validation split can be carved out of the training rows (`splits.py`).

Letters: n rows, C outputs.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Bool, Int64, Integer, Shaped

from dnabert_jax.config import TaskConfig, require
from dnabert_jax.errors import InputError
from dnabert_jax.io import tables
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.tasks.datasets import layout
from dnabert_jax.tasks.datasets.labels import Labels, TextColumn, infer_scheme, is_missing, listed
from dnabert_jax.tasks.datasets.layout import SPLITS, USUAL_OPTIONS, DataOptions, Split
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
    table: tables.Table | None = None
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
        text = isinstance(labels, dict)
        labels = {name: column.select(rows) for name, column in labels.items()} if text else labels[rows]
        sequences, loci = self.sequences.select(rows), self.loci and self.loci.select(rows)
        return dataclasses.replace(self, sequences=sequences, labels=labels, rows=self.rows[rows], loci=loci)


LabelledSplit = Rows[Labels]
_TextRows = Rows[dict[str, TextColumn]]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledData:
    """A data set.

    Attributes:
        notes: sentences on what was decided or seen, for the user.
    """

    task: TaskConfig
    splits: Mapping[Split, LabelledSplit]
    notes: tuple[str, ...] = ()
    source: str = ""


def read_labelled(
    source: Path, tokenizer: Tokenizer, columns: Columns = USUAL_COLUMNS, options: DataOptions = USUAL_OPTIONS
) -> LabelledData:
    """Reads a data set and checks it.

    Args:
        source: a directory or a table (see `layout`), with a training split.
        tokenizer: of the model; each sequence must be long enough for it, and k-mers must be of its k.
        options: those about splits that are not there, and duplicates, have no effect here.
    """
    parts = _read_parts(source, tokenizer, columns)
    notes = []
    if "validation" in parts and "test" not in parts:
        if options.dev == "test":
            parts["test"] = parts.pop("validation")
        elif Path(parts["validation"].source).name.startswith("dev"):
            notes.append(
                f"{parts['validation'].source} is taken for the validation split, on which the best step is chosen. "
                "If it is a test set, as the original's dev.tsv is, say so (--dev test): otherwise its figures are too "
                "good."
            )
    require("train" in parts, f"{source} has no train split, only {', '.join(parts)}.")
    for split, part in parts.items():
        require(len(part) > 0, f"The {split} split of {part.source} is empty.")
    train = parts["train"]
    scheme = infer_scheme(train.labels, train.source, options, train.table.delimiter if train.table else "")
    splits: dict[Split, LabelledSplit] = {}
    notes += scheme.notes
    for split, part in parts.items():
        labels: Any = scheme.encode(part.labels, part.where)
        rows: Any = dataclasses.replace(part, labels=labels)
        splits[split] = rows
        notes += _check_labels(scheme.task, split, rows)
        if part.unlabelled:
            notes.append(f"{part.unlabelled:,} rows of the {split} split have no label and were left out.")
        if ambiguous := int(rows.sequences.ambiguous().sum()):
            notes.append(f"{ambiguous:,} of {len(rows):,} sequences of the {split} split hold letters such as N.")
    return LabelledData(scheme.task, splits, tuple(notes), str(source))


def _check_labels(task: TaskConfig, split: str, part: LabelledSplit) -> list[str]:
    """Returns notes on outputs that never change; raises InputError if there is nothing to learn or to measure."""
    if task.kind.exclusive:
        counts = np.bincount(part.labels, minlength=len(task.labels))
        absent = [label for label, count in zip(task.labels, counts, strict=True) if not count]
        if len(task.labels) - len(absent) < 2:
            only = task.labels[int(part.labels[0])]
            raise InputError(f"The {split} split of {part.source} has one class only, {only!r}: two are needed.")
        return [f"The {split} split has no row of {listed(absent)}."] if absent else []
    constant = (part.labels == part.labels[0]).all(axis=0)
    if constant.all() if task.kind.has_classes else constant.any():
        output = int(np.argmax(constant))
        raise InputError(
            f"All rows of the {split} split of {part.source} have {part.labels[0, output]:g} for "
            f"{task.labels[output]!r}: there is nothing to tell apart."
        )
    names = [task.labels[output] for output in np.flatnonzero(constant)]
    return [f"All rows of the {split} split have the same value for {listed(names)}."] if names else []


def _read_parts(source: Path, tokenizer: Tokenizer, columns: Columns) -> dict[Split, _TextRows]:
    """Returns the rows of each split, with labels as they are written."""
    files = layout.labelled_files(source)
    parts: dict[Split, _TextRows] = {}
    if isinstance(files, Path):
        parts = _split_table(files, tokenizer, columns)
    else:
        for split in sorted(files, key=SPLITS.index):
            if files[split][0].is_dir():
                parts[split] = _read_npy(files[split][0], tokenizer)
            else:
                shards = [tables.open_table(path) for path in files[split]]
                parts[split] = _read_tables(shards, tokenizer, columns, with_loci=set(files) < set(SPLITS))
    test = parts.get("test")
    if test is not None and test.table and test.table.of_deepbind:
        parts["test"] = _labelled(test)
    for rows in parts.values():
        if rows.table and (rows.table.of_deepbind or not rows.table.has_header):
            _check_binding(rows, next(iter(parts.values())))
    return parts


def _labelled(rows: _TextRows) -> _TextRows:
    """Returns the rows that have a label; raises InputError if none has."""
    column = next(iter(rows.labels.values()))
    missing = np.array([is_missing(value) for value in column.values], bool)[column.index]
    if len(rows) and missing.all():
        raise InputError(
            f"No row of the test half in {rows.source} has a label, so that nothing can be measured on it. Add the "
            "labels, or remove these rows, so that some of the training rows are put aside."
        )
    return dataclasses.replace(rows.select(~missing), unlabelled=int(missing.sum()))


def _split_table(path: Path, tokenizer: Tokenizer, columns: Columns) -> dict[Split, _TextRows]:
    """Returns the splits of a table by its split column; without one, all rows are the training split."""
    table = tables.open_table(path)
    split = tables.find_column(table, columns.split, tables.SPLIT_NAMES, "--split")
    rows = _read_tables([table], tokenizer, columns, with_loci=split is None, split=split or "")
    require(len(rows) > 0, f"{path} has no rows.")
    if split is None:
        return {"train": rows}
    names = rows.labels.pop(split)
    aliases = _FOLDS if split.lower() == "foldid" else layout.ALIASES
    splits = np.array([aliases.get(name.lower(), "") for name in names.values])[names.index]
    if (splits == "").any():
        row = int(np.argmax(splits == ""))
        raise InputError(
            f"{rows.where(row)} is of the split {names.values[names.index[row]]!r}, which is none of "
            f"{listed(list(aliases))}."
        )
    return {wanted: rows.select(splits == wanted) for wanted in SPLITS if wanted in splits}


def _read_tables(
    shards: Sequence[tables.Table], tokenizer: Tokenizer, columns: Columns, with_loci: bool, split: str = ""
) -> _TextRows:
    """Returns the rows of all shards of a table; the column of the split, if one is named, is the last label."""
    labels: list[str] = []
    read, loci = [], []
    for table in shards:
        sequence = tables.required_column(table, columns.sequence, tables.SEQUENCE_NAMES, "--sequence")
        wanted = columns.labels or ("",)
        names = [tables.required_column(table, name, tables.LABEL_NAMES, "--labels") for name in wanted]
        names += [split] if split else []
        if len({sequence, *names}) <= len(names):
            raise InputError(
                f"A column of {table.path} is named twice among sequence, labels and split: "
                f"{listed([sequence, *names])}."
            )
        labels = labels or names
        if names != labels:
            raise InputError(f"{table.path} has the labels {listed(names)}, {shards[0].path} {listed(labels)}.")
        read.append([sequence, *names])
        placed = with_loci or not shards[0].has_header
        loci.append([name for name in _locus_columns(table) if placed and name not in read[-1]])
    if len({len(names) for names in loci}) > 1:
        loci = [[] for _ in shards]
    streams = [
        (str(table.path), (batch.columns for batch in table.batches([*names, *places])))
        for table, names, places in zip(shards, read, loci, strict=True)
    ]
    rows, texts = _collect(streams, tokenizer, labels, len(loci[0]))
    return dataclasses.replace(rows, loci=_loci(texts, rows.sequences.lengths), table=shards[0])


def _check_binding(rows: _TextRows, first: _TextRows) -> None:
    """Raises InputError unless rows are as the 690 sets have them: with labels 0 and 1, and as long as the first."""
    column, lengths = next(iter(rows.labels.values())), rows.sequences.lengths
    wrong = np.array([value not in ("0", "1") for value in column.values])[column.index]
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"{rows.where(row)} has the label {column.values[column.index[row]]!r}: it must be 0 or 1.")
    if len(first) and (lengths != first.sequences.lengths[0]).any():
        row, length = int(np.argmax(lengths != first.sequences.lengths[0])), first.sequences.lengths[0]
        raise InputError(f"{rows.where(row)} has {lengths[row]:,} bases, the first row of the set {length:,}.")


def _locus_columns(table: tables.Table) -> list[str]:
    """Returns the columns of contig, start and perhaps end, or that of names which may be such as chr1:100-200."""
    usual = [next((name for name in table.names if name.lower() in names), None) for names in tables.LOCUS_NAMES]
    if None in usual[:2]:
        usual = [tables.id_column(table)]
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
    streams: Iterable[tuple[str, Iterable[Any]]], tokenizer: Tokenizer, labels: Sequence[str], others: int
) -> tuple[_TextRows, list[pa.ChunkedArray]]:
    """Returns the rows of files, given the columns of their batches, and the texts of other columns."""
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


def _read_npy(folder: Path, tokenizer: Tokenizer) -> _TextRows:
    """Reads the original's layout of a split of the 690 ENCODE sets, as process_690.py reads it."""
    sequences = _load(folder / layout.NPY_SEQUENCES)
    targets = _load(folder / layout.NPY_TARGETS)
    if sequences.dtype.kind not in "SU" or sequences.size != len(sequences):
        raise InputError(
            f"{folder / layout.NPY_SEQUENCES} holds {sequences.dtype} of the shape {sequences.shape}: one text is "
            "needed for each row."
        )
    if targets.dtype.kind not in "biuf" or targets.ndim not in (1, 2) or len(targets) != len(sequences):
        raise InputError(
            f"{folder / layout.NPY_TARGETS} holds {targets.dtype} of the shape {targets.shape}: numbers for the "
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
