"""Checks scores and labels before anything is computed from them."""

import numpy as np
from jaxtyping import Float, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError


def checked_scores(task: TaskConfig, scores: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    """Returns scores in double precision, rows of a single-label problem summing to 1 beyond single precision."""
    if scores.ndim != 2 or scores.shape[1] != len(task.labels) or not len(scores):
        raise InputError(f"Scores of shape {scores.shape} cannot be measured: {len(task.labels)} columns are needed.")
    scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        raise JobError(f"{(~np.isfinite(scores)).any(axis=1).sum():,} of {len(scores):,} scores are not finite.")
    if task.problem == "regression":
        return scores
    sums = scores.sum(axis=1, keepdims=True)
    single = task.problem == "single_label_classification"
    if scores.min() < 0 or scores.max() > 1.001 or (single and np.abs(sums - 1).max() > 0.01):
        raise InputError("The scores are not probabilities: apply softmax, or the logistic function, to logits first.")
    return scores / sums if single else scores


def checked_labels(task: TaskConfig, labels: Num[np.ndarray, "N ..."], count: int) -> Num[np.ndarray, "N ..."]:
    """Returns labels that are as many as the scores and lie in the range of the task."""
    single = task.problem == "single_label_classification"
    if labels.shape != ((count,) if single else (count, len(task.labels))):
        raise InputError(f"Labels of shape {labels.shape} do not fit {count:,} scores of {len(task.labels)} labels.")
    if not np.isfinite(labels).all():
        raise InputError(f"{(~np.isfinite(labels)).sum():,} labels are not finite: drop those examples.")
    if task.problem == "regression":
        return labels.astype(np.float64)
    wrong = ~np.isin(labels, np.arange(len(task.labels) if single else 2))
    if wrong.any():
        allowed = f"0 to {len(task.labels) - 1}" if single else "0 and 1"
        raise InputError(f"A label is {labels[wrong][0]}: {task.problem} of {list(task.labels)} has {allowed}.")
    return labels.astype(np.int64)
