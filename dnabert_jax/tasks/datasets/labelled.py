"""Labelled DNA as it is passed around, read and checked before anything is trained on it.

The original's trap: its `dev.tsv` IS its test set (process_690.py writes the test half there), and it keeps the
checkpoint that scores best on it. A dev file is the validation split here, so figures on it are no test figures; or
say that it is the test split, and a validation split can be carved out of the training rows (`splits.py`).

Letters: n rows, C outputs.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Bool, Int64, Integer

from dnabert_jax.config import TaskConfig
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
from dnabert_jax.sequence.vocabulary import check_k
from dnabert_jax.tasks.datasets.labels import Labels, Problem, TextColumn, infer_scheme, listed, refuse_missing
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


@dataclasses.dataclass(frozen=True, eq=False)
class Loci:
    """Where the sequences of rows lie in a genome, as half-open intervals."""

    contigs: TextColumn
    starts: Int64[np.ndarray, " n"]
    ends: Int64[np.ndarray, " n"]

    def select(self, rows: Integer[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Loci":
        """Returns some of the rows, by numbers or by a mask."""
        return Loci(self.contigs.select(rows), self.starts[rows], self.ends[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledSplit:
    """Rows of a split.

    Attributes:
        sequences: their bases.
        labels: numbers of classes (int32), 0 or 1 for each of several labels (uint8), or targets (float32).
        rows: number of each in its file, from 1, without the header; counted through all shards of a table.
        source: the file, or the first shard.
        loci: where they lie, if the table says so and has no splits.
        shards: files of a table in shards, and rows before each.
    """

    sequences: Sequences
    labels: Labels
    rows: Int64[np.ndarray, " n"]
    source: str
    loci: Loci | None = None
    shards: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, row: int) -> str:
        """Returns what an error calls a row."""
        return _where(self.rows, self.shards or ((self.source, 0),), row)

    def select(self, rows: Integer[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "LabelledSplit":
        """Returns some of the rows, by numbers or by a mask."""
        loci = self.loci and self.loci.select(rows)
        sequences, labels, numbers = self.sequences.select(rows), self.labels[rows], self.rows[rows]
        return LabelledSplit(sequences, labels, numbers, self.source, loci, self.shards)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledData:
    """A data set.

    Attributes:
        task: what its labels ask of a head.
        splits: its splits, in the order train, validation, test.
        notes: sentences on what was decided or seen, for the user.
    """

    task: TaskConfig
    splits: Mapping[Split, LabelledSplit]
    notes: tuple[str, ...] = ()


def read_labelled(
    source: Path | Mapping[Split, Path],
    k: int,
    columns: Columns = Columns(),
    *,
    problem: Problem | None = None,
    labels: Sequence[str] = (),
    separator: str = "",
    dev: Literal["validation", "test"] = "validation",
    required: Sequence[Split] = ("train",),
    literal: bool = False,
) -> LabelledData:
    """Reads a data set and checks it.

    Args:
        source: a directory or a table (see `layout`), or a table for each split.
        k: k of the model: each sequence must have a k-mer, and k-mers must be of this k.
        columns: which columns hold what.
        problem: as for `infer_scheme`, and so labels and separator; of a model that is trained, give its task's.
        dev: what a dev or validation split is, where there is no test split besides.
        required: splits that must be there.
        literal: whether labels such as NA and None are names of classes, rather than missing.

    Raises:
        InputError: the first thing that is wrong, with its file, row and value.
    """
    check_k(k)
    name, parts = _read_parts(source, k, columns)
    notes = _take_dev_for(dev, parts)
    for split in required:
        if split not in parts:
            raise InputError(f"{name} has no {split} split, only {', '.join(parts)}.")
    for split, part in parts.items():
        if not len(part.rows):
            raise InputError(f"The {split} split of {part.source} is empty.")
        if not literal:
            refuse_missing(part.labels, part.where)
    leading = next(iter(parts.values()))
    scheme = infer_scheme(leading.labels, leading.source, problem, labels, separator, leading.delimiter, literal)
    splits = {split: part.labelled(scheme.encode(part.labels, part.where)) for split, part in parts.items()}
    notes += scheme.notes
    for split, rows in splits.items():
        notes += _check_labels(scheme.task, split, rows)
        if ambiguous := int(rows.sequences.ambiguous().sum()):
            notes.append(f"{ambiguous:,} of {len(rows):,} sequences of the {split} split hold letters such as N.")
    return LabelledData(scheme.task, splits, tuple(notes))


def _take_dev_for(dev: Literal["validation", "test"], parts: dict[Split, "_Part"]) -> list[str]:
    """Makes a validation split the test split, if there is no other and it is to be; returns what there is to say."""
    if "validation" in parts and "test" not in parts:
        if dev == "test":
            parts["test"] = parts.pop("validation")
        elif Path(parts["validation"].source).name.startswith("dev"):
            return [
                f"{parts['validation'].source} is taken for the validation split, on which the best step is chosen. "
                "If it is a test set, as the original's dev.tsv is, say so (--dev test): otherwise its figures are too "
                "good."
            ]
    return []


def _read_parts(source: Path | Mapping[Split, Path], k: int, columns: Columns) -> tuple[str, dict[Split, "_Part"]]:
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


def _check_labels(task: TaskConfig, split: str, part: LabelledSplit) -> list[str]:
    """Returns notes on outputs that never change; raises InputError if there is nothing to learn or to measure."""
    if task.problem == "single_label_classification":
        counts = np.bincount(part.labels, minlength=len(task.labels))
        absent = [label for label, count in zip(task.labels, counts, strict=True) if not count]
        if len(task.labels) - len(absent) < 2:
            only = task.labels[int(part.labels[0])]
            raise InputError(f"The {split} split of {part.source} has one class only, {only!r}: two are needed.")
        return [f"The {split} split has no row of {listed(absent)}."] if absent else []
    constant = (part.labels == part.labels[0]).all(axis=0)
    if constant.any() if task.problem == "regression" else constant.all():
        output = int(np.argmax(constant))
        raise InputError(
            f"All rows of the {split} split of {part.source} have {part.labels[0, output]:g} for "
            f"{task.labels[output]!r}: there is nothing to tell apart."
        )
    names = [task.labels[output] for output in np.flatnonzero(constant)]
    return [f"All rows of the {split} split have the same value for {listed(names)}."] if names else []


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """Rows whose labels have no meaning yet."""

    sequences: Sequences
    labels: dict[str, TextColumn]
    rows: Int64[np.ndarray, " n"]
    source: str
    delimiter: str = ""
    loci: Loci | None = None
    shards: tuple[tuple[str, int], ...] = ()

    def where(self, row: int) -> str:
        return _where(self.rows, self.shards or ((self.source, 0),), row)

    def select(self, rows: Bool[np.ndarray, " n"]) -> "_Part":
        labels = {name: column.select(rows) for name, column in self.labels.items()}
        return dataclasses.replace(
            self, sequences=self.sequences.select(rows), labels=labels, rows=self.rows[rows], loci=None
        )

    def labelled(self, labels: Labels) -> LabelledSplit:
        return LabelledSplit(self.sequences, labels, self.rows, self.source, self.loci, self.shards)


def _where(rows: Int64[np.ndarray, " n"], shards: Sequence[tuple[str, int]], row: int) -> str:
    source, before = next(shard for shard in reversed(shards) if shard[1] < rows[row])
    return f"Row {rows[row] - before:,} of {source}"


def _joined(parts: Sequence[_Part]) -> _Part:
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
    return _Part(
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


def _read(path: Path, k: int, columns: Columns, loci: bool) -> _Part:
    return _read_npy(path, k) if path.is_dir() else _read_table(open_table(path), k, columns, "", loci)[0]


def _read_table(table: Table, k: int, columns: Columns, split: str, with_loci: bool) -> tuple[_Part, TextColumn | None]:
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
    where = _loci([texts[name] for name in loci]) if loci else None
    return dataclasses.replace(part, delimiter=table.delimiter, loci=where), TextColumn.of(
        texts[split]
    ) if split else None


def _locus_columns(table: Table) -> list[str]:
    """Returns the columns of contig, start and end, or those of names that may be such as chr1:100-200."""
    usual = [next((name for name in table.names if name.lower() in names), None) for names in LOCUS_NAMES]
    columns = [name for name in usual if name is not None]
    return columns if len(columns) == len(usual) else [name for name in table.names if name.lower() in ID_NAMES][:1]


def _loci(columns: Sequence[pa.ChunkedArray]) -> Loci | None:
    """Returns the loci in columns of contig, start and end, or of names; None where any row has none."""
    if len(columns) == 1:
        fields = pa.compute.extract_regex(columns[0], _LOCUS)
        if fields.null_count:
            return None
        columns = [pa.compute.struct_field(fields, name) for name in ("contig", "start", "end")]
    try:
        starts, ends = (column.cast(pa.int64()).to_numpy() for column in columns[1:])
    except pa.ArrowInvalid:
        return None
    return Loci(TextColumn.of(columns[0]), starts, ends)


def _collect(
    source: str, batches: Iterator[pa.RecordBatch], k: int, sequence: str, labels: Sequence[str], others: Sequence[str]
) -> tuple[_Part, dict[str, pa.ChunkedArray]]:
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
    part = _Part(Sequences.of(parsed), {name: TextColumn.of(texts[name]) for name in labels}, rows, source)
    return part, texts


def _split_table(path: Path, k: int, columns: Columns) -> dict[Split, _Part]:
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


def _read_npy(folder: Path, k: int) -> _Part:
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
