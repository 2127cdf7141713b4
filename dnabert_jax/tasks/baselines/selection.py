"""What a baseline learns from and is chosen by: labels that differ, and one figure of the validation split.

N examples, C labels.
"""

import numpy as np
from jaxtyping import Float, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.measures.metrics import better, checked_labels, measure


def learnable_labels(task: TaskConfig, labels: Num[np.ndarray, "N ..."], count: int) -> Num[np.ndarray, "N ..."]:
    """Returns the labels of a training split; raises InputError if they are wrong, or an output never changes."""
    labels = checked_labels(task, labels, count)
    columns = labels[:, None] if labels.ndim == 1 else labels
    names = task.labels if labels.ndim > 1 else ("the label",)
    for name, column in zip(names, columns.T, strict=True):
        if not len(column) or (column == column[0]).all():
            raise InputError(f"In the training split, {name} is always the same: nothing can be learned.")
    return labels


def validation_figure(
    task: TaskConfig, metric: str, scores: Float[np.ndarray, "N C"], labels: Num[np.ndarray, "N ..."]
) -> float:
    """Returns a metric of the validation split; raises InputError if the labels are wrong or leave it undefined."""
    found = measure(task, scores, labels, resamples=0).values[metric]
    if found.value is None:
        raise InputError(f"The validation split leaves {metric} undefined: {found.note}.")
    return found.value


def gain(metric: str, figure: float) -> float:
    """The figure, or its negative, so that more is better."""
    return figure if better(metric) == "higher" else -figure
