"""The encoder for inference, compiled a layer at a time.

All layers are the same program, so that a new shape costs the compilation of one layer, any layer's hidden states are
had by stopping there, and no parameter is copied out of a stack, which on a CPU takes a tenth of the time. So are their
attention and, for the gradient by the vectors of tokens, their backward passes.
B batch, L tokens, H hidden, N heads.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dnabert_jax.config import ModelConfig
from dnabert_jax.model.attention import xla_attention
from dnabert_jax.model.backbone import Embeddings, Layer
from dnabert_jax.model.binding import bind
from dnabert_jax.model.heads import masked_mean
from dnabert_jax.model.layers import layer_norm
from dnabert_jax.model.segments import read_segments, spells_bases


class LayerwiseEncoder:
    """The encoder with its parameters on the first device, for one sequence a row."""

    def __init__(self, config: ModelConfig, parameters: dict[str, Any]):
        self._config = config
        self._embeddings = jax.device_put(parameters["embeddings"])
        self._layers = [
            jax.device_put(jax.tree.map(lambda stack, number=number: stack[number], parameters["layers"]))
            for number in range(config.num_layers)
        ]
        self._norm = jax.device_put(parameters.get("norm"))

    def __call__(self, input_ids: Int[np.ndarray, "B L"], layers: int) -> Float[Array, "B L H"]:
        """Hidden states after so many layers; after none, those of the embeddings."""
        ids = jax.device_put(input_ids)
        x = _embed(self._config, self._embeddings, ids)
        for parameters in self._layers[:layers]:
            x = _apply_layer(self._config, parameters, x, ids)
        return self._finished(x) if layers == len(self._layers) else x

    def _finished(self, x: Float[Array, "B L H"]) -> Float[Array, "B L H"]:
        """Returns the last hidden states of what the last layer gives."""
        return x if self._norm is None else _normalise(self._config.layer_norm_epsilon, self._norm, x)

    def last_of_cls(self, input_ids: Int[np.ndarray, "B L"]) -> Float[Array, "B 1 H"]:
        """The last hidden state of the first token: of the last layer no other is computed, a program of its own."""
        below = self(input_ids, len(self._layers) - 1)
        return self._finished(_apply_layer_to_cls(self._config, self._layers[-1], below, jax.device_put(input_ids)))

    def attention_of_cls(self, input_ids: Int[np.ndarray, "B L"], layer: int) -> Float[Array, "B N L"]:
        """What the first token gives to each in a layer, from 1 on: no matrix of L by L is made for it."""
        return _attention_of_cls(self._config, self._layers[layer - 1], self(input_ids, layer - 1), input_ids)

    def rollout_of_cls(self, input_ids: Int[np.ndarray, "B L"], layer: int) -> Float[Array, "B L"]:
        """Attention rollout from the first token of a layer, from 1 on, down to the tokens (Abnar and Zuidema 2020).

        Of each layer attention is averaged over heads, and half of what a token has comes from itself, by the residual
        sum; the layers' matrices are multiplied, of which one of L by L a row is kept.
        """
        ids = jax.device_put(input_ids)
        x = _embed(self._config, self._embeddings, ids)
        rolled = jnp.broadcast_to(jnp.eye(ids.shape[1], dtype=jnp.float32), (len(ids), *[ids.shape[1]] * 2))
        for number, parameters in enumerate(self._layers[:layer], 1):
            rolled = _roll_out(self._config, parameters, x, ids, rolled)
            if number < layer:
                x = _apply_layer(self._config, parameters, x, ids)
        return rolled[:, 0]

    def token_vectors(self, input_ids: Int[np.ndarray, "B L"]) -> Float[Array, "B L H"]:
        """The vector of each token, before its position is added."""
        return _token_vectors(self._config, self._embeddings, jax.device_put(input_ids))

    def states_of_vectors(
        self, vectors: Float[Array, "B L H"], input_ids: Int[np.ndarray, "B L"]
    ) -> list[Float[Array, "B L H"]]:
        """Hidden states after the embeddings and after each layer, from other vectors of tokens than those of the ids.

        Args:
            vectors: of tokens.
            input_ids: which of them are padding.
        """
        ids = jax.device_put(input_ids)
        states = [_embed_vectors(self._config, self._embeddings, ids, vectors)]
        for parameters in self._layers:
            states.append(_apply_layer(self._config, parameters, states[-1], ids))
        return states

    def last_of_vectors(
        self, vectors: Float[Array, "B L H"], input_ids: Int[np.ndarray, "B L"]
    ) -> Float[Array, "B L H"]:
        """Returns the last hidden states, of the same."""
        return self._finished(self.states_of_vectors(vectors, input_ids)[-1])

    def value_and_gradient(
        self,
        vectors: Float[Array, "B L H"],
        input_ids: Int[np.ndarray, "B L"],
        value: Callable[[Array], tuple[Array, Array]],
    ) -> tuple[Float[Array, " numbers"], Float[Array, "B L H"]]:
        """A number of each row, and its gradient by the vectors of the row's tokens.

        A layer is computed again before its backward pass, so that nothing is kept of it but what it took: the memory
        is that of one layer's backward pass, and programs are of a layer each.

        Args:
            vectors: of tokens, in place of those of the ids.
            input_ids: which of them are padding.
            value: the number of each row, and its gradient by the last hidden states, which it is given.
        """
        ids, inputs = jax.device_put(input_ids), self.states_of_vectors(vectors, input_ids)
        last = inputs.pop()
        values, gradient = value(self._finished(last))
        if self._norm is not None:
            gradient = _pull_through_norm(self._config.layer_norm_epsilon, self._norm, last, gradient)
        for parameters in reversed(self._layers):
            gradient = _pull_through_layer(self._config, parameters, inputs.pop(), ids, gradient)
        return values, _pull_through_embeddings(self._config, self._embeddings, ids, vectors, gradient)


# What is compiled is kept by the configuration.
@functools.partial(jax.jit, static_argnums=0)
def _embed(config: ModelConfig, parameters: Any, input_ids: Array) -> Array:
    embeddings = bind(Embeddings, parameters, config)
    return embeddings(input_ids, read_segments(input_ids), None).astype(config.compute_dtype)


@functools.partial(jax.jit, static_argnums=0)
def _token_vectors(config: ModelConfig, parameters: Any, input_ids: Array) -> Array:
    return bind(Embeddings, parameters, config).vectors(input_ids)


@functools.partial(jax.jit, static_argnums=0)
def _embed_vectors(config: ModelConfig, parameters: Any, input_ids: Array, vectors: Array) -> Array:
    embeddings = bind(Embeddings, parameters, config)
    segments = read_segments(input_ids)
    return embeddings.of_vectors(vectors, input_ids, segments, None).astype(config.compute_dtype)


@functools.partial(jax.jit, static_argnums=0)
def _apply_layer(config: ModelConfig, parameters: Any, x: Array, input_ids: Array) -> Array:
    return bind(Layer, parameters, config)(x, read_segments(input_ids), xla_attention, None)


@functools.partial(jax.jit, static_argnums=0)
def _normalise(epsilon: float, parameters: Any, x: Array) -> Array:
    return layer_norm(epsilon, x, parameters["scale"], parameters["bias"])


@functools.partial(jax.jit, static_argnums=0)
def _pull_through_norm(epsilon: float, parameters: Any, x: Array, gradient: Array) -> Array:
    return jax.vjp(lambda taken: _normalise(epsilon, parameters, taken), x)[1](gradient)[0]


@functools.partial(jax.jit, static_argnums=0)
def _apply_layer_to_cls(config: ModelConfig, parameters: Any, x: Array, input_ids: Array) -> Array:
    return bind(Layer, parameters, config).of_first(x, read_segments(input_ids))


@functools.partial(jax.jit, static_argnums=0)
def _pull_through_layer(config: ModelConfig, parameters: Any, x: Array, input_ids: Array, gradient: Array) -> Array:
    """The gradient by what a layer took, from that by what it gave."""
    return jax.vjp(lambda taken: _apply_layer(config, parameters, taken, input_ids), x)[1](gradient)[0]


@functools.partial(jax.jit, static_argnums=0)
def _pull_through_embeddings(
    config: ModelConfig, parameters: Any, input_ids: Array, vectors: Array, gradient: Array
) -> Array:
    return jax.vjp(lambda taken: _embed_vectors(config, parameters, input_ids, taken), vectors)[1](gradient)[0]


@functools.partial(jax.jit, static_argnums=0)
def _attention_of_cls(config: ModelConfig, parameters: Any, x: Array, input_ids: Array) -> Array:
    layer = bind(Layer, parameters, config)
    return layer.attention.probabilities(layer.attended(x), read_segments(input_ids), queries=1)[:, :, 0]


@functools.partial(jax.jit, static_argnums=0)
def _roll_out(config: ModelConfig, parameters: Any, x: Array, input_ids: Array, below: Array) -> Array:
    layer = bind(Layer, parameters, config)
    attention = layer.attention.probabilities(layer.attended(x), read_segments(input_ids)).mean(axis=1)
    return (below + jnp.einsum("BLS,BSK->BLK", attention, below)) / 2


@jax.jit
def mean_of_kmers(hidden: Float[Array, "B L H"], input_ids: Int[Array, "B L"]) -> Float[Array, "B H"]:
    """The mean over a row's tokens but [CLS], [SEP] and padding, in float32; zero where there are none."""
    return masked_mean(hidden.astype(jnp.float32), spells_bases(input_ids))
