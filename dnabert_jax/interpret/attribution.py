"""Attributions: gradient x input and integrated gradients, by the vectors of tokens, of what a model says of a label.

The attribution of a token goes in equal parts to its bases, so that the attributions of bases and of tokens have the
same sum.
B batch, L tokens, H hidden.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32

from dnabert_jax import stream
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.target import Target, computed
from dnabert_jax.model.bound_head import label_output_and_gradient
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.sequence.vocabulary import MASK, NUM_SPECIAL, UNK
from dnabert_jax.stream import Coded, Named


class Integrated(NamedTuple):
    """Integrated gradients of a sequence.

    Attributes:
        output: what the model says of it.
        baseline: what it says of the baseline.
    """

    sequence: Coded
    scores: Float32[np.ndarray, " bases"]
    output: float
    baseline: float

    @property
    def gap(self) -> float:
        """The distance between the sum of the scores and output - baseline: the error of the integral."""
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
    model: DNAModel,
    sequences: Iterable[Named],
    target: Target,
    advance: Callable[[int], object] | None = None,
) -> Iterator[tuple[Coded, Float32[np.ndarray, " bases"]]]:
    """Yields each sequence and its scores, one for each base, in their order and in constant memory.

    A k-mer's score is the product of its vector and the gradient of the target by it, before position and LayerNorm.
    """

    def of_tokens(ids: Int32[np.ndarray, "B L"]) -> Array:
        rows = target.rows(ids, model.tokenizer)
        vectors = model.encoder.token_vectors(rows)
        return (vectors * _gradient(model, target, vectors, rows)).sum(axis=-1).reshape(len(ids), -1)

    for sequence, ids, scores in computed(model, stream.coded(sequences, model.tokenizer), of_tokens, advance):
        yield sequence, _of_bases(model, target, ids, scores)


def integrated_gradients(
    model: DNAModel,
    sequences: Iterable[Named],
    target: Target,
    baseline: Literal["mask", "unknown", "zero"] = "mask",
    steps: int = 50,
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

    def of_tokens(ids: Int32[np.ndarray, "B L"]) -> Array:
        rows = target.rows(ids, model.tokenizer)
        vectors = model.encoder.token_vectors(rows)
        # [CLS], [SEP] and padding stay as they are.
        spells_bases = (rows >= NUM_SPECIAL) | (rows == UNK)
        if baseline == "zero":
            start = jnp.where(spells_bases[..., None], 0, vectors)
        else:
            token = MASK if baseline == "mask" else UNK
            start = model.encoder.token_vectors(np.where(spells_bases, token, rows).astype(np.int32))
        difference, total = vectors - start, jnp.zeros_like(vectors)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            total += weight * _gradient(model, target, start + node * difference, rows)
        scores = (difference * total).sum(axis=-1).reshape(len(ids), -1)
        outputs = [target.output(model, model.encoder.last_of_vectors(ends, rows), rows) for ends in (vectors, start)]
        return jnp.concatenate([jnp.stack(outputs, axis=1), scores], axis=1)

    for sequence, ids, row in computed(model, stream.coded(sequences, model.tokenizer), of_tokens, advance):
        output, at_baseline = row[:2]
        yield Integrated(sequence, _of_bases(model, target, ids, row[2:]), float(output), float(at_baseline))


def _of_bases(
    model: DNAModel, target: Target, ids: Int32[np.ndarray, " tokens"], scores: Float32[np.ndarray, " padded"]
) -> Float32[np.ndarray, " bases"]:
    """Returns the scores of bases from those of the tokens of each strand that is read; of both strands the sum."""
    strands, content = target.rows(ids[None], model.tokenizer), model.tokenizer.content(len(ids))
    forward, *reverse = (
        model.tokenizer.share_among_bases(row[content], strand[content])
        for row, strand in zip(scores.reshape(len(strands), -1), strands, strict=True)
    )
    return forward + reverse[0][::-1] if reverse else forward


def _gradient(
    model: DNAModel, target: Target, vectors: Float[Array, "rows L H"], ids: Int32[np.ndarray, "rows L"]
) -> Float[Array, "rows L H"]:
    """Returns the gradient of the target by the vectors of tokens."""

    def value(hidden: Array) -> tuple[Array, Array]:
        network = model.config, target.task, model.on_encoder
        return label_output_and_gradient(*network, hidden, ids, target.number, target.scale)

    return model.encoder.value_and_gradient(vectors, ids, value)[1]
