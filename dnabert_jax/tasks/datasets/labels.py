"""Labels as text to what a head predicts: which problem it is, the names of its outputs, and an array.

Letters: n rows, C outputs.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int32, Shaped, UInt8

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]
Form = Literal["class", "sets", "vector", "columns"]
Labels = Int32[np.ndarray, " n"] | UInt8[np.ndarray, "n C"] | Float32[np.ndarray, "n C"]
"""Numbers of classes; for several labels, 0 or 1 each; for regression, targets."""

SEPARATORS = (";", "|", ",")
_LARGEST = float(np.finfo(np.float32).max)
_ABSENT = {"0", "-1", "no", "false", "negative", "neg", "none", "background", "control"}
_NOT = ("un", "in", "non", "not", "no")
_MISSING = {"", "na", "n/a", "nan", "null"}


@dataclasses.dataclass(frozen=True, eq=False)
class TextColumn:
    """A column of labels as they are written.

    Attributes:
        values: the distinct ones, without white space around them.
        index: into values, of each row.
    """

    values: tuple[str, ...]
    index: Int32[np.ndarray, " n"]

    def select(self, rows: Shaped[np.ndarray, " m"]) -> "TextColumn":
        """Some of the rows, by numbers or by a mask, with the values that they hold."""
        used, index = np.unique(self.index[rows], return_inverse=True)
        return TextColumn(tuple(self.values[value] for value in used), index.astype(np.int32))


@dataclasses.dataclass(frozen=True)
class LabelScheme:
    """How the labels of a data set are read.

    Attributes:
        task: what they ask of a head.
        form: a class in each row; the names of those that apply (sets); a number for each output in one column
            (vector), or in a column each (columns).
        separator: between the parts of sets and vectors.
    """

    task: TaskConfig
    form: Form
    separator: str = ""

    def encode(self, columns: Mapping[str, TextColumn], where: Callable[[int], str]) -> Labels:
        """The labels of a split.

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
            rows = self._encoded(texts[0], where, self._vector)
            return self._numbers(list(rows.T))
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
        if text.lower() in _MISSING:
            raise ValueError(f"has no label ({text!r})" if text else "has no label")
        number = _as_number(text)
        if number is None or not abs(number) <= _LARGEST:  # nor if it is no number at all
            raise ValueError(f"has the label {text!r}, which is no finite number")
        if self.task.problem == "multi_label_classification" and number not in (0, 1):
            raise ValueError(f"has the label {text!r}: of several labels, each is 0 or 1")
        return (number,)

    def _vector(self, text: str) -> list[float]:
        parts = [] if text.lower() in _MISSING else _parts(text, self.separator)
        if len(parts) != len(self.task.labels):
            raise ValueError(f"has {len(parts)} labels ({text!r}) where {len(self.task.labels)} are expected")
        return [self._number(part)[0] for part in parts]

    def _members(self, text: str) -> list[float]:
        members = [] if text.lower() in _MISSING else [part for part in _parts(text, self.separator) if part]
        for member in members:
            if member not in self.task.labels:
                raise ValueError(f"has the label {member!r}, which is none of {listed(self.task.labels)}")
        return [float(label in members) for label in self.task.labels]

    def _class(self, text: str) -> tuple[int]:
        if text.lower() in _MISSING:
            raise ValueError(f"has no label ({text!r})" if text else "has no label")
        name = _class_name(text)
        if name in self.task.labels:
            return (self.task.labels.index(name),)
        if name.isdecimal() and not any(_as_number(label) is not None for label in self.task.labels):
            if int(name) < len(self.task.labels):
                return (int(name),)
            raise ValueError(f"has the label {text!r}, outside the range 0 to {len(self.task.labels) - 1}")
        raise ValueError(f"has the label {text!r}, which is none of {listed(self.task.labels)}")


def infer_scheme(
    columns: Mapping[str, TextColumn],
    source: str,
    problem: Problem | None = None,
    labels: Sequence[str] = (),
    separator: str = "",
) -> LabelScheme:
    """What the labels of the training split mean.

    One column: whole numbers and names are classes, other numbers a target of regression. Values with ; or | or , in
    them are several labels: names of those that apply or, if all parts are numbers, one for each output. Several
    columns are one output each. Outputs of numbers are several labels if all are 0 or 1, targets otherwise.

    Args:
        columns: of the training split, by name.
        source: its file, to call it by.
        problem: what it is, if not what is found.
        labels: names of all outputs in their order, if not those found: sorted, numbers by value, but the positive one
            of two classes last. Where rows number their classes, from 0, names may be given to the numbers.
        separator: between several labels in one column.

    Raises:
        InputError: the labels do not fit together, or not what is asked for.
    """
    if len(columns) > 1 and problem == "single_label_classification":
        raise InputError(f"A single label of several needs one column, not {', '.join(columns)}.")
    if labels and len(columns) > 1 and len(labels) != len(columns):
        raise InputError(f"{len(labels)} labels are named where {source} has the columns {', '.join(columns)}.")
    values = [value for name, column in columns.items() for value in _present(column, f"column {name!r} of {source}")]
    if len(columns) > 1 or problem == "single_label_classification":
        separator = ""
    elif not separator:
        # A comma and a space are of a name in words, as "weak, distal", unless it is asked for.
        found = [value.replace(", ", " ") for value in values]
        separator = next((mark for mark in SEPARATORS if any(mark in value for value in found)), "")
    several = len(columns) > 1 or bool(separator)
    parts = [part for value in values for part in _parts(value, separator)]
    problem = problem or _problem(parts, several)
    numeric = problem == "regression" or all(_as_number(part) is not None for part in parts)
    if problem == "single_label_classification":
        names = sorted({_class_name(part) for part in parts}, key=_by_value)
        if len(names) < 2 and not labels:
            raise InputError(f"{source} has one class only, {names[0]!r}: two are needed.")
        positive = positive_of(names)
        names.sort(key=lambda name: name == positive)
        form: Form = "class"
    elif len(columns) > 1 or (numeric and not separator):
        form, names = "columns", list(columns)
    elif numeric:
        form, names = "vector", [str(number) for number in range(len(_parts(values[0], separator)))]
    else:
        form, names = "sets", sorted(set(parts) - {""}, key=_by_value)
    return LabelScheme(TaskConfig(problem, tuple(labels or names)), form, separator)


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
    present = [value for value in column.values if value.lower() not in _MISSING]
    if not present:
        raise InputError(f"There are no labels in {name}.")
    return present


def _problem(parts: Sequence[str], several: bool) -> Problem:
    numbers = [_as_number(part) for part in parts]
    if several:
        targets = None not in numbers and not set(numbers) <= {0, 1}
        return "regression" if targets else "multi_label_classification"
    targets = None not in numbers and not all(number is None or number.is_integer() for number in numbers)
    return "regression" if targets else "single_label_classification"


def _parts(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator)] if separator else [text]


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _class_name(text: str) -> str:
    """1, 1.0 and 01 are one class, other text is its own."""
    number = _as_number(text)
    return str(int(number)) if number is not None and number.is_integer() else text


def _by_value(name: str) -> tuple[bool, float, str]:
    number = _as_number(name)
    return (number is None, number or 0.0, name)


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names with commas between, the first of them if there are many."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
