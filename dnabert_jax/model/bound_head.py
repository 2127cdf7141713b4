"""What stands on the encoder, for inference: the pooler and the classifiers, bound to parameters.

The encoder runs apart (`model/layerwise.py`), so these take hidden states.
B batch, T pieces of a sequence, L tokens, H hidden, C labels.
"""

import functools
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.classification import BertWithPooler
from dnabert_jax.model.long import sequence_classifier


def _bound_head(config: ModelConfig, task: TaskConfig | None, parameters: Any) -> Any:
    """The network without its encoder, with these parameters."""

    def make() -> BertWithPooler:
        rngs = nnx.Rngs(0)
        module = BertWithPooler(config, rngs=rngs) if task is None else sequence_classifier(config, task, rngs=rngs)
        del module.bert
        return module

    module = nnx.eval_shape(make)
    nnx.update(module, parameters)
    return module


@functools.partial(jax.jit, static_argnums=(0, 1))
def apply_pooler(config: ModelConfig, task: TaskConfig | None, parameters: Any, hidden: Array) -> Array:
    """Pooled vectors, [B, H], from hidden states, [B, L, H]."""
    return _bound_head(config, task, parameters).pooler(hidden)


@functools.partial(jax.jit, static_argnums=(0, 1))
def classify(config: ModelConfig, task: TaskConfig, parameters: Any, hidden: Array) -> Array:
    """Probabilities or numbers, [B, C], from the hidden states of all pieces, [B T, L, H]."""
    head = _bound_head(config, task, parameters)
    logits = head.classify(head.pooler(hidden).reshape(-1, task.split, hidden.shape[-1]))
    if task.problem == "single_label_classification":
        return jax.nn.softmax(logits)
    return jax.nn.sigmoid(logits) if task.problem == "multi_label_classification" else logits
