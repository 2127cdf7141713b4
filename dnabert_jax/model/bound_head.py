"""What stands on the encoder, for inference: the pooler and the classifiers, also of windows, bound to parameters.

The encoder runs apart (`model/layerwise.py`), so these take hidden states, and the ids that they are of.
B batch, T pieces of a sequence, L tokens, H hidden, P pooled, C labels.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.binding import bind
from dnabert_jax.model.classification import PooledBackbone
from dnabert_jax.model.heads import pooled_size
from dnabert_jax.model.layerwise import LayerwiseEncoder
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.sequence.vocabulary import PAD

Scale = Literal["logit", "probability", "log-odds"]
"""Of what a classifier says of a label; a regression has logits alone, which are its numbers.

Log-odds are of the label against all others, natural: of one among several classes they are not its logit.
"""


def _head(config: ModelConfig, task: TaskConfig | None, *, rngs: nnx.Rngs) -> Any:
    """Returns the network without its encoder."""
    module = PooledBackbone(config, rngs=rngs) if task is None else sequence_classifier(config, task, rngs=rngs)
    del module.backbone
    return module


@functools.partial(jax.jit, static_argnums=(0, 1))
def apply_pooler(config: ModelConfig, task: TaskConfig | None, parameters: Any, hidden: Array, ids: Array) -> Array:
    """Returns pooled vectors, [B, P], of hidden states, [B, L, H], of ids, [B, L]."""
    return bind(_head, parameters, config, task).pooler(hidden, ids)


@functools.partial(jax.jit, static_argnums=(0, 1))
def classify(config: ModelConfig, task: TaskConfig, parameters: Any, hidden: Array, ids: Array) -> Array:
    """Returns logits or numbers, [B, C], from the hidden states of all pieces, [B T, L, H], and their ids, [B T, L]."""
    head = bind(_head, parameters, config, task)
    vectors = head.pooler(hidden, ids)
    return head.classify(vectors.reshape(-1, task.split, vectors.shape[-1]))


@functools.partial(jax.jit, static_argnums=(0, 1))
def classify_vectors(config: ModelConfig, task: TaskConfig, parameters: Any, vectors: Array, present: Array) -> Array:
    """Returns the same from the pooled vectors of windows, [B, T, P], of which some may not be present, [B, T]."""
    return bind(_head, parameters, config, task).classify(vectors, None, present)


def classify_windows(
    config: ModelConfig,
    task: TaskConfig,
    encoder: LayerwiseEncoder,
    head: Any,
    ids: Int32[np.ndarray, "B tokens"],
    tokens: int,
) -> Float[Array, "B C"]:
    """Returns logits or numbers.

    Args:
        ids: the windows of each sequence end to end, each as long as the task's unless it is the only one, and then
            padding.
        tokens: that the encoder is given at a time, at most, but for a single window.
    """
    length = min(ids.shape[1], task.window + config.tokenizer.specials)
    # What is left of a window is padding: a sequence has whole ones.
    count = ids.shape[1] // length
    rows = ids[:, : count * length].reshape(-1, length)
    present = rows[:, 0] != PAD
    real = np.flatnonzero(present)
    size = min(max(1, tokens // length), 1 << (len(real) - 1).bit_length())
    vectors = np.zeros((len(rows), pooled_size(config, task.pooling)), np.float32)
    for first in range(0, len(real), size):
        chosen = real[first : first + size]
        part = np.full((size, length), PAD, np.int32)
        part[: len(chosen)] = rows[chosen]
        pooled = apply_pooler(config, task, head, encoder(part, config.num_layers), part)
        vectors[chosen] = np.asarray(pooled)[: len(chosen)]
    kept = task.split if task.long == "concatenation" else count
    shape = (len(ids), count)
    padding = max(0, kept - count)
    return classify_vectors(
        config,
        task,
        head,
        np.pad(vectors.reshape(*shape, -1), ((0, 0), (0, padding), (0, 0)))[:, :kept],
        np.pad(present.reshape(shape), ((0, 0), (0, padding)))[:, :kept],
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 6))
def label_output(
    config: ModelConfig, task: TaskConfig, parameters: Any, hidden: Array, ids: Array, label: int | Array, scale: Scale
) -> Array:
    """Returns the output of one label, [B], from the hidden states of sequences of one piece, [B, L, H], and their ids.

    A task of both strands has rows of `both_strands`, 2 B of them.
    """
    head = bind(_head, parameters, config, task)
    logits = head.classify(head.pooler(hidden, ids)[:, None])
    if task.strands == "both":
        logits = logits.reshape(-1, 2, logits.shape[-1]).mean(axis=1)
    if scale == "probability":
        return task.kind.probabilities(logits)[:, label]
    if scale == "log-odds" and task.kind.exclusive:
        others = jnp.arange(logits.shape[1]) != label
        return logits[:, label] - jax.nn.logsumexp(logits, axis=1, where=others)
    return logits[:, label]


@functools.partial(jax.jit, static_argnums=(0, 1, 6))
def label_output_and_gradient(
    config: ModelConfig, task: TaskConfig, parameters: Any, hidden: Array, ids: Array, label: int | Array, scale: Scale
) -> tuple[Array, Array]:
    """Returns the same, and the gradient of each by the hidden states of its rows, of the shape of `hidden`."""
    values, pull = jax.vjp(lambda taken: label_output(config, task, parameters, taken, ids, label, scale), hidden)
    return values, pull(jnp.ones_like(values))[0]
