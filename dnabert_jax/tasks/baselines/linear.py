"""Logistic or ridge regression on features, with the penalty that does best on the validation split.

N examples, F features, C outputs.
"""

import dataclasses
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.tasks.measures.metrics import better, checked_labels, measure

_ITERATIONS = 2000
_RIDGE_TOLERANCE = 1e-6
"""The relative residual at which the solver of ridge regression stops."""


@dataclasses.dataclass(frozen=True)
class LinearFit:
    """A fitted regression.

    Attributes:
        inverse_penalty: that was chosen.
        validation: by inverse penalty, the metric of the validation split by which it was chosen.
        models: scikit-learn's; one, or one for each output of several.
    """

    task: TaskConfig
    inverse_penalty: float
    validation: dict[float, float]
    models: tuple[Any, ...]


def learnable_labels(task: TaskConfig, labels: Num[np.ndarray, "N ..."], count: int) -> Num[np.ndarray, "N ..."]:
    """Returns the labels of a training split; raises InputError if they are wrong, or an output never changes."""
    labels = checked_labels(task, labels, count)
    names = task.labels if labels.ndim > 1 else ("the label",)
    for name, column in zip(names, np.atleast_2d(labels.T), strict=True):
        if not len(column) or (column == column[0]).all():
            raise InputError(f"In the training split, {name} is always the same: nothing can be learned.")
    return labels


def fit_linear(
    task: TaskConfig,
    inverse_penalties: tuple[float, ...],
    metric: str,
    train: tuple[Any, Num[np.ndarray, "N ..."]],
    validation: tuple[Any, Num[np.ndarray, "M ..."]],
) -> LinearFit:
    """Fits the training split with each penalty and keeps the fit that is best on the validation split.

    Args:
        inverse_penalties: C of the L2 penalty |w|² / 2C on the sum of the losses, of half the squared errors in
            regression.
        metric: of the validation split.
        train: features, an array or a sparse matrix, [N, F]; and labels, as `learnable_labels` returns them.
        validation: the same of the validation split, which nothing is fitted to.

    Raises:
        InputError: a metric that the validation split does not define.
        JobError: no fit converges.
    """
    features, labels = train
    fits: dict[float, tuple[Any, ...]] = {}
    figures: dict[float, float] = {}
    for penalty in sorted(inverse_penalties):
        models = tuple(_fit(task, features, column, penalty) for column in np.atleast_2d(labels.T))
        if None in models:
            # Weaker penalties would converge no sooner.
            break
        scores = model_scores(task, models, validation[0])
        figure = measure(task, scores, validation[1], resamples=0).values[metric]
        if figure.value is None:
            raise InputError(f"The validation split leaves {metric} undefined: {figure.note}.")
        fits[penalty], figures[penalty] = models, figure.value
    if not fits:
        raise JobError(f"The regression does not converge in {_ITERATIONS:,} iterations with the strongest penalty.")
    # Of equal figures the first, which is that of the strongest penalty.
    best = max if better(metric) == "higher" else min
    chosen = best(figures, key=figures.__getitem__)
    return LinearFit(task, chosen, figures, fits[chosen])


def _fit(task: TaskConfig, features: Any, labels: Num[np.ndarray, " N"], penalty: float) -> Any:
    """Returns a fitted model of scikit-learn; None if it does not converge."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    model: Any
    if task.problem == "regression":
        model = Ridge(alpha=1 / penalty, max_iter=_ITERATIONS, solver="sparse_cg", tol=_RIDGE_TOLERANCE)
    else:
        model = LogisticRegression(C=penalty, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return model.fit(features, labels)
        except ConvergenceWarning:
            return None


def model_scores(task: TaskConfig, models: tuple[Any, ...], features: Any) -> Float[np.ndarray, "N C"]:
    """Returns probabilities of the labels, or values, as `metrics.measure` takes them, by models of scikit-learn.

    There is one model, or one for each output of several.
    """
    if task.problem == "regression":
        return np.stack([model.predict(features) for model in models], axis=1)
    if task.problem == "multi_label_classification":
        return np.stack([model.predict_proba(features)[:, 1] for model in models], axis=1)
    scores = np.zeros((features.shape[0], len(task.labels)))
    # A class without training examples has no probability.
    scores[:, models[0].classes_] = models[0].predict_proba(features)
    return scores
