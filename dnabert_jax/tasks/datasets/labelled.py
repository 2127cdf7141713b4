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
from dnabert_jax.io.tables import LABEL_NAMES, SPLIT_NAMES, find_column, open_table, sequence_column
from dnabert_jax.sequence.vocabulary import check_k
from dnabert_jax.tasks.datasets.labels import Labels, Problem, TextColumn, infer_scheme, listed
from dnabert_jax.tasks.datasets.layout import ALIASES, NPY_SEQUENCES, NPY_TARGETS, SPLITS, Split, split_files
from dnabert_jax.tasks.datasets.sequences import SequenceParser, Sequences

_NPY_ROWS = 1 << 14


@dataclasses.dataclass(frozen=True)
class Columns:
    """Names of the columns; those that are empty are found by their usual names.

    Attributes:
        sequence: raw DNA or k-mers.
        labels: one, or one for each output.
        split: train, dev or validation, test; only in a table that holds them all.
    """

    sequence: str = ""
    labels: tuple[str, ...] = ()
    split: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledSplit:
    """Rows of a split.

    Attributes:
        sequences: their bases.
        labels: numbers of classes (int32), 0 or 1 for each of several labels (uint8), or targets (float32).
        rows: number of each in its file, from 1, without the header.
        source: the file.
    """

    sequences: Sequences
    labels: Labels
    rows: Int64[np.ndarray, " n"]
    source: str

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, row: int) -> str:
        """What an error calls a row."""
        return _where(self.rows, self.source, row)

    def select(self, rows: Integer[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "LabelledSplit":
        """Some of the rows, by numbers or by a mask."""
        return LabelledSplit(self.sequences.select(rows), self.labels[rows], self.rows[rows], self.source)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledData:
    """A data set.

    Attributes:
        task: what its labels ask of a head.
        splits: those that it has, in the order train, validation, test.
        notes: sentences on what was decided or found, for the user.
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
) -> LabelledData:
    """Reads a data set and checks it.

    Args:
        source: a directory or a table (see `layout`), or a table for each split.
        k: of the model: each sequence must have a k-mer, and k-mers must be such.
        columns: where what is.
        problem: as for `infer_scheme`, and so labels and separator; of a model that is trained, give its task's.
        dev: what a dev or validation split is, where there is no test split besides.
        required: splits that must be there.

    Raises:
        InputError: the first thing that is wrong, with its file, row and value.
    """
    check_k(k)
    name, parts = _read_parts(source, k, columns)
    notes = []
    if "validation" in parts and "test" not in parts:
        if dev == "test":
            parts["test"] = parts.pop("validation")
        elif Path(parts["validation"].source).name.startswith("dev"):
            notes.append(
                f"{parts['validation'].source} is taken for the validation split, on which the best step is chosen. "
                "If it is a test set, as the original's dev.tsv is, say so: else its figures come out too good."
            )
    for split in required:
        if split not in parts:
            raise InputError(f"{name} has no {split} split, only {', '.join(parts)}.")
    for split, part in parts.items():
        if not len(part.rows):
            raise InputError(f"The {split} split of {part.source} is empty.")
    leading = next(iter(parts.values()))
    scheme = infer_scheme(leading.labels, leading.source, problem, labels, separator)
    splits = {
        split: LabelledSplit(part.sequences, scheme.encode(part.labels, part.where), part.rows, part.source)
        for split, part in parts.items()
    }
    for split, rows in splits.items():
        notes += _check_labels(scheme.task, split, rows)
        if ambiguous := int(rows.sequences.ambiguous().sum()):
            notes.append(f"{ambiguous:,} of {len(rows):,} sequences of the {split} split hold letters such as N.")
    return LabelledData(scheme.task, splits, tuple(notes))


def _read_parts(source: Path | Mapping[Split, Path], k: int, columns: Columns) -> tuple[str, dict[Split, "_Part"]]:
    if isinstance(source, Path) and source.is_file():
        parts = _split_table(source, k, columns)
        if not parts:
            raise InputError(f"{source} has no rows.")
        return str(source), parts
    files = split_files(source) if isinstance(source, Path) else source
    name = str(source) if isinstance(source, Path) else ", ".join(str(path) for path in files.values())
    return name, {split: _read(files[split], k, columns) for split in SPLITS if split in files}


def _check_labels(task: TaskConfig, split: str, part: LabelledSplit) -> list[str]:
    """Raises InputError if there is nothing to learn or to measure; says which outputs never change."""
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

    def where(self, row: int) -> str:
        return _where(self.rows, self.source, row)


def _where(rows: Int64[np.ndarray, " n"], source: str, row: int) -> str:
    return f"Row {rows[row]:,} of {source}"


def _read(path: Path, k: int, columns: Columns) -> _Part:
    return _read_npy(path, k) if path.is_dir() else _read_table(path, k, columns)[0]


def _read_table(path: Path, k: int, columns: Columns, split: str = "") -> tuple[_Part, TextColumn | None]:
    """The rows of a table, and its split column if one is named."""
    table = open_table(path)
    sequence = sequence_column(table, columns.sequence)
    wanted = columns.labels or ("",)
    found = [find_column(table, name, LABEL_NAMES, "labels") for name in wanted]
    labels = [name for name in found if name is not None]
    if not labels:
        raise InputError(
            f"{path} has no column named {' or '.join(LABEL_NAMES)}, only {listed(table.names)}: name those of the "
            "labels."
        )
    chosen = list(dict.fromkeys([sequence, *labels, *([split] if split else [])]))
    if len(chosen) < 1 + len(labels) + bool(split):
        raise InputError(f"A column of {path} is named twice among sequence, labels and split: {', '.join(chosen)}.")
    return _collect(str(path), table.batches(chosen), k, sequence, labels, split)


def _collect(
    source: str, batches: Iterator[pa.RecordBatch], k: int, sequence: str, labels: Sequence[str], split: str
) -> tuple[_Part, TextColumn | None]:
    parser = SequenceParser(source, k)
    kept: dict[str, list[pa.Array]] = {name: [] for name in [*labels, *([split] if split else [])]}
    parsed = []
    for batch in batches:
        parsed.append(parser.parse(batch[sequence]))
        for name, arrays in kept.items():
            arrays.append(pa.compute.utf8_trim_whitespace(pa.compute.fill_null(batch[name], "")))
    texts = {name: _text_column(arrays) for name, arrays in kept.items()}
    rows = np.arange(1, parser.rows + 1)
    part = _Part(Sequences.of(parsed), {name: texts[name] for name in labels}, rows, source)
    return part, texts.get(split)


def _text_column(arrays: list[pa.Array]) -> TextColumn:
    encoded = pa.chunked_array(arrays, pa.string()).combine_chunks().dictionary_encode()
    return TextColumn(tuple(encoded.dictionary.to_pylist()), encoded.indices.to_numpy().astype(np.int32))


def _split_table(path: Path, k: int, columns: Columns) -> dict[Split, _Part]:
    """The splits of a table by its split column; without one, all rows are the training split."""
    split = find_column(open_table(path), columns.split, SPLIT_NAMES, "split")
    part, names = _read_table(path, k, columns, split or "")
    if names is None:
        return {"train": part}
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
            texts = {name: column.select(chosen) for name, column in part.labels.items()}
            result[wanted] = _Part(part.sequences.select(chosen), texts, part.rows[chosen], part.source)
    return result


def _read_npy(folder: Path, k: int) -> _Part:
    """The original's layout of a split of the 690 ENCODE sets, as process_690.py reads it."""
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

    return _collect(str(folder), batches(), k, "sequence", names, "")[0]


def _load(path: Path) -> np.ndarray:
    try:
        # Without pickle, a file cannot run code.
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} cannot be read as an array of text or numbers: {str(error).rstrip('.')}.") from error
