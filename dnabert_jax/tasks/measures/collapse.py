"""Finds classifiers that have collapsed to one class, as fine-tuned BERTs do with some seeds.

DNABERT's issues 10 and 78 tell of runs that end at an accuracy of 0.5 and an MCC of 0: whatever the sequence, the
output is the same. Fine-tuning looks here at the best epoch of a job, and begins anew with another seed.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.measures.scores import checked_labels, checked_scores

SMALLEST_SPREAD = 0.1
"""Spread below which probabilities that all predict one class are taken for constant: they then hold less than a
hundredth of the labels' variance."""


@dataclasses.dataclass(frozen=True)
class Collapse:
    """What validation scores say.

    Attributes:
        spread: standard deviation of the probabilities of a label over that of the label itself (0 or 1), the largest
            of all labels: 0 for a constant output, 1 for a perfect one; 0 where no label varies.
    """

    collapsed: bool
    spread: float
    reason: str


def collapse(task: TaskConfig, scores: Float[np.ndarray, "N C"], labels: Num[np.ndarray, "N ..."]) -> Collapse:
    """Returns whether a classifier has collapsed, by its scores of the validation split.

    It has if all three hold: labels are of several classes; every example is predicted alike; and the spread is below
    SMALLEST_SPREAD. The first two alone would take in a classifier of a rare class, which ranks well before any
    probability reaches a half. The spread is relative to that of labels, so a rare class is held to its own measure.

    Raises:
        InputError: regression, which has no classes; scores or labels that cannot be measured.
        JobError: scores that are not finite.
    """
    if task.problem == "regression":
        raise InputError("Regression has no classes to which it could collapse.")
    scores = checked_scores(task, scores)
    labels = checked_labels(task, labels, len(scores))
    predicted = task.kind.decisions(scores)
    truth = labels[:, None] == np.arange(len(task.labels)) if labels.ndim == 1 else labels
    deviation = truth.std(axis=0)
    varies = deviation > 0
    if not varies.any():
        return Collapse(False, 0.0, "The labels are of one class, so nothing can be said.")
    spread = float((scores.std(axis=0)[varies] / deviation[varies]).max())
    alike = bool((predicted == predicted[0]).all())
    if not alike:
        return Collapse(False, spread, "Several classes are predicted.")
    if predicted.ndim == 1:
        prediction = repr(task.labels[predicted[0]])
    else:
        prediction = str([label for label, holds in zip(task.labels, predicted[0], strict=True) if holds])
    collapsed = spread < SMALLEST_SPREAD
    verb = "hardly differ" if collapsed else "differ"
    reason = f"All {len(scores):,} predictions are {prediction}, and their probabilities {verb} (spread {spread:.3g})."
    return Collapse(collapsed, spread, reason)
