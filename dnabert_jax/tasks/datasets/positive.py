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
        positive: the class; if empty, the one that the names of the classes say it is.

    Raises:
        InputError: a class is given and there are not two, or it is not one of them; or none is given and the names do
            not say which it is.
    """
    labels = data.task.labels
    if data.task.problem != "single_label_classification" or len(labels) != 2:
        if positive:
            raise InputError(f"--positive {positive} has no effect: it is for two classes that exclude each other.")
        return data
    positive = positive or positive_of(labels)
    if not positive:
        raise InputError(
            f"Of the classes {labels[0]!r} and {labels[1]!r}, which one is the positive one, which precision, recall "
            "and F1 are of? Name it with --positive."
        )
    if positive not in labels:
        raise InputError(f"--positive is {positive!r}: the classes are {labels[0]!r} and {labels[1]!r}.")
    if positive == labels[1]:
        return data
    splits = {split: dataclasses.replace(rows, labels=1 - rows.labels) for split, rows in data.splits.items()}
    return dataclasses.replace(data, task=dataclasses.replace(data.task, labels=labels[::-1]), splits=splits)
