"""The network below its heads, and with the head that predicts tokens: a transformer (Devlin et al. 2019), put together
from the mechanisms that `ModelConfig` names.

The layers are stacked along a leading axis `layer` and scanned, or unrolled where that is faster.
B batch, L tokens, H hidden, N heads, M masked positions, V padded vocabulary.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from dnabert_jax.config import ModelConfig
from dnabert_jax.model.attention import Attend, SelfAttention, xla_attention
from dnabert_jax.model.dropout import RowKeys, dropout, fold_in
from dnabert_jax.model.heads import MaskedLMHead
from dnabert_jax.model.layers import Dense, Embedding, LayerNorm, gelu, sinusoids, spelt_tokens
from dnabert_jax.model.segments import Segments, read_segments, segment_sums
from dnabert_jax.sequence.vocabulary import MASK, NUM_SPECIAL, PAD

_TOKEN_TYPES = 2
"""BERT's segments A and B: there is one sequence here, always of type 0; the table is kept for published weights."""

_EMBEDDING, _AFTER_ATTENTION, _AFTER_FEED_FORWARD, _PROBABILITIES = range(4)
"""Where dropout acts: each place has keys of its own in each layer."""


@dataclasses.dataclass(frozen=True)
class Execution:
    """How the network is computed; what it computes does not depend on it, but for rounding.

    Attributes:
        attend: the kernel of attention.
        remat: what of a layer is computed again in the backward pass: nothing, all but the outputs of matrix products
            with parameters, or all.
        unroll: layers unrolled in the scan over them; with as many as there are, there is no scan.
        place: gathers the parameters of a layer, just before it is computed, where they lie in parts.
    """

    attend: Attend = xla_attention
    remat: Literal["none", "dots", "full"] = "none"
    unroll: int = 1
    place: Callable[[Any], Any] = lambda layer: layer


PLAIN = Execution()
"""On any device, for inference."""


class Embeddings(nnx.Module):
    """The sum of the vectors of a token, its position and its type, of which a network need not have the last two."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        size, scale = config.hidden_size, config.initializer_range
        self.token = Embedding(
            config.padded_vocabulary_size, size, scale, "vocabulary", used=config.vocabulary_size, rngs=rngs
        )
        learned, post = config.positions == "learned", config.norm == "post"
        self.position = Embedding(config.max_positions, size, scale, "position", rngs=rngs) if learned else None
        if config.initializer == "mimetic":
            if self.position is not None:
                # Twice the spread of the tokens, so that where a token stands weighs more at first than what it is.
                # [CLS], the first of all, stands nowhere: it sees the whole sequence, or a classifier would see its
                # start alone.
                self.position.table[1:] = sinusoids(config.max_positions, size, 2 * scale)[1:]
            spelling = config.tokenizer.spelling[NUM_SPECIAL:]
            self.token.table[NUM_SPECIAL : config.vocabulary_size] = spelt_tokens(spelling, size, scale, rngs=rngs)
        types = config.token_types
        self.token_type = Embedding(_TOKEN_TYPES, size, scale, "token_type", rngs=rngs) if types else None
        self.norm = LayerNorm(size, config.layer_norm_epsilon) if post else None
        self.dropout_rate, self.token_dropout = config.dropout, config.token_dropout

    def __call__(self, input_ids: Int[Array, "B L"], segments: Segments, keys: RowKeys | None) -> Float[Array, "B L H"]:
        return self.of_vectors(self.vectors(input_ids), input_ids, segments, keys)

    def vectors(self, input_ids: Int[Array, "B L"]) -> Float[Array, "B L H"]:
        """Returns the vector of each token."""
        vectors = self.token.table[...][input_ids]
        return jnp.where((input_ids == MASK)[..., None], 0, vectors) if self.token_dropout else vectors

    def of_vectors(
        self, tokens: Float[Array, "B L H"], input_ids: Int[Array, "B L"], segments: Segments, keys: RowKeys | None
    ) -> Float[Array, "B L H"]:
        """The same from other vectors of tokens than those of the ids, which say which of them are [MASK]."""
        x = tokens
        if self.token_dropout:
            masked, counted = (segment_sums(flags, segments) for flags in (input_ids == MASK, input_ids != PAD))
            x *= ((1 - self.token_dropout) / (1 - masked / jnp.maximum(counted, 1)))[..., None]
        if self.position is not None:
            x += self.position.table[...][segments.positions]
        if self.token_type is not None:
            x += self.token_type.table[0]
        if self.norm is not None:
            x = self.norm(x)
        return dropout(x, self.dropout_rate, keys and fold_in(keys, _EMBEDDING))


class Layer(nnx.Module):
    """Attention and feed-forward, each with dropout, the residual sum, and LayerNorm after it or before."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        embed, mlp = ("embed", config.hidden_size), ("mlp", config.intermediate_size)
        self.attention = SelfAttention(config, rngs=rngs)
        self.attention_norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        scale, gated = config.initializer_range, config.feed_forward == "swiglu"
        self.gate = Dense(embed, mlp, scale, bias=False, rngs=rngs) if gated else None
        self.intermediate = Dense(embed, mlp, scale, bias=not gated, rngs=rngs)
        self.output = Dense(mlp, embed, scale, bias=not gated, rngs=rngs)
        self.output_norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.dropout_rate, self.norm_first = config.dropout, config.norm == "pre"

    def __call__(
        self, x: Float[Array, "B L H"], segments: Segments, attend: Attend, keys: RowKeys | None
    ) -> Float[Array, "B L H"]:
        attended = self.attention(self.attended(x), segments, attend, keys and fold_in(keys, _PROBABILITIES))
        return self._feed_forward(x, attended, keys)

    def attended(self, x: Float[Array, "B L H"]) -> Float[Array, "B L H"]:
        """Returns what attention takes of the hidden states that the layer takes."""
        return self.attention_norm(x) if self.norm_first else x

    def of_first(self, x: Float[Array, "B L H"], segments: Segments) -> Float[Array, "B 1 H"]:
        """What a call gives the first token, in inference; the others are computed no further than keys and values."""
        return self._feed_forward(x[:, :1], self.attention.of_first(self.attended(x), segments), None)

    def _feed_forward(
        self, x: Float[Array, "B L H"], attended: Float[Array, "B L H"], keys: RowKeys | None
    ) -> Float[Array, "B L H"]:
        x += dropout(attended, self.dropout_rate, keys and fold_in(keys, _AFTER_ATTENTION))
        if not self.norm_first:
            x = self.attention_norm(x)
        fed_forward = self.output(self._activated(self.output_norm(x) if self.norm_first else x))
        x += dropout(fed_forward, self.dropout_rate, keys and fold_in(keys, _AFTER_FEED_FORWARD))
        return x if self.norm_first else self.output_norm(x)

    def _activated(self, x: Float[Array, "B L H"]) -> Float[Array, "B L mlp"]:
        if self.gate is None:
            return gelu(self.intermediate(x))
        return jax.nn.silu(self.gate(x)) * self.intermediate(x)


class Backbone(nnx.Module):
    """The encoder: ids to one vector a token."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = Embeddings(config, rngs=rngs)

        @nnx.split_rngs(splits=config.num_layers)
        @nnx.vmap
        def stacked_layers(rngs: nnx.Rngs) -> Layer:
            return Layer(config, rngs=rngs)

        self.layers = stacked_layers(rngs)
        self.norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon) if config.norm == "pre" else None
        for _, parameter in nnx.iter_graph(self.layers):
            if isinstance(parameter, nnx.Param):
                parameter.set_metadata(axes=("layer", *parameter.axes))

    def __call__(
        self,
        input_ids: Int[Array, "B L"],
        segments: Segments,
        keys: RowKeys | None = None,
        execution: Execution = Execution(),
    ) -> Float[Array, "B L H"]:
        """Last hidden states.

        Args:
            input_ids: tokens.
            segments: which tokens see each other, and their positions (below config.max_positions).
            keys: of each row, for dropout in training; none for inference.
            execution: how to compute it.
        """
        x = self.embeddings(input_ids, segments, keys).astype(self.config.compute_dtype)

        def one_layer(x: Array, layer_and_number: tuple[Layer, Array]) -> tuple[Array, None]:
            layer, number = layer_and_number
            # Layers count from 1: 0 is the embeddings.
            own_keys = keys and fold_in(keys, number + 1)
            return execution.place(layer)(x, segments, execution.attend, own_keys), None

        count = self.config.num_layers
        scanned = execution.unroll < count
        if execution.remat != "none":
            policies = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}
            # Without a scan, XLA would find that what is computed again was computed before, and keep it.
            one_layer = jax.checkpoint(one_layer, policy=policies[execution.remat], prevent_cse=not scanned)
        if scanned:
            x, _ = jax.lax.scan(one_layer, x, (self.layers, jnp.arange(count)), unroll=execution.unroll)
        else:
            # Not an unrolled scan, which stacks what the backward pass needs: copies that cost as much as the products.
            for number, layer in enumerate(_unstack(self.layers, count)):
                x, _ = one_layer(x, (layer, jnp.int32(number)))
        return x if self.norm is None else self.norm(x)


def _unstack(layers: Layer, count: int) -> list[Layer]:
    """The layers one by one. Split in one operation, so that their gradients are put together in one."""
    leaves, structure = jax.tree.flatten(layers)
    parts = [[part[0] for part in jax.lax.split(leaf, [1] * count)] for leaf in leaves]
    return [jax.tree.unflatten(structure, layer) for layer in zip(*parts, strict=True)]


class LanguageModel(nnx.Module):
    """The encoder with the head that predicts tokens."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.backbone = Backbone(config, rngs=rngs)
        self.head = MaskedLMHead(config, rngs=rngs)

    def __call__(
        self,
        input_ids: Int[Array, "B L"],
        predict_at: Int[Array, "B M"] | None = None,
        keys: RowKeys | None = None,
        execution: Execution = Execution(),
    ) -> Float[Array, "B M V"]:
        """Logits, in float32, of packed rows.

        Args:
            input_ids: packed rows; a sequence alone in a row is the simplest of them.
            predict_at: positions whose token is predicted; all of them if none are given (M = L).
            keys: of each row, for dropout in training; none for inference.
            execution: how to compute it.
        """
        x = self.backbone(input_ids, read_segments(input_ids), keys, execution)
        if predict_at is not None:
            # A product with zeros and ones is exact; the gradient of a gather is a scatter, row by row on a TPU.
            chosen = jax.nn.one_hot(predict_at, x.shape[1], dtype=x.dtype)
            x = jnp.einsum("BML,BLH->BMH", chosen, x)
        return self.head(x, self.backbone.embeddings.token.table[...])
