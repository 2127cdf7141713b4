"""What stands on the encoder, for inference: the pooler and the classifiers, bound to parameters.

The encoder runs apart (`model/layerwise.py`), so these take hidden states.
B batch, T pieces of a sequence, L tokens, H hidden, C labels.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.classification import BertWithPooler
from dnabert_jax.model.long import sequence_classifier

Scale = Literal["logit", "probability", "log-odds"]
"""Of what a classifier says of a label; a regression has logits alone, which are its numbers.

Log-odds are of the label against all others, natural: of one among several classes they are not its logit.
"""


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
    return _probabilities(task, head.classify(head.pooler(hidden).reshape(-1, task.split, hidden.shape[-1])))


@functools.partial(jax.jit, static_argnums=(0, 1))
def classify_vectors(config: ModelConfig, task: TaskConfig, parameters: Any, vectors: Array, present: Array) -> Array:
    """The same from the pooled vectors of windows, [B, T, H], of which some may not be present, [B, T]."""
    return _probabilities(task, _bound_head(config, task, parameters).classify(vectors, None, present))


@functools.partial(jax.jit, static_argnums=(0, 1, 5))
def label_output(
    config: ModelConfig, task: TaskConfig, parameters: Any, hidden: Array, label: int | Array, scale: Scale
) -> Array:
    """What is said of one label, [B], from the hidden states of sequences of one piece, [B, L, H]."""
    head = _bound_head(config, task, parameters)
    logits = head.classify(head.pooler(hidden)[:, None])
    if scale == "probability":
        return _probabilities(task, logits)[:, label]
    if scale == "log-odds" and task.problem == "single_label_classification":
        others = jnp.arange(logits.shape[1]) != label
        return logits[:, label] - jax.nn.logsumexp(logits, axis=1, where=others)
    return logits[:, label]


@functools.partial(jax.jit, static_argnums=(0, 1, 5))
def label_output_and_gradient(
    config: ModelConfig, task: TaskConfig, parameters: Any, hidden: Array, label: int | Array, scale: Scale
) -> tuple[Array, Array]:
    """The same, and of each its gradient by the hidden states of its sequence, [B, L, H]."""
    values, pull = jax.vjp(lambda taken: label_output(config, task, parameters, taken, label, scale), hidden)
    return values, pull(jnp.ones_like(values))[0]


def _probabilities(task: TaskConfig, logits: Array) -> Array:
    if task.problem == "single_label_classification":
        return jax.nn.softmax(logits)
    return jax.nn.sigmoid(logits) if task.problem == "multi_label_classification" else logits
