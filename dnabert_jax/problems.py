"""Defines what the outputs of a head mean, by a class per kind of problem; `TaskConfig.kind` is an instance.

`probabilities` takes logits [..., C] of JAX or of NumPy; `losses` takes logits and targets [N, C], which are the
probability of each label or the true values; `decisions` takes probabilities, or the numbers of a regression.
`exclusive` says whether an example has exactly one label, `has_classes` whether there are labels to predict at all;
`in_words` is what a user reads, given the number of labels.
JAX is imported only where a loss is computed. N examples, C labels.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int64

BINARY_METRICS = ("accuracy", "f1", "precision", "recall", "mcc", "roc_auc", "auprc")
REGRESSION_METRICS = ("r2", "pearson", "spearman", "rmse")


class SingleLabel:
    """Labels exclude each other, and an example has the number of one."""

    in_words = "Classification in {:,} classes that exclude each other"
    label_type, default_metric, by_chance = np.int32, "roc_auc", 0.5
    exclusive, has_classes = True, True

    def probabilities(self, logits: Any) -> Any:
        numpy = logits.__array_namespace__()
        exponentials = numpy.exp(logits - logits.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    def losses(self, logits: Any, targets: Any) -> Any:
        import optax

        return optax.softmax_cross_entropy(logits, targets)

    def decisions(self, scores: Float[np.ndarray, "N C"]) -> Int64[np.ndarray, " N"]:
        return scores.argmax(axis=1)

    def metric_keys(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        binary = ("f1", "precision", "recall") if len(labels) == 2 else ()
        return ("loss", "accuracy", "mcc", "roc_auc", "auprc", *binary, "f1_macro", "precision_macro", "recall_macro")


class MultiLabel:
    """Each label holds (1) or does not (0)."""

    in_words = "Classification by {:,} labels, several of which may hold"
    label_type, default_metric, by_chance = np.uint8, "roc_auc_macro", 0.5
    exclusive, has_classes = False, True

    def probabilities(self, logits: Any) -> Any:
        return (1 + logits.__array_namespace__().tanh(logits / 2)) / 2

    def losses(self, logits: Any, targets: Any) -> Any:
        import optax

        return optax.sigmoid_binary_cross_entropy(logits, targets).mean(axis=-1)

    def decisions(self, scores: Float[np.ndarray, "N C"]) -> Int64[np.ndarray, "N C"]:
        return (scores >= 0.5).astype(np.int64)

    def metric_keys(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        macro = tuple(f"{name}_macro" for name in BINARY_METRICS)
        if len(labels) == 1:
            return ("loss", *macro)
        micro = tuple(f"{name}_micro" for name in BINARY_METRICS)
        return ("loss", "subset_accuracy", *macro, *micro, *(f"{name}/{c}" for name in BINARY_METRICS for c in labels))


class Regression:
    """Each output is a number."""

    in_words = "Regression"
    label_type, default_metric, by_chance = np.float32, "r2", 0.0
    exclusive, has_classes = False, False

    def probabilities(self, logits: Any) -> Any:
        return logits

    def losses(self, logits: Any, targets: Any) -> Any:
        return logits.__array_namespace__().square(logits - targets).mean(axis=-1)

    def decisions(self, scores: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
        return scores

    def metric_keys(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        each = [f"{name}/{label}" for name in REGRESSION_METRICS for label in labels] if len(labels) > 1 else []
        return ("loss", *REGRESSION_METRICS, *each)


Kind = SingleLabel | MultiLabel | Regression
KINDS: dict[str, Kind] = {
    "single_label_classification": SingleLabel(),
    "multi_label_classification": MultiLabel(),
    "regression": Regression(),
}
