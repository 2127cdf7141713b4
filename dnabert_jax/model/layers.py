"""The parts of which the network is made.

Every parameter names its logical axes in the metadata `axes`; `dnabert_jax.parallel.rules` maps those to a mesh.
Parameters are float32; a module computes in the dtype of its input, and LayerNorm takes its statistics in float32.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray


class Dense(nnx.Module):
    """A linear map from the axes `inputs` to the axes `outputs`, with bias: both may be several axes."""

    def __init__(self, inputs: dict[str, int], outputs: dict[str, int], scale: float, *, rngs: nnx.Rngs):
        shape = (*inputs.values(), *outputs.values())
        kernel = scale * jax.random.normal(rngs.params(), shape)
        self.kernel = nnx.Param(kernel, axes=(*inputs, *outputs))
        self.bias = nnx.Param(jnp.zeros(tuple(outputs.values())), axes=tuple(outputs))
        self.input_axes = len(inputs)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        kernel, bias = self.kernel[...].astype(x.dtype), self.bias[...].astype(x.dtype)
        return jnp.tensordot(x, kernel, self.input_axes) + bias


class LayerNorm(nnx.Module):
    """Normalisation over the last axis."""

    def __init__(self, size: int, epsilon: float):
        self.scale = nnx.Param(jnp.ones((size,)), axes=("norm",))
        self.bias = nnx.Param(jnp.zeros((size,)), axes=("norm",))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch H"]) -> Float[Array, "*batch H"]:
        wide = x.astype(jnp.float32)
        centred = wide - wide.mean(axis=-1, keepdims=True)
        variance = jnp.square(centred).mean(axis=-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(variance + self.epsilon)
        return (normal * self.scale[...] + self.bias[...]).astype(x.dtype)


class Embedding(nnx.Module):
    """A table of vectors; rows from `used` on are padding and start at zero."""

    def __init__(self, rows: int, size: int, scale: float, row_axis: str, *, used: int | None = None, rngs: nnx.Rngs):
        table = scale * jax.random.normal(rngs.params(), (rows, size))
        if used is not None:
            table = jnp.where(jnp.arange(rows)[:, None] < used, table, 0)
        self.table = nnx.Param(table, axes=(row_axis, "embed"))


def sinusoids(positions: int, size: int, scale: float) -> Float[Array, "P H"]:
    """Sines and cosines of geometric wavelengths (Vaswani et al. 2017, section 3.5), from 2 pi to 2 pi x positions.

    Args:
        positions: rows, P.
        size: columns, H; the first half are sines.
        scale: standard deviation of the values.
    """
    wavelengths = positions ** (jnp.arange(0, size, 2) / size)
    angles = jnp.arange(positions)[:, None] / wavelengths
    return scale * 2**0.5 * jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)[:, :size]


def dropout(x: Float[Array, "*shape"], rate: float, key: PRNGKeyArray | None) -> Float[Array, "*shape"]:
    """Zeroes each element with probability `rate` and scales up the rest; no key means no dropout."""
    if key is None or rate == 0:
        return x
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)
