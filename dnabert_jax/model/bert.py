"""BERT as DNABERT uses it: post-LayerNorm encoder, exact (erf) GELU, learned positions, masked-LM head with the tied
embedding (Devlin et al. 2019; Ji et al. 2021).

The layers are stacked along a leading axis `layer` and scanned, so that compile time does not grow with depth.
B batch, L tokens, H hidden, M masked positions, V padded vocabulary.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dnabert_jax.config import ModelConfig
from dnabert_jax.model.attention import SelfAttention
from dnabert_jax.model.heads import MaskedLMHead
from dnabert_jax.model.layers import Dense, Embedding, LayerNorm, dropout, sinusoids
from dnabert_jax.model.segments import Segments, attention_mask, read_segments

_TOKEN_TYPES = 2
"""BERT's segment A and B: DNABERT has one sequence, always type 0; the table is kept for its checkpoints."""


class Embeddings(nnx.Module):
    """Token, position and type vectors, summed and normalised."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        size, scale = config.hidden_size, config.initializer_range
        self.token = Embedding(
            config.padded_vocabulary_size, size, scale, "vocabulary", used=config.vocabulary_size, rngs=rngs
        )
        self.position = Embedding(config.max_positions, size, scale, "position", rngs=rngs)
        if config.initializer == "mimetic":
            # Twice the spread of the tokens, so that where a k-mer stands weighs more at first than what it is.
            self.position.table[...] = sinusoids(config.max_positions, size, 2 * scale)
        self.token_type = Embedding(_TOKEN_TYPES, size, scale, "token_type", rngs=rngs)
        self.norm = LayerNorm(size, config.layer_norm_epsilon)
        self.dropout_rate = config.dropout

    def __call__(
        self, input_ids: Int[Array, "B L"], positions: Int[Array, "B L"], dropout_key: PRNGKeyArray | None
    ) -> Float[Array, "B L H"]:
        x = self.token.table[...][input_ids] + self.position.table[...][positions] + self.token_type.table[0]
        return dropout(self.norm(x), self.dropout_rate, dropout_key)


class Layer(nnx.Module):
    """Attention and feed-forward, each followed by dropout, the residual sum and LayerNorm."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        embed, mlp = {"embed": config.hidden_size}, {"mlp": config.intermediate_size}
        self.attention = SelfAttention(config, rngs=rngs)
        self.attention_norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.intermediate = Dense(embed, mlp, config.initializer_range, rngs=rngs)
        self.output = Dense(mlp, embed, config.initializer_range, rngs=rngs)
        self.output_norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.dropout_rate = config.dropout

    def __call__(
        self, x: Float[Array, "B L H"], mask: Bool[Array, "B 1 L L"], dropout_key: PRNGKeyArray | None
    ) -> Float[Array, "B L H"]:
        keys = (None, None, None) if dropout_key is None else tuple(jax.random.split(dropout_key, 3))
        attended = dropout(self.attention(x, mask, keys[0]), self.dropout_rate, keys[1])
        x = self.attention_norm(x + attended)
        fed_forward = self.output(jax.nn.gelu(self.intermediate(x), approximate=False))
        return self.output_norm(x + dropout(fed_forward, self.dropout_rate, keys[2]))


class Bert(nnx.Module):
    """The encoder: ids to one vector a token."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = Embeddings(config, rngs=rngs)

        @nnx.split_rngs(splits=config.num_layers)
        @nnx.vmap
        def stacked_layers(rngs: nnx.Rngs) -> Layer:
            return Layer(config, rngs=rngs)

        self.layers = stacked_layers(rngs)
        for _, parameter in nnx.iter_graph(self.layers):
            if isinstance(parameter, nnx.Param):
                parameter.set_metadata(axes=("layer", *parameter.axes))

    def __call__(
        self, input_ids: Int[Array, "B L"], segments: Segments, dropout_key: PRNGKeyArray | None = None
    ) -> Float[Array, "B L H"]:
        """Last hidden states.

        Args:
            input_ids: tokens.
            segments: which tokens see each other, and their positions (below config.max_positions).
            dropout_key: for training; none for inference.
        """
        embedding_key, layer_keys = None, None
        if dropout_key is not None:
            embedding_key, layers_key = jax.random.split(dropout_key)
            layer_keys = jax.random.split(layers_key, self.config.num_layers)
        mask = attention_mask(segments.ids)
        x = self.embeddings(input_ids, segments.positions, embedding_key).astype(self.config.compute_dtype)

        def one_layer(x: Array, layer_and_key: tuple[Layer, PRNGKeyArray | None]) -> tuple[Array, None]:
            layer, key = layer_and_key
            return layer(x, mask, key), None

        x, _ = jax.lax.scan(one_layer, x, (self.layers, layer_keys), unroll=self.config.scan_unroll)
        return x


class BertForMaskedLM(nnx.Module):
    """The encoder with the head that predicts k-mers."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.bert = Bert(config, rngs=rngs)
        self.head = MaskedLMHead(config, rngs=rngs)

    def __call__(
        self,
        input_ids: Int[Array, "B L"],
        predict_at: Int[Array, "B M"] | None = None,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Float[Array, "B M V"]:
        """Logits, in float32, of packed rows.

        Args:
            input_ids: packed rows; a sequence alone in a row is the simplest of them.
            predict_at: positions whose k-mer is predicted; all of them if none are given (M = L).
            dropout_key: for training; none for inference.
        """
        x = self.bert(input_ids, read_segments(input_ids), dropout_key)
        if predict_at is not None:
            x = jnp.take_along_axis(x, predict_at[:, :, None], axis=1)
        return self.head(x, self.bert.embeddings.token.table[...])
