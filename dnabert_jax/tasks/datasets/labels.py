"""Labels as text to what a head predicts: which problem it is, the names of its outputs, and an array.

Letters: n rows, C outputs.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32, Shaped, UInt8

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]
Form = Literal["class", "sets", "vector", "columns"]
Labels = Int32[np.ndarray, " n"] | UInt8[np.ndarray, "n C"] | Float32[np.ndarray, "n C"]
"""Numbers of classes; for several labels, 0 or 1 each; for regression, targets."""

SEPARATORS = (";", "|", ",")
_LARGEST = float(np.finfo(np.float32).max)
_LONGEST_NUMBER = 10
"""Digits of a class's number."""
_MISSING = {"na", "n/a", "#n/a", "<na>", "nan", "null", "none", "-", "?", "."}

_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_SCIENTIFIC = re.compile(rf"({_PLAIN.pattern})[eE][+-]?[0-9]+")
_NO_CLASS = re.compile(r"[+-]?[0-9]*\.0*[1-9][0-9]*|.*(\..*[eE]|[eE][+-]).*")
"""A fraction, or an exponent with a sign or behind a fraction: 0.5, 1e-05 and 1.2E3, but not 1e2."""
_WHOLE = re.compile(r"([+-]?)([0-9]+)(\.0*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+(,[0-9]+([eE][+-]?[0-9]+)?)?")
_MOSTLY = 0.9
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})*")
_ABSENT = {"0", "-1", "no", "false", "negative", "neg", "none", "background", "control"}
_NOT = ("un", "in", "non", "not", "no")


@dataclasses.dataclass(frozen=True, eq=False)
class TextColumn:
    """A column of labels as they are written.

    Attributes:
        values: the distinct values, without white space around them.
        index: index into values, for each row.
    """

    values: tuple[str, ...]
    index: Int32[np.ndarray, " n"]

    def select(self, rows: Shaped[np.ndarray, " m"]) -> "TextColumn":
        """Returns some of the rows, by numbers or by a mask, with the values that they hold."""
        used, index = np.unique(self.index[rows], return_inverse=True)
        return TextColumn(tuple(self.values[value] for value in used), index.astype(np.int32))

    @staticmethod
    def of(texts: pa.ChunkedArray) -> "TextColumn":
        """Makes a column of the text of each row."""
        encoded = texts.combine_chunks().dictionary_encode()
        return TextColumn(tuple(encoded.dictionary.to_pylist()), encoded.indices.to_numpy().astype(np.int32))


@dataclasses.dataclass(frozen=True)
class LabelScheme:
    """How the labels of a data set are read.

    Attributes:
        task: what they ask of a head.
        form: a class in each row; the names of those that apply (sets); a number for each output in one column
            (vector), or in a column each (columns).
        separator: between the parts of sets and vectors.
        decimal: what separates the fraction of a number.
        literal: whether names such as NA are those of classes.
        notes: sentences on what was decided, for the user.
    """

    task: TaskConfig
    form: Form
    separator: str = ""
    decimal: str = "."
    literal: bool = False
    notes: tuple[str, ...] = ()

    def encode(self, columns: Mapping[str, TextColumn], where: Callable[[int], str]) -> Labels:
        """Returns the labels of a split.

        Args:
            columns: as those from which the scheme was inferred.
            where: says which row of which file a row is.

        Raises:
            InputError: a label is missing, unknown, outside the range, not finite, or has another number of parts.
        """
        texts = list(columns.values())
        if self.form == "columns":
            return self._numbers([self._encoded(column, where, self._number)[:, 0] for column in texts])
        if self.form == "vector":
            return self._numbers(list(self._encoded(texts[0], where, self._vector).T))
        if self.form == "sets":
            return self._encoded(texts[0], where, self._members).astype(np.uint8)
        return self._encoded(texts[0], where, self._class)[:, 0].astype(np.int32)

    def _encoded(
        self, column: TextColumn, where: Callable[[int], str], encode: Callable[[str], Sequence[float]]
    ) -> np.ndarray:
        """Encodes each distinct value once."""
        table = []
        for number, value in enumerate(column.values):
            try:
                table.append(encode(value))
            except ValueError as error:
                row = int(np.argmax(column.index == number))
                raise InputError(f"{where(row)} {error}.") from error
        return np.array(table, np.float64).reshape(len(table), -1)[column.index]

    def _numbers(self, columns: list[np.ndarray]) -> Labels:
        matrix = np.stack(columns, axis=1)
        return matrix.astype(np.uint8 if self.task.problem == "multi_label_classification" else np.float32)

    def _number(self, text: str) -> tuple[float]:
        if not text:
            raise ValueError("has no label: fill it in or remove the row")
        plain = text.replace(self.decimal, ".") if "." not in text else text
        if not (_is_number(plain) and abs(float(plain)) <= _LARGEST):
            raise ValueError(f"has the label {text!r}, which is not a finite number: correct it or remove the row")
        if self.task.problem == "multi_label_classification" and float(plain) not in (0, 1):
            raise ValueError(f"has the label {text!r}: of several labels, each is 0 or 1")
        return (float(plain),)

    def _vector(self, text: str) -> list[float]:
        parts = _parts(text, self.separator) if text else []
        if len(parts) != len(self.task.labels):
            raise ValueError(f"has {len(parts)} labels ({text!r}) where {len(self.task.labels)} are expected")
        return [self._number(part)[0] for part in parts]

    def _members(self, text: str) -> list[float]:
        members = [part for part in _parts(text, self.separator) if part]
        for member in members:
            if not self.literal and member.lower() in _MISSING:
                raise ValueError(_counts_as_missing(member))
            if member not in self.task.labels:
                raise ValueError(f"has the label {member!r}, which is none of {listed(self.task.labels)}")
        return [float(label in members) for label in self.task.labels]

    def _class(self, text: str) -> tuple[int]:
        if not text:
            raise ValueError("has no label: fill it in or remove the row")
        name = _class_name(text)
        if name in self.task.labels:
            return (self.task.labels.index(name),)
        if re.fullmatch("[0-9]+", name) and not any(_is_number(label) for label in self.task.labels):
            if len(name) < _LONGEST_NUMBER and int(name) < len(self.task.labels):
                return (int(name),)
            raise ValueError(f"has the label {text!r}, outside the range 0 to {len(self.task.labels) - 1}")
        raise ValueError(f"has the label {text!r}, which is none of {listed(self.task.labels)}")


def refuse_missing(columns: Mapping[str, TextColumn], where: Callable[[int], str]) -> None:
    """Raises InputError at a label such as NA or None; what an empty one means depends on the scheme.

    Where + is a label, - is one too.
    """
    for column in columns.values():
        for number, value in enumerate(column.values):
            if value.lower() in _MISSING and not (value == "-" and "+" in column.values):
                raise InputError(f"{where(int(np.argmax(column.index == number)))} {_counts_as_missing(value)}.")


def _counts_as_missing(text: str) -> str:
    return (
        f"has the label {text!r}, which counts as missing. Remove the row, or use --literal-labels if {text!r} is the "
        "name of a class"
    )


def infer_scheme(
    columns: Mapping[str, TextColumn],
    source: str,
    problem: Problem | None = None,
    labels: Sequence[str] = (),
    separator: str = "",
    delimiter: str = "",
    literal: bool = False,
) -> LabelScheme:
    """Returns what the labels of the training split mean.

    One column: whole numbers and names are classes, other numbers a target of regression. Values with ; or | or , in
    them are several labels: names of those that apply or, if all parts are numbers, one for each output. Several
    columns are one output each. Outputs of numbers are several labels if all are 0 or 1, targets otherwise.

    Numbers are plain decimals, such as 1, 01 and -0.5; with exponents only in a column that has a value which no class
    could be. In files with tabs or semicolons between values they may have decimal commas.

    Args:
        columns: those of the training split, by name.
        source: its file, for errors.
        problem: what it is, if not what is inferred.
        labels: names of all outputs in their order, if not those of the file: sorted, numbers by value, with the
            positive one of two classes last. Rows may number their classes, from 0; names given here are then theirs.
        separator: between several labels in one column.
        delimiter: between values of the file.
        literal: whether names such as NA are those of classes.

    Raises:
        InputError: the labels do not fit together, or not what is asked for.
    """
    _check_fits(columns, source, problem, labels)
    present = {name: _present(column, f"column {name!r} of {source}") for name, column in columns.items()}
    notes = []
    commas = []
    if problem != "single_label_classification" and not separator and len(labels) in (0, len(columns)):
        commas = [name for name, own in present.items() if _has_decimal_commas(own, name, source, delimiter)]
    if commas:
        example = next(value for value in present[commas[0]] if "," in value)
        notes.append(f"Decimal commas: {example} is read as {example.replace(',', '.')} ({listed(commas)}).")
    values = [value.replace(",", ".") if commas else value for own in present.values() for value in own]
    if len(columns) > 1 or problem == "single_label_classification":
        separator = ""
    elif not separator:
        # A comma and a space are of a name in words, as "weak, distal", unless it is asked for.
        joined = [value.replace(", ", " ") for value in values]
        separator = next((mark for mark in SEPARATORS if any(mark in value for value in joined)), "")
    parts = [part for value in values for part in _parts(value, separator)]
    problem = problem or _problem(parts, len(columns) > 1 or bool(separator))
    numeric = problem == "regression" or _are_numbers(parts)
    form: Form = "class"
    if problem == "single_label_classification":
        names = sorted({_class_name(part) for part in parts}, key=_by_value)
        notes += _merged(values)
        if len(names) < 2 and not labels:
            raise InputError(f"{source} has one class only, {names[0]!r}: two are needed.")
        positive = positive_of(names)
        names.sort(key=lambda name: name == positive)
    elif len(columns) > 1 or (numeric and not separator):
        form, names = "columns", list(columns)
    elif numeric:
        form, names = "vector", [str(number) for number in range(len(_parts(values[0], separator)))]
    else:
        form = "sets"
        names = sorted({part for part in parts if part and (literal or part.lower() not in _MISSING)}, key=_by_value)
    task = TaskConfig(problem, tuple(labels or names))
    return LabelScheme(task, form, separator, "," if commas else ".", literal, tuple(notes))


def _check_fits(columns: Mapping[str, TextColumn], source: str, problem: Problem | None, labels: Sequence[str]) -> None:
    if len(columns) > 1 and problem == "single_label_classification":
        raise InputError(f"A single label of several needs one column, not {', '.join(columns)}.")
    if labels and len(columns) > 1 and len(labels) != len(columns):
        raise InputError(f"{len(labels)} labels are named where {source} has the columns {', '.join(columns)}.")


def positive_of(names: Sequence[str]) -> str:
    """Returns which of two classes is the positive one by their names in any case, or nothing if these do not say.

    It is X of X and "unX", "inX", "nonX", "notX" or "noX", also with a space, hyphen or underscore between; and the one
    beside 0, -1, no, false, negative, neg, none, background or control.
    """
    if len(names) != 2:
        return ""
    lower = [name.lower() for name in names]
    negations = [f"{no}{mark}{name}" for name in lower for no in _NOT for mark in ("", " ", "-", "_")]
    negative = [name in _ABSENT or name in negations for name in lower]
    return names[negative.index(False)] if sum(negative) == 1 else ""


def _present(column: TextColumn, name: str) -> list[str]:
    present = [value for value in column.values if value]
    if not present:
        raise InputError(f"There are no labels in {name}.")
    return present


def _merged(values: Sequence[str]) -> list[str]:
    """Returns a sentence for each class that has several spellings."""
    spellings: dict[str, list[str]] = {}
    for value in values:
        spellings.setdefault(_class_name(value), []).append(value)
    return [f"{listed(own)} are one class, {name}." for name, own in spellings.items() if len(own) > 1]


def _has_decimal_commas(values: Sequence[str], name: str, source: str, delimiter: str) -> bool:
    """Returns whether a column has decimal commas; raises InputError where its commas may mean several things."""
    with_commas = [value for value in values if "," in value]
    if not with_commas or {part for value in values for part in value.split(",")} <= {"0", "1"}:
        return False
    decimals = all(_DECIMAL_COMMA.fullmatch(value) for value in values)
    if decimals and delimiter in (";", "\t"):
        return True
    if decimals or all(_THOUSANDS.fullmatch(value) for value in values):
        raise InputError(
            f"Column {name!r} of {source} has the value {with_commas[0]!r}, whose comma may be a decimal point, a mark "
            "of thousands or stand between two targets. Write numbers with a point and without commas, and several "
            "targets with semicolons between them."
        )
    return False


def _problem(parts: Sequence[str], several: bool) -> Problem:
    if several:
        targets = _are_numbers(parts) and not {float(part) for part in parts} <= {0, 1}
        return "regression" if targets else "multi_label_classification"
    numbers = [part for part in parts if _is_number(part)]
    # A few that are not numbers among many with fractions are errors, not classes.
    targets = len(numbers) >= _MOSTLY * len(parts) and any(map(_NO_CLASS.fullmatch, numbers))
    return "regression" if targets else "single_label_classification"


def _parts(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator)] if separator else [text]


def _is_number(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text) or _SCIENTIFIC.fullmatch(text))


def _are_numbers(parts: Sequence[str]) -> bool:
    """Returns whether these are numbers: 1e2 beside 100 is the name of a class, and a number beside 0.5."""
    return all(map(_PLAIN.fullmatch, parts)) or (all(map(_is_number, parts)) and any(map(_NO_CLASS.fullmatch, parts)))


def _class_name(text: str) -> str:
    """Returns the class of a text: 1, 1.0 and 01 are one class, each other text is a class of its own."""
    if not (whole := _WHOLE.fullmatch(text)):
        return text
    digits = whole[2].lstrip("0") or "0"
    return digits if digits == "0" or whole[1] != "-" else f"-{digits}"


def _by_value(name: str) -> tuple[bool, float, str]:
    number = float(name) if _PLAIN.fullmatch(name) else None
    return (number is None, number or 0.0, name)


def listed(names: Sequence[str], most: int = 10) -> str:
    """Returns names with commas between, the first of them if there are many."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
