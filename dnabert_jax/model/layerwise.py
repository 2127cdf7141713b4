"""The encoder for inference, compiled a layer at a time.

All layers are the same program, so that a new shape costs the compilation of one layer, any layer's hidden states are
had by stopping there, and no parameter is copied out of a stack, which on a CPU takes a tenth of the time.
B batch, L tokens, H hidden.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from dnabert_jax.config import ModelConfig
from dnabert_jax.model.attention import xla_attention
from dnabert_jax.model.bert import Embeddings, Layer
from dnabert_jax.model.segments import read_segments
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP


class LayerwiseEncoder:
    """The encoder with its parameters on the first device, for one sequence a row.

    Args:
        config: of the network.
        parameters: of its part `bert`, layers stacked.
    """

    def __init__(self, config: ModelConfig, parameters: dict[str, Any]):
        self._config = config
        self._embeddings = jax.device_put(parameters["embeddings"])
        self._layers = [
            jax.device_put(jax.tree.map(lambda stack, number=number: stack[number], parameters["layers"]))
            for number in range(config.num_layers)
        ]

    def __call__(self, input_ids: Int[np.ndarray, "B L"], layers: int) -> Float[Array, "B L H"]:
        """Hidden states after so many layers; after none, those of the embeddings."""
        ids = jax.device_put(input_ids)
        x = _embed(self._config, self._embeddings, ids)
        for parameters in self._layers[:layers]:
            x = _apply_layer(self._config, parameters, x, ids)
        return x


# The structure is made anew for each shape, and only then: what is compiled is kept by the configuration.
@functools.partial(jax.jit, static_argnums=0)
def _embed(config: ModelConfig, parameters: Any, input_ids: Array) -> Array:
    embeddings = nnx.eval_shape(lambda: Embeddings(config, rngs=nnx.Rngs(0)))
    nnx.update(embeddings, parameters)
    return embeddings(input_ids, read_segments(input_ids).positions, None).astype(config.compute_dtype)


@functools.partial(jax.jit, static_argnums=0)
def _apply_layer(config: ModelConfig, parameters: Any, x: Array, input_ids: Array) -> Array:
    layer = nnx.eval_shape(lambda: Layer(config, rngs=nnx.Rngs(0)))
    nnx.update(layer, parameters)
    return layer(x, read_segments(input_ids).ids, xla_attention, None)


@jax.jit
def mean_of_kmers(hidden: Float[Array, "B L H"], input_ids: Int[Array, "B L"]) -> Float[Array, "B H"]:
    """The mean over a row's tokens but [CLS], [SEP] and padding, in float32; zero where there are none."""
    is_kmer = _is_kmer(input_ids)
    total = jnp.einsum("BLH,BL->BH", hidden.astype(jnp.float32), is_kmer.astype(jnp.float32))
    return total / jnp.maximum(is_kmer.sum(axis=1, keepdims=True), 1)


@functools.partial(jax.jit, static_argnums=2)
def mean_over_bases(
    hidden: Float[Array, "B L H"], input_ids: Int[Array, "B L"], k: int
) -> Float[Array, "B bases_and_more H"]:
    """For each base the mean over the k-mers that cover it, in float32.

    So the original makes scores of bases out of those of k-mers (get_real_score in examples/visualize.py of
    github.com/jerryji1993/DNABERT). Base number b of a row stands at b + 1, as its first k-mer does; what is no base is
    zero.
    """
    is_kmer = _is_kmer(input_ids)[..., None].astype(jnp.float32)

    def over_kmers(values: Array) -> Array:
        shifted = (jnp.pad(values, ((0, 0), (ahead, k - 1 - ahead), (0, 0))) for ahead in range(k))
        return functools.reduce(jnp.add, shifted)

    return over_kmers(hidden.astype(jnp.float32) * is_kmer) / jnp.maximum(over_kmers(is_kmer), 1)


def _is_kmer(input_ids: Array) -> Array:
    return (input_ids != PAD) & (input_ids != CLS) & (input_ids != SEP)
