"""Attributions: gradient x input and integrated gradients, by the vectors of tokens, of what a model says of a label.

A k-mer's attribution goes in equal parts to its k bases: the mean over the k-mers that cover a base, but for the k - 1
bases at either end. So the attributions of bases have the sum of those of k-mers.
B batch, L tokens, H hidden.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32

from dnabert_jax import stream
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.target import Target
from dnabert_jax.model.bound_head import label_output, label_output_and_gradient
from dnabert_jax.model.layerwise import shared_among_bases
from dnabert_jax.pretrained import DNABERT
from dnabert_jax.sequence.vocabulary import FIRST_KMER, MASK, PAD, UNK
from dnabert_jax.stream import Named, Result

Baseline = Literal["mask", "unknown", "zero"]

STEPS = 50


class Integrated(NamedTuple):
    """Integrated gradients of a sequence.

    Attributes:
        output: what the model says of it.
        baseline: what it says of the baseline.
    """

    name: str
    scores: Float32[np.ndarray, " bases"]
    output: float
    baseline: float

    @property
    def gap(self) -> float:
        """By how much the sum of the scores misses output - baseline: the error of the integral."""
        return abs(float(self.scores.sum(dtype=np.float64)) - (self.output - self.baseline))

    @property
    def relative_gap(self) -> float:
        """The gap as a share of abs(output - baseline); 0 if it is no more than rounding in float32 explains."""
        rounding = 1e-5 * max(abs(self.output), abs(self.baseline), float(np.abs(self.scores).sum()))
        if self.gap <= rounding:
            return 0.0
        difference = abs(self.output - self.baseline)
        return self.gap / difference if difference else float("inf")


def gradient_times_input(
    model: DNABERT,
    sequences: Iterable[Named],
    target: Target,
    advance: Callable[[int], object] | None = None,
) -> Iterator[Result]:
    """Yields name and scores, one for each base, of each sequence, in their order and in constant memory.

    A k-mer's score is the product of its vector and the gradient of the target by it, before position and LayerNorm.
    """

    def of_bases(ids: Int32[np.ndarray, "B L"]) -> Array:
        rows = target.rows(ids, model.config.k)
        vectors = model.encoder.token_vectors(rows)
        _, gradient = _value_and_gradient(model, target, vectors, rows)
        return _of_bases(model, target, (vectors * gradient).sum(axis=-1), rows)

    own = stream.coded(sequences, model.config.k)
    for name, ids, row in stream.computed(own, model.ids_within_limit, of_bases, model.config.max_positions, advance):
        yield name, row[1 : len(ids) - 2 + model.config.k]


def integrated_gradients(
    model: DNABERT,
    sequences: Iterable[Named],
    target: Target,
    baseline: Baseline = "mask",
    steps: int = STEPS,
    advance: Callable[[int], object] | None = None,
) -> Iterator[Integrated]:
    """Yields the integrated gradients (Sundararajan et al. 2017) of each sequence, in order and in constant memory.

    The gradient is averaged on the straight line from the vectors of the baseline to those of the sequence, at the
    nodes of Gauss and Legendre, and multiplied by their difference. So the scores of bases sum to output - baseline but
    for the error of the integral, which `Integrated.gap` tells and more steps lessen. [CLS] and [SEP] are those of the
    sequence, and have no part in the sum.

    Args:
        baseline: the vector in place of each k-mer's: mask, that of [MASK], which pre-training has taught; unknown,
            that of [UNK], which pre-training never shows; or zero.
        steps: nodes, each a forward and a backward pass; the two ends are a forward pass each.

    Raises:
        InputError: a sequence is no DNA, too short or too long; steps are fewer than one.
    """
    if steps < 1:
        raise InputError(f"steps is {steps}: it must be at least 1.")
    nodes, weights = np.polynomial.legendre.leggauss(steps)

    def of_bases(ids: Int32[np.ndarray, "B L"]) -> Array:
        rows = target.rows(ids, model.config.k)
        vectors = model.encoder.token_vectors(rows)
        start = _baseline_vectors(model, baseline, rows, vectors)
        difference, total = vectors - start, jnp.zeros_like(vectors)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            total += weight * _value_and_gradient(model, target, start + node * difference, rows)[1]
        scores = _of_bases(model, target, (difference * total).sum(axis=-1), rows)
        outputs = [_value(model, target, ends, rows) for ends in (vectors, start)]
        return jnp.concatenate([jnp.stack(outputs, axis=1), scores], axis=1)

    own = stream.coded(sequences, model.config.k)
    for name, ids, row in stream.computed(own, model.ids_within_limit, of_bases, model.config.max_positions, advance):
        output, at_baseline, *_ = row
        yield Integrated(name, row[3 : len(ids) + model.config.k], float(output), float(at_baseline))


def _value(
    model: DNABERT, target: Target, vectors: Float[Array, "rows L H"], ids: Int32[np.ndarray, "rows L"]
) -> Float[Array, " B"]:
    hidden = model.encoder.states_of_vectors(vectors, ids)[-1]
    return label_output(model.config, target.task, model.on_encoder, hidden, ids, target.number, target.scale)


def _of_bases(
    model: DNABERT, target: Target, scores: Float[Array, "rows L"], rows: Int32[np.ndarray, "rows L"]
) -> Float[Array, "B bases_and_more"]:
    """Returns the scores of bases, which stand as in `mean_over_bases`, of those of k-mers; of both strands the sum."""
    k = model.config.k
    of_rows = shared_among_bases(scores, rows, k)
    if target.task.strands == "forward":
        return of_rows
    forward, reverse = of_rows[::2], of_rows[1::2]
    # The bases stand at 1, 2, ..., behind [CLS]; n tokens with [CLS] and [SEP] are of n + k - 3 bases.
    last = (rows[::2] != PAD).sum(axis=1, keepdims=True) + k - 3
    mirror = np.clip(last + 1 - np.arange(forward.shape[1]), 0, forward.shape[1] - 1)
    return forward + jnp.take_along_axis(reverse, mirror, axis=1)


def _value_and_gradient(
    model: DNABERT, target: Target, vectors: Float[Array, "rows L H"], ids: Int32[np.ndarray, "rows L"]
) -> tuple[Float[Array, " B"], Float[Array, "rows L H"]]:
    def value(hidden: Array) -> tuple[Array, Array]:
        return label_output_and_gradient(
            model.config, target.task, model.on_encoder, hidden, ids, target.number, target.scale
        )

    return model.encoder.value_and_gradient(vectors, ids, value)


def _baseline_vectors(
    model: DNABERT, baseline: Baseline, ids: Int32[np.ndarray, "B L"], vectors: Float[Array, "B L H"]
) -> Float[Array, "B L H"]:
    """[CLS], [SEP] and padding as they are, and the baseline in place of all else."""
    is_kmer = (ids >= FIRST_KMER) | (ids == UNK)
    if baseline == "zero":
        return jnp.where(is_kmer[..., None], 0, vectors)
    return model.encoder.token_vectors(np.where(is_kmer, MASK if baseline == "mask" else UNK, ids).astype(np.int32))
