"""A probe: regression on the vectors of a frozen model, whose solution is the last layer of the model's classifier.

The protocol of Feng et al. 2025 (Nat. Commun. 16:10780): what a model knows, without fine-tuning it.
n sequences, S strands that the task reads, P features of a pooled vector, C labels.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Num

from dnabert_jax.config import TaskConfig
from dnabert_jax.model.heads import pooled_size
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.tasks.baselines.linear import fit_linear, learnable_labels, model_scores
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.encoding import EncodedSplit, encode_split, task_to_learn, windowed_task
from dnabert_jax.tasks.finetuning.fitting import Fitting
from dnabert_jax.tasks.finetuning.trainable import kept_parts, with_fresh_heads
from dnabert_jax.tasks.measures.metrics import validation_metric
from dnabert_jax.training.saved_model import SavedModel
from dnabert_jax.training.state import Parameters

INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
"""Candidates for features with a standard deviation of 1. Fits with weaker penalties take most of the time."""

_NO_EXAMPLES = -20.0
"""The logit of a class that has no training examples."""

Vectors = Mapping[str, Float[np.ndarray, "n S P"]]
"""The vectors of each sequence of each split."""


@fixed_settings()
def embedded_set(
    model: SavedModel,
    data: LabelledData,
    config: FinetuneConfig,
    devices: Sequence[jax.Device],
    advance: Callable[[int, int], object],
) -> dict[str, Float[np.ndarray, "n S P"]]:
    """Returns `pooled_vectors` of all splits of a data set, read as a fine-tuning with this configuration reads them.

    Raises:
        InputError: the settings make vectors that depend on more than the frozen model.
    """
    config.check_probe()
    task = windowed_task(task_to_learn(data, config), config, model.config, data.splits.values())
    fitting = Fitting(model.config, kept_parts(model.parameters, task), task, config, devices)
    splits = {str(split): encode_split(rows, task, model.config) for split, rows in data.splits.items()}
    return pooled_vectors(fitting, config.seed, splits, advance)


def pooled_vectors(
    fitting: Fitting, seed: int, splits: Mapping[str, EncodedSplit], advance: Callable[[int, int], object]
) -> dict[str, Float[np.ndarray, "n S P"]]:
    """Returns the pooled vector of each strand of each sequence that the task reads.

    Args:
        seed: of what starts at random.
        advance: is called with the strands that were embedded since the last call, and the number of all.
    """
    task, width = fitting.task, pooled_size(fitting.model, fitting.task.pooling)
    # A classifier that returns what it is given: poolings, windows and batches are those of fine-tuning.
    names = tuple(map(str, range(width)))
    features = dataclasses.replace(task, problem="regression", labels=names, strands="forward")
    whole = with_fresh_heads(fitting.parameters, fitting.model, task, seed)
    whole["classifier"] = {"kernel": np.eye(width, dtype=np.float32), "bias": np.zeros(width, np.float32)}
    config = dataclasses.replace(fitting.config, class_weights="none")
    embedding = dataclasses.replace(fitting, parameters={}, task=features, config=config)
    both = task.strands == "both"
    strands = {name: [split, *([split.other_strand] if both else [])] for name, split in splits.items()}
    total = sum(len(split) for of_split in strands.values() for split in of_split)
    predict = functools.partial(embedding.predict, [whole], advance=lambda done: advance(done, total))
    return {name: np.stack([predict([split])[0] for split in strands[name]], axis=1) for name in splits}


def fit_probe(data: LabelledData, select_by: str, vectors: Vectors) -> Parameters:
    """Returns the part `classifier` of a network, as a regression fitted to the training split has it.

    The penalty is the one that does best on the validation split. Each strand of a training sequence is an example, as
    in fine-tuning; elsewhere their mean is read.

    Args:
        select_by: metric; the task's own if empty.

    Raises:
        InputError: an output that is always the same in the training split, or a metric that the task has not, or the
            validation split does not define.
        JobError: a fit that does not converge.
    """
    metric = validation_metric(data.task, select_by)
    examples, target = _examples(data, vectors)
    mean, scale = examples.mean(axis=0), examples.std(axis=0) + 1e-6
    train, held_out = ((rows - mean) / scale for rows in (examples, vectors["validation"].mean(axis=1)))
    validation = held_out, data.splits["validation"].labels
    models = fit_linear(data.task, INVERSE_PENALTIES, metric, (train, target), validation)
    weights, bias = _last_layer(data.task, models)
    kernel = weights / scale[:, None]
    return {"kernel": kernel.astype(np.float32), "bias": (bias - mean @ kernel).astype(np.float32)}


def probe_logits(classifier: Parameters, vectors: Float[np.ndarray, "n S P"]) -> Float[np.ndarray, "n C"]:
    """Returns the logits, or values, that a fitted probe gives sequences, by the vectors of their strands."""
    return vectors.mean(axis=1) @ classifier["kernel"] + classifier["bias"]


def _examples(data: LabelledData, vectors: Vectors) -> tuple[Float[np.ndarray, "n*S P"], Num[np.ndarray, "n*S ..."]]:
    """Returns the vector and the label of each strand of the training split."""
    sequences, strands, width = vectors["train"].shape
    target = learnable_labels(data.task, data.splits["train"].labels, sequences)
    return vectors["train"].reshape(-1, width), np.repeat(target, strands, axis=0)


def _last_layer(task: TaskConfig, models: tuple[Any, ...]) -> tuple[Float[np.ndarray, "P C"], Float[np.ndarray, " C"]]:
    """Returns kernel and bias that give the logits, or values, of a fit."""
    if not task.kind.exclusive:
        coefficients: Any = [np.ravel(model.coef_) for model in models]
        return np.stack(coefficients, axis=1), np.array([float(np.ravel(model.intercept_)[0]) for model in models])
    (model,) = models
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn has the difference of their logits alone
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.append(-intercept, intercept) / 2
    kernel, bias = np.zeros((coefficients.shape[1], len(task.labels))), np.full(len(task.labels), _NO_EXAMPLES)
    kernel[:, model.classes_], bias[model.classes_] = coefficients.T, intercept
    return kernel, bias


def forest_scores(data: LabelledData, vectors: Vectors, seed: int) -> Float[np.ndarray, "m C"]:
    """Returns the scores that a random forest of 500 trees gives the test split.

    Nothing is chosen on the validation split: a forest has no penalty.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    examples, target = _examples(data, vectors)
    kind = RandomForestClassifier if data.task.kind.has_classes else RandomForestRegressor
    columns = target[:, None] if target.ndim == 1 else target
    models = tuple(kind(n_estimators=500, random_state=seed, n_jobs=-1).fit(examples, column) for column in columns.T)
    return model_scores(data.task, models, vectors["test"].mean(axis=1))
