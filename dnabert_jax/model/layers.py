"""The parts of which the network is made.

Every parameter names its logical axes in the metadata `axes`; `dnabert_jax.parallel.mesh` maps those to a mesh.
Parameters are float32; a module computes in the dtype of its input, and LayerNorm takes its statistics in float32.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from dnabert_jax.sequence.bases import AMBIGUOUS

_SUBLANES = 8
"""Rows of a TPU register: the fewest that a matrix product takes as such."""


class Dense(nnx.Module):
    """A linear map from an axis to another.

    Args:
        inputs: name and size of the axis that is summed over.
        outputs: name and size of the axis that is made.
        scale: standard deviation of the initial kernel.
        units: for an axis of which a mesh must not split units of several, their size.
        bias: whether it has one.
    """

    def __init__(
        self,
        inputs: tuple[str, int],
        outputs: tuple[str, int],
        scale: float,
        *,
        units: dict[str, int] | None = None,
        bias: bool = True,
        rngs: nnx.Rngs,
    ):
        (summed, size), (made, width) = inputs, outputs
        kernel = scale * jax.random.normal(rngs.params(), (size, width))
        self.kernel = nnx.Param(kernel, axes=(summed, made), units=units or {})
        self.bias = nnx.Param(jnp.zeros((width,)), axes=(made,), units=units or {}) if bias else None

    def __call__(self, x: Float[Array, "*batch I"]) -> Float[Array, "*batch O"]:
        kernel, bias = self.kernel[...], self.bias
        if x.dtype != jnp.float32:
            product = x @ kernel.astype(x.dtype)
            return product if bias is None else _add_bias(product, bias[...])
        # One matrix for a CPU: with more axes the gradient of the kernel is a transposed product, twice as slow. Not
        # for a TPU, which computes in 16 bits: there a reshaped product is fused less; a step has 1.6 times the cycles.
        product = (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], -1)
        return product if bias is None else product + bias[...]


@jax.custom_vjp
def _add_bias(x: Array, bias: Array) -> Array:
    return x + bias.astype(x.dtype)


def _add_bias_backward(_: None, gradient: Array) -> tuple[Array, Array]:
    # The sum over tokens as a matrix product: in float32, and fewer cycles of a TPU by its compiler's estimate.
    flat = gradient.reshape(-1, gradient.shape[-1])
    ones = jnp.ones((_SUBLANES, len(flat)), gradient.dtype)
    return gradient, jnp.matmul(ones, flat, preferred_element_type=jnp.float32)[0]


_add_bias.defvjp(lambda x, bias: (_add_bias(x, bias), None), _add_bias_backward)


class LayerNorm(nnx.Module):
    """Normalisation over the last axis."""

    def __init__(self, size: int, epsilon: float):
        self.scale = nnx.Param(jnp.ones((size,)), axes=("norm",))
        self.bias = nnx.Param(jnp.zeros((size,)), axes=("norm",))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch H"]) -> Float[Array, "*batch H"]:
        return layer_norm(self.epsilon, x, self.scale[...], self.bias[...])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def layer_norm(epsilon: float, x: Array, scale: Array, bias: Array) -> Array:
    """Returns what LayerNorm computes with these parameters."""
    return _layer_norm_forward(epsilon, x, scale, bias)[0]


def _layer_norm_forward(epsilon: float, x: Array, scale: Array, bias: Array) -> tuple[Array, tuple[Array, ...]]:
    wide = x.astype(jnp.float32)
    mean = wide.mean(axis=-1, keepdims=True)
    if x.dtype == jnp.float32:
        variance = jnp.square(wide - mean).mean(axis=-1, keepdims=True)
    else:
        # One pass over the features, not two: what cancels is far below the digits that a 16-bit input has.
        variance = jnp.maximum(jnp.square(wide).mean(axis=-1, keepdims=True) - jnp.square(mean), 0)
    inverse_deviation = jax.lax.rsqrt(variance + epsilon)
    out = ((wide - mean) * inverse_deviation * scale + bias).astype(x.dtype)
    # The input in its own width and two numbers a token: automatic differentiation would keep float32 arrays.
    return out, (x, mean, inverse_deviation, scale)


def _layer_norm_backward(_: float, saved: tuple[Array, ...], gradient: Array) -> tuple[Array, Array, Array]:
    x, mean, inverse_deviation, scale = saved
    normal = (x.astype(jnp.float32) - mean) * inverse_deviation
    wide = gradient.astype(jnp.float32)
    scaled = wide * scale
    along = (scaled * normal).mean(axis=-1, keepdims=True)
    of_x = inverse_deviation * (scaled - scaled.mean(axis=-1, keepdims=True) - normal * along)
    tokens = tuple(range(x.ndim - 1))
    return of_x.astype(x.dtype), (wide * normal).sum(tokens), wide.sum(tokens)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


class Embedding(nnx.Module):
    """A table of vectors; rows from `used` on are padding and start at zero."""

    def __init__(self, rows: int, size: int, scale: float, row_axis: str, *, used: int | None = None, rngs: nnx.Rngs):
        table = scale * jax.random.normal(rngs.params(), (rows, size))
        if used is not None:
            table = jnp.where(jnp.arange(rows)[:, None] < used, table, 0)
        self.table = nnx.Param(table, axes=(row_axis, "embed"))


_SPELT = 0.9
"""Share of the variance of `spelt_tokens` that tokens with the same letter at the same place have in common."""


def spelt_tokens(
    spelling: UInt8[np.ndarray, "V width"], size: int, scale: float, *, rngs: nnx.Rngs
) -> Float[Array, "V H"]:
    """Returns a first vector per token: the sum of a vector per letter and position, plus noise.

    Tokens that share letters begin alike, so that what is learned of one holds for its neighbours at once.

    Args:
        spelling: codes of the bases of each token, with AMBIGUOUS behind the last one.
        size: columns, H.
        scale: standard deviation of the values.
    """
    number, width = spelling.shape
    letters = jax.random.normal(rngs.params(), (width, 4, size))
    # Centred, so that no direction is common to all tokens; a fourth of the variance goes with it.
    letters = (letters - letters.mean(axis=1, keepdims=True)) * (_SPELT / (0.75 * width)) ** 0.5
    if (spelling == AMBIGUOUS).any():
        letters = jnp.pad(letters, ((0, 0), (0, 1), (0, 0)))  # nothing behind the end of a shorter token
    spelt = sum(letters[place, spelling[:, place]] for place in range(width))
    return scale * (spelt + (1 - _SPELT) ** 0.5 * jax.random.normal(rngs.params(), (number, size)))


def sinusoids(positions: int, size: int, scale: float) -> Float[Array, "P H"]:
    """Sines and cosines of geometric wavelengths (Vaswani et al. 2017, section 3.5), from 2 pi to 2 pi x positions.

    Args:
        size: columns, H; the first half are sines.
        scale: standard deviation of the values.
    """
    wavelengths = positions ** (jnp.arange(0, size, 2) / size)
    angles = jnp.arange(positions)[:, None] / wavelengths
    return scale * 2**0.5 * jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)[:, :size]


_LOGISTIC_GELU = (1.5965385, 0.072822736, -5.3471714e-4)
_LARGEST_SQUARE = 49.0


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Exact (erf) GELU in float32; for 16-bit inputs x s(p(x)), s being the logistic function and p odd of degree 5.

    The three coefficients minimise the largest error over all x: 7.8e-5, a sixth of the tanh formula's and less than
    half a bfloat16 step of any value above 0.04. An exact erf is bound by the vector unit of a TPU.
    """
    return jax.nn.gelu(x, approximate=False) if x.dtype == jnp.float32 else _narrow_gelu(x)


@jax.custom_vjp
def _narrow_gelu(x: Array) -> Array:
    return _logistic_gelu(x.astype(jnp.float32)).astype(x.dtype)


def _logistic_gelu(x: Array) -> Array:
    first, third, fifth = _LOGISTIC_GELU
    # Beyond |x| = 7 the result is x or 0 to the last digit; the fifth power must not turn the curve around there.
    square = jnp.minimum(jnp.square(x), _LARGEST_SQUARE)
    return x * jax.nn.sigmoid(x * (first + square * (third + square * fifth)))


def _narrow_gelu_backward(x: Array, gradient: Array) -> tuple[Array]:
    # Anew from the 16-bit input: automatic differentiation would keep several float32 arrays of its size.
    _, pull_back = jax.vjp(_logistic_gelu, x.astype(jnp.float32))
    return (pull_back(gradient.astype(jnp.float32))[0].astype(x.dtype),)


_narrow_gelu.defvjp(lambda x: (_narrow_gelu(x), x), _narrow_gelu_backward)
