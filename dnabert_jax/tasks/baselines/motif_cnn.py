"""The network of the CNN baseline: its configuration, and from codes of bases to logits or values.

Letters: B batch, L bases, C outputs.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from dnabert_jax.config import require, require_in

_OTHER_STRAND = np.array([1, 0, 3, 2])
"""A and T, C and G are neighbours among the codes of bases."""


@dataclasses.dataclass(frozen=True)
class CnnBaselineConfig:
    """The network and how it is trained.

    Attributes:
        dropout: rate before the dense layer and after it.
        reverse_complement: a detector looks at both strands, so that a sequence and its reverse complement are one.
        epochs: over the training split, at most, and
        least_steps: updates there is time for, however small the split: the loss falls only when a detector has found a
            motif, on 2,000 sequences of CEBPB after some 400.
        peak_learning_rate: reached at the end of the warm-up; then it falls linearly to 0 at the end of the last epoch.
        weight_decay: decoupled, on what is no bias.
        patience: epochs without a better validation figure after which it stops, if they are
        patience_steps: updates or more.
        select_by: metric of the validation split by which the best epoch is kept; the loss, unlike a share of right
            answers, tells any two apart.
    """

    detectors: int = 64
    width: int = 24
    hidden: int = 64
    dropout: float = 0.3
    reverse_complement: bool = True
    epochs: int = 20
    least_steps: int = 1500
    batch_size: int = 32
    peak_learning_rate: float = 3e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    patience: int = 3
    patience_steps: int = 700
    select_by: str = "loss"

    def __post_init__(self) -> None:
        require_in(self, 1, math.inf, "detectors", "width", "hidden", "epochs", "batch_size", "patience")
        require_in(self, 1, math.inf, "least_steps", "patience_steps")
        require_in(self, 0, 1, "warmup_share")
        require_in(self, 0, math.inf, "weight_decay")
        require(0 <= self.dropout < 1, f"dropout is {self.dropout}: it must lie in [0, 1).")
        rate = self.peak_learning_rate
        require(0 < rate < math.inf, f"peak_learning_rate is {rate}: it must be above 0.")

    @property
    def description(self) -> str:
        """In words, for tables."""
        strands = ", strands merged" if self.reverse_complement else ""
        return f"CNN, {self.detectors} detectors of {self.width} bases{strands}"


class MotifCnn(nnx.Module):
    """Motif detectors, the best and the mean place of each, and one hidden layer."""

    def __init__(self, config: CnnBaselineConfig, outputs: int, *, rngs: nnx.Rngs):
        count, width = config.detectors, config.width
        self._both, self._count = config.reverse_complement, count
        self.kernel = nnx.Param(nnx.initializers.lecun_normal(in_axis=(0, 1))(rngs.params(), (width, 4, count)))
        self.bias = nnx.Param(jnp.zeros(count))
        self.hidden = nnx.Linear(2 * count, config.hidden, rngs=rngs)
        self.output = nnx.Linear(config.hidden, outputs, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    def __call__(self, codes: UInt8[Array, "B L"], key: Array | None = None) -> Float[Array, "B C"]:
        """Without a key nothing is dropped out."""
        rngs = None if key is None else nnx.Rngs(dropout=key)
        drop = functools.partial(self.dropout, deterministic=key is None, rngs=rngs)
        return self.output(drop(nnx.relu(self.hidden(drop(self._pooled(codes))))))

    def _pooled(self, codes: UInt8[Array, "B L"]) -> Float[Array, "B {2*self._count}"]:
        """What each detector says at its best place, and in the mean of all.

        Places are all those where a detector sees a base; so it does not matter where in a row a sequence lies.
        """
        kernel = self.kernel[...]
        width, _, count = kernel.shape
        # An ambiguous letter is no base: all zeros. Both strands are one product of matrices.
        bases = jnp.pad(jax.nn.one_hot(codes, 4), ((0, 0), (width - 1, width - 1), (0, 0)))
        places = codes.shape[1] + width - 1
        seen = jnp.concatenate([bases[:, first : first + places] for first in range(width)], axis=-1)
        strands = [kernel, kernel[::-1, _OTHER_STRAND, :]] if self._both else [kernel]
        found = seen @ jnp.concatenate(strands, axis=-1).reshape(4 * width, -1)
        found = found.reshape(*found.shape[:2], len(strands), count).max(axis=2)
        inside = seen.any(axis=-1, keepdims=True)
        found = jnp.where(inside, nnx.relu(found + self.bias[...]), 0)
        mean = found.sum(axis=1) / jnp.maximum(inside.sum(axis=1), 1)
        return jnp.concatenate([found.max(axis=1), mean], axis=-1)
