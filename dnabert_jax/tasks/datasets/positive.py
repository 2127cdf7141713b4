"""Which of two classes is the positive one: the second of a model's labels.

Precision, recall, F1 and curves are those of it, and explanations are of it unless another label is asked for.
"""

import dataclasses

from dnabert_jax.errors import InputError
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.datasets.labels import positive_of


def with_positive(data: LabelledData, positive: str = "") -> LabelledData:
    """Returns data of which the positive one of two classes is the second label; other data stay as they are.

    Args:
        data: of any problem.
        positive: the class; if empty, the one that the names of the classes say it is, or else the last one, with a
            note that asks for it.

    Raises:
        InputError: a class is given and there are not two, or it is not one of them.
    """
    labels = data.task.labels
    if data.task.problem != "single_label_classification" or len(labels) != 2:
        if positive:
            raise InputError(f"--positive {positive} has no effect: it is for two classes that exclude each other.")
        return data
    positive = positive or positive_of(labels)
    if not positive:
        note = (
            f"Which class is positive? The names {labels[0]!r} and {labels[1]!r} do not say: precision, recall and F1 "
            f"are those of {labels[1]!r}. If it is the other one, name it with --positive."
        )
        return dataclasses.replace(data, notes=(*data.notes, note))
    if positive not in labels:
        raise InputError(f"--positive is {positive!r}: the classes are {labels[0]!r} and {labels[1]!r}.")
    if positive == labels[1]:
        return data
    splits = {split: dataclasses.replace(rows, labels=1 - rows.labels) for split, rows in data.splits.items()}
    return dataclasses.replace(data, task=dataclasses.replace(data.task, labels=labels[::-1]), splits=splits)
