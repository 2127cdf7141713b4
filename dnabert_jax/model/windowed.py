"""A classifier over windows, for inference: any number of windows, some of them in memory at a time.

B batch, T windows, L tokens of a window, H hidden, C labels.
"""

from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int32

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.bound_head import apply_pooler, classify_vectors
from dnabert_jax.model.heads import pooled_size
from dnabert_jax.model.layerwise import LayerwiseEncoder
from dnabert_jax.sequence.vocabulary import PAD, SPECIAL_PER_SEQUENCE


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
    length = min(ids.shape[1], task.window + SPECIAL_PER_SEQUENCE)
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
