"""Labels as text to what a head predicts: which problem it is, the names of its outputs, and an array.

Letters: n rows, C outputs.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Float64, Int32, Num, Shaped, UInt8

from dnabert_jax.config import Problem, TaskConfig, require
from dnabert_jax.errors import InputError
from dnabert_jax.problems import KINDS
from dnabert_jax.tasks.datasets.layout import DataOptions

Labels = Int32[np.ndarray, " n"] | UInt8[np.ndarray, "n C"] | Float32[np.ndarray, "n C"]
"""Numbers of classes; for several labels, 0 or 1 each; for regression, targets."""

SEPARATORS = (";", "|", ",")
_LARGEST = float(np.finfo(np.float32).max)
_MISSING = {"na", "n/a", "#n/a", "<na>", "nan", "null", "none", "-", "?", "."}

_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_SCIENTIFIC = re.compile(rf"({_PLAIN.pattern})[eE][+-]?[0-9]+")
_NO_CLASS = re.compile(r"[+-]?[0-9]*\.0*[1-9][0-9]*|.*(\..*[eE]|[eE][+-]).*")
"""A fraction, or an exponent with a sign or behind a fraction: 0.5, 1e-05 and 1.2E3, but not 1e2."""
_WHOLE = re.compile(r"([+-]?)([0-9]+)(\.0*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?([0-9]+|[1-9][0-9]{0,2}(\.[0-9]{3})+)(,[0-9]+([eE][+-]?[0-9]+)?)?")
"""A number with a decimal comma, also with points as marks of thousands, which are not read but must not be missed."""
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})*")
_NUMERIC_SHARE = 0.9
_ABSENT = {
    "0", "-1", "-", "no", "false", "negative", "neg", "none", "background", "control", "low", "unlabeled", "unlabelled",
}  # fmt: skip
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
        sets: whether rows of several labels have the names of those that apply, and not a number for each output, in a
            column each or all in one.
        literal: whether names such as NA are those of classes.
    """

    task: TaskConfig
    sets: bool = False
    separator: str = ""
    decimal: str = "."
    literal: bool = False
    notes: tuple[str, ...] = ()

    def encode(self, columns: Mapping[str, TextColumn], where: Callable[[int], str]) -> Labels:
        """Returns the labels of a split."""
        exclusive = self.task.kind.exclusive
        encode = self._named if exclusive or self.sets else self._numbers
        for column in columns.values():  # before others are refused, as of a column with NA in it
            self._encoded(column, where, self._refuse_missing)
        matrix = np.hstack([self._encoded(column, where, encode) for column in columns.values()])
        labels = matrix.astype(self.task.kind.label_type)
        return labels[:, 0] if exclusive else labels

    def _encoded(
        self, column: TextColumn, where: Callable[[int], str], encode: Callable[[str], Sequence[float]]
    ) -> Float64[np.ndarray, "n _"]:
        """Encodes each distinct value once."""
        table = []
        for number, value in enumerate(column.values):
            try:
                table.append(encode(value))
            except ValueError as error:
                raise InputError(f"{where(int(np.argmax(column.index == number)))} {error}.") from error
        return np.array(table, np.float64).reshape(len(table), -1)[column.index]

    def _refuse_missing(self, text: str) -> list[float]:
        for part in _parts(text, self.separator):
            if not part and not self.sets:
                raise ValueError("has no label: fill it in or remove the row")
            if not self.literal and part.lower() in _MISSING and not (part == "-" and "+" in self.task.labels):
                raise ValueError(
                    f"has the label {part!r}, which counts as missing. Remove the row, or use --literal-labels if "
                    f"{part!r} is the name of a class"
                )
        return []

    def _numbers(self, text: str) -> list[float]:
        parts = _parts(text, self.separator)
        if self.separator and len(parts) != len(self.task.labels):
            raise ValueError(f"has {len(parts)} labels ({text!r}) where {len(self.task.labels)} are expected")
        return [self._number(part) for part in parts]

    def _number(self, text: str) -> float:
        plain = self._plain(text)
        if not (_is_number(plain) and abs(float(plain)) <= _LARGEST):
            form = " with a decimal comma, as others are" if self.decimal == "," else ""
            raise ValueError(
                f"has the label {text!r}, which is not a finite number{form}: correct it or remove the row"
            )
        if self.task.kind.has_classes and float(plain) not in (0, 1):
            raise ValueError(f"has the label {text!r}: of several labels, each is 0 or 1")
        return float(plain)

    def _plain(self, text: str) -> str:
        # With decimal commas, a point may be a mark of thousands.
        return text if self.decimal == "." else text.replace(".", " ").replace(",", ".")

    def _named(self, text: str) -> list[float]:
        """Returns the number of the class that a text names, or 1 for each of several labels in it and 0 for others."""
        names = [part for part in _parts(text, self.separator) if part]
        if exclusive := self.task.kind.exclusive:
            names = [_class_name(self._plain(text))]
        for name in names:
            if name not in self.task.labels:
                raise ValueError(f"has the label {name!r}, which is none of {listed(self.task.labels)}")
        if exclusive:
            return [float(self.task.labels.index(names[0]))]
        return [float(label in names) for label in self.task.labels]


def label_matrix(labels: Num[np.ndarray, "n ..."], count: int) -> Float32[np.ndarray, "n C"]:
    """Returns a column for each of `count` labels: 1 where it holds, else 0, or the targets of a regression."""
    return np.eye(count, dtype=np.float32)[labels] if labels.ndim == 1 else labels.astype(np.float32)


def infer_scheme(columns: Mapping[str, TextColumn], source: str, options: DataOptions, delimiter: str) -> LabelScheme:
    """Returns what the labels of the training split mean.

    One column: whole numbers and names are classes, other numbers a target of regression. Values with ; or | or , in
    them are several labels: names of those that apply or, if all parts are numbers, one for each output. Several
    columns are one output each. Outputs of numbers are several labels if all are 0 or 1, targets otherwise.

    Numbers are plain decimals, such as 1, 01 and -0.5; with exponents only in a column that has a value which no class
    could be. In files with tabs or semicolons between values they may have decimal commas.

    Names of outputs are sorted, numbers by value; of two classes the positive one is last.

    Args:
        options: with the positive of two classes; if it is neither, that of `positive_of` is, or else the last.
        delimiter: what separates values in the file.
    """
    problem, notes = options.problem, []
    single = problem is not None and KINDS[problem].exclusive
    require(len(columns) == 1 or not single, f"A single label of several needs one column, not {', '.join(columns)}.")
    present = {name: [value for value in column.values if value] for name, column in columns.items()}
    if empty := [name for name, texts in present.items() if not texts]:
        raise InputError(f"There are no labels in column {empty[0]!r} of {source}.")
    commas = [
        name for name, texts in present.items() if not single and _has_decimal_commas(texts, name, source, delimiter)
    ]
    if commas:
        example = next(value for value in present[commas[0]] if "," in value)
        notes.append(f"Decimal commas: {example} is read as {example.replace(',', '.')} ({listed(commas)}).")
    values = [value for texts in present.values() for value in texts]
    if commas:  # values of another form are left out, as `encode` refuses them
        values = [plain for value in values if _is_number(plain := value.replace(".", "").replace(",", "."))]
    separator = ""
    if len(columns) == 1 and not single:
        # A comma and a space are of a name in words, as "weak, distal".
        joined = [value.replace(", ", " ") for value in values]
        separator = next((mark for mark in SEPARATORS if any(mark in value for value in joined)), "")
    parts = [part for value in values for part in _parts(value, separator)]
    problem = problem or _problem(parts, len(columns) > 1 or bool(separator))
    kind, sets = KINDS[problem], False
    if kind.exclusive:
        names = sorted({_class_name(part) for part in parts}, key=_by_value)
        notes += _merged(values)
        require(len(names) > 1, f"{source} has one class only, {names[0]!r}: two are needed.")
        if len(names) == 2:
            chosen = options.positive if options.positive in names else positive_of(names)
            names.sort(key=lambda name: name == chosen)
            if not chosen:
                notes.append(
                    f"Which class is positive? The names {names[0]!r} and {names[1]!r} do not say: precision, recall "
                    f"and F1 are those of {names[1]!r}. If it is the other one, name it with --positive."
                )
    elif len(columns) > 1 or not kind.has_classes or _are_numbers(parts):
        names = [str(number) for number in range(len(_parts(values[0], separator)))] if separator else list(columns)
    else:
        sets, names = True, sorted({part for part in parts if part}, key=_by_value)
    task = TaskConfig(problem, tuple(names))
    return LabelScheme(task, sets, separator, "," if commas else ".", options.literal_labels, tuple(notes))


def is_missing(text: str) -> bool:
    """Returns whether a label is empty or a word for a missing value, such as NA."""
    return not text or text.lower() in _MISSING


def positive_of(names: Sequence[str]) -> str:
    """Returns which of two classes is the positive one by their names in any case, or nothing if these do not say.

    It is X of X and "unX", "inX", "nonX", "notX" or "noX", also with a space, hyphen or underscore between; and the one
    beside 0, -1, -, no, false, negative, neg, none, background, control, low, unlabeled or unlabelled.
    """
    if len(names) != 2:
        return ""
    lower = [name.lower() for name in names]
    negations = [f"{no}{mark}{name}" for name in lower for no in _NOT for mark in ("", " ", "-", "_")]
    negative = [name in _ABSENT or name in negations for name in lower]
    return names[negative.index(False)] if sum(negative) == 1 else ""


def _merged(values: Sequence[str]) -> list[str]:
    """Returns a sentence for each class that has several spellings."""
    spellings: dict[str, list[str]] = {}
    for value in values:
        spellings.setdefault(_class_name(value), []).append(value)
    return [f"{listed(texts)} are one class, {name}." for name, texts in spellings.items() if len(texts) > 1]


def _has_decimal_commas(values: Sequence[str], name: str, source: str, delimiter: str) -> bool:
    """Returns whether a column has decimal commas; raises InputError where its commas may mean several things."""
    with_commas = [value for value in values if "," in value]
    if not with_commas or {part for value in values for part in value.split(",")} <= {"0", "1"}:
        return False
    # A few other values are errors. Whole numbers alone do not make commas decimal.
    decimals = all(
        sum(map(bool, map(_DECIMAL_COMMA.fullmatch, texts))) >= _NUMERIC_SHARE * len(texts)
        for texts in (values, with_commas)
    )
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
    numbers = [part for part in parts if _is_number(part)]
    # A few that are not numbers among many with fractions are errors, not classes.
    if len(numbers) >= _NUMERIC_SHARE * len(parts) and any(map(_NO_CLASS.fullmatch, numbers)):
        return "regression"
    if several:
        targets = _are_numbers(parts) and not {float(part) for part in parts} <= {0, 1}
        return "regression" if targets else "multi_label_classification"
    return "single_label_classification"


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


def listed(names: Sequence[str], limit: int = 10) -> str:
    """Returns names with commas between, the first of them if there are many."""
    return ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")
