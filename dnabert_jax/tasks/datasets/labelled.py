"""Labelled DNA as it is passed around, read and checked before anything is trained on it.

The original's trap: its `dev.tsv` IS its test set (process_690.py writes the test half there), and it keeps the
checkpoint that scores best on it. A dev file is the validation split here, so figures on it are no test figures; or
say that it is the test split, and a validation split can be carved out of the training rows (`splits.py`).

Letters: n rows, C outputs.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.tasks.datasets.labels import Labels, infer_scheme, listed
from dnabert_jax.tasks.datasets.layout import Split
from dnabert_jax.tasks.datasets.options import USUAL_OPTIONS, DataOptions
from dnabert_jax.tasks.datasets.rows import USUAL_COLUMNS, Columns, Rows, TextRows, read_rows

LabelledSplit = Rows[Labels]


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
    source: Path | Mapping[Split, Path],
    tokenizer: Tokenizer,
    columns: Columns = USUAL_COLUMNS,
    options: DataOptions = USUAL_OPTIONS,
) -> LabelledData:
    """Reads a data set and checks it.

    Args:
        source: a directory or a table (see `layout`), or a table for each split; with a training split.
        tokenizer: of the model; each sequence must be long enough for it, and k-mers must be of its k.
        options: those about splits that are not there, and duplicates, have no effect here.
    """
    parts = read_rows(source, tokenizer, columns)
    notes = _take_dev_for(options.dev, parts)
    if "train" not in parts:
        name = source if isinstance(source, Path) else ", ".join(map(str, source.values()))
        raise InputError(f"{name} has no train split, only {', '.join(parts)}.")
    for split, part in parts.items():
        if not len(part):
            raise InputError(f"The {split} split of {part.source} is empty.")
    train = parts["train"]
    delimiter = train.table.delimiter if train.table else ""
    scheme = infer_scheme(
        train.labels, train.source, options.problem, delimiter, options.literal_labels, options.positive
    )
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
    return LabelledData(scheme.task, splits, tuple(notes), str(source) if isinstance(source, Path) else "")


def _take_dev_for(dev: Literal["validation", "test"], parts: dict[Split, TextRows]) -> list[str]:
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
