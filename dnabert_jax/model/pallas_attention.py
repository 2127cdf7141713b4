"""Self-attention inside segments as a TPU kernel, with dropout on the probabilities, forward and backward.

Written because the scores of whole rows cost more in HBM traffic than their matrix products (docs/tuning.md), and
because JAX's splash attention drops nothing out. A grid step handles a block of the queries of one row, with all of
the row's keys, and as many heads as fill the 128 lanes of a register. Scores are transposed, keys by queries, so that
the softmax runs over sublanes, which is cheap, and its statistics are compact. Heads that share lanes are told apart
by zeroing the other's half of one operand: the matrix unit is 128 deep anyway. The masks are those of
`dnabert_jax.model.dropout`, so this kernel equals `dnabert_jax.model.attention.xla_attention` but for rounding; tests
hold it in interpret mode.

B rows, L tokens, N heads, K head size, J = N x K, G heads that share lanes, T tiles of lanes (T = N / G), Q queries
in a block.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from dnabert_jax.errors import InputError
from dnabert_jax.model.attention import Heads
from dnabert_jax.model.dropout import counter, hashed, kept

Ref = Any
"""A block of an array in a core's memory; Pallas gives it no public type."""

LANES = 128
_MOST_SCORES = 2**20
"""Scores of a block of queries that still fit into a core's vector memory, three times in float32."""
_LONGEST_ROW = _MOST_SCORES // LANES
_VECTOR_MEMORY_BYTES = 64 * 2**20


def supports(length: int, num_heads: int, head_size: int) -> bool:
    """Whether the kernel takes rows of this length and heads of this size, `num_heads` of them on a device."""
    fills_lanes = LANES % head_size == 0 and num_heads % (LANES // head_size) == 0
    return length % LANES == 0 and length <= _LONGEST_ROW and fills_lanes


@dataclasses.dataclass(frozen=True)
class _Shape:
    batch: int
    length: int
    heads: int
    head_size: int
    rate: float
    block: int
    interpret: bool

    @property
    def group(self) -> int:
        return LANES // self.head_size

    @property
    def tiles(self) -> int:
        return self.heads // self.group

    def cost(self, products: int, arrays: int) -> pl.CostEstimate:
        """Of a pass with so many L x L x 128 products a head, FLOPs as the matrix unit executes them, and so many
        arrays of 16-bit activations that are read or written."""
        scores = self.batch * self.heads * self.length**2
        size = self.batch * self.length * self.heads * self.head_size * 2
        return pl.CostEstimate(
            flops=2 * products * scores * LANES, transcendentals=scores, bytes_accessed=arrays * size
        )


def pallas_attention(heads: Heads, interpret: bool = False, block: int | None = None) -> Float[Array, "B L J"]:
    """Returns the attention of all heads of the rows that one device holds.

    Args:
        heads: queries, keys, values and what is dropped out of the probabilities.
        interpret: run without a TPU, slowly.
        block: queries of a grid step, a multiple of 128 that divides L; as many as fit if not given.

    Raises:
        InputError: rows or heads of this size do not fit registers.
    """
    batch, length, width = heads.query.shape
    number = width // heads.size
    if not supports(length, number, heads.size):
        raise InputError(
            f"Pallas attention takes no rows of {length} tokens with {number} heads of {heads.size} a device: choose "
            "--execution.attention auto."
        )
    if block is None:
        block = max(
            size for size in range(LANES, length + 1, LANES) if not length % size and size * length <= _MOST_SCORES
        )
    keys = heads.keys
    shape = _Shape(batch, length, number, heads.size, 0.0 if keys is None else heads.rate, block, interpret)
    words = jnp.zeros((batch, 2 * number), jnp.int32) if keys is None else jnp.concatenate(keys, axis=1)
    return _attention(shape, *heads[:3], heads.segment_ids.astype(jnp.int32), words)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(shape: _Shape, query: Array, key: Array, value: Array, segments: Array, words: Array) -> Array:
    return _forward(shape, query, key, value, segments, words)[0]


def _forward(
    shape: _Shape, query: Array, key: Array, value: Array, segments: Array, words: Array
) -> tuple[Array, tuple[Array, ...]]:
    statistics = jax.ShapeDtypeStruct((shape.batch, shape.tiles, shape.group, shape.length), jnp.float32)
    out, log_sums = pl.pallas_call(
        functools.partial(_forward_kernel, shape),
        grid_spec=_grid(shape, inputs="qkk", outputs="qs"),
        out_shape=(jax.ShapeDtypeStruct(query.shape, query.dtype), statistics),
        compiler_params=_compiler_parameters(),
        cost_estimate=shape.cost(products=2, arrays=4),
        interpret=shape.interpret,
        name="attention_forward",
    )(words, segments[:, None, :], segments[:, :, None], query, key, value)
    return out, (query, key, value, segments, words, log_sums)


def _backward(shape: _Shape, saved: tuple[Array, ...], gradient: Array) -> tuple[Array | None, ...]:
    query, key, value, segments, words, log_sums = saved
    like = jax.ShapeDtypeStruct(query.shape, query.dtype)
    gradients = pl.pallas_call(
        functools.partial(_backward_kernel, shape),
        grid_spec=_grid(shape, inputs="qkkqs", outputs="qkk", sums=2),
        out_shape=(like, like, like),
        compiler_params=_compiler_parameters(),
        cost_estimate=shape.cost(products=5, arrays=7),
        interpret=shape.interpret,
        name="attention_backward",
    )(words, segments[:, None, :], segments[:, :, None], query, key, value, gradient, log_sums)
    return (*gradients, None, None)


_attention.defvjp(_forward, _backward)


def _grid(shape: _Shape, inputs: str, outputs: str, sums: int = 0) -> pltpu.PrefetchScalarGridSpec:
    """One step for each row, tile of 128 lanes and block of queries; the keys of dropout are read as scalars.

    Args:
        inputs: a letter for each array besides the segments: lanes of the block's queries (q) or of all keys (k), or
            statistics of the softmax (s).
        outputs: likewise.
        sums: how many arrays of [L, 128] gather what the blocks add up.
    """
    length, block = shape.length, shape.block
    specs = {
        "q": pl.BlockSpec((1, block, LANES), lambda row, tile, queries, _: (row, queries, tile)),
        "k": pl.BlockSpec((1, length, LANES), lambda row, tile, _queries, _: (row, 0, tile)),
        "s": pl.BlockSpec((1, 1, shape.group, block), lambda row, tile, queries, _: (row, tile, 0, queries)),
    }
    segments_of_queries = pl.BlockSpec((1, 1, block), lambda row, _tile, queries, _: (row, 0, queries))
    segments_of_keys = pl.BlockSpec((1, length, 1), lambda row, _tile, _queries, _: (row, 0, 0))
    return pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=1,
        grid=(shape.batch, shape.tiles, length // block),
        in_specs=[segments_of_queries, segments_of_keys] + [specs[letter] for letter in inputs],
        out_specs=[specs[letter] for letter in outputs],
        scratch_shapes=[pltpu.VMEM((length, LANES), jnp.float32)] * sums,
    )


def _compiler_parameters() -> pltpu.CompilerParams:
    return pltpu.CompilerParams(
        dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=_VECTOR_MEMORY_BYTES
    )


def _own_lanes(x: Array, head: int, head_size: int) -> Array:
    """x with the lanes of other heads zeroed."""
    if head_size == LANES:
        return x
    lane = jax.lax.broadcasted_iota(jnp.int32, x.shape, 1)
    return jnp.where((lane >= head * head_size) & (lane < (head + 1) * head_size), x, jnp.zeros_like(x))


def _product(left: Array, right: Array, left_axis: int, right_axis: int) -> Array:
    """A matrix product summed over the given axes, in float32."""
    return jax.lax.dot_general(
        left, right, (((left_axis,), (right_axis,)), ((), ())), preferred_element_type=jnp.float32
    )


def _scores(shape: _Shape, query: Array, key: Array, head: int) -> Array:
    """Scaled dot products, keys by queries."""
    scale = jnp.asarray(1 / math.sqrt(shape.head_size), query.dtype)
    return _product(key, _own_lanes(query, head, shape.head_size) * scale, 1, 1)


def _kept(shape: _Shape, words: Ref, head: int) -> Array:
    """Which probabilities are kept, keys by queries."""
    row, heads = pl.program_id(0), shape.heads
    number = pl.program_id(1) * shape.group + head
    key, query = (jax.lax.broadcasted_iota(jnp.int32, (shape.length, shape.block), axis) for axis in (0, 1))
    query += pl.program_id(2) * shape.block
    return kept(hashed(counter(query, key), words[row, number], words[row, heads + number]), shape.rate)


def _forward_kernel(
    shape: _Shape, words: Ref, of_queries: Ref, of_keys: Ref, query: Ref, key: Ref, value: Ref,
    out: Ref, log_sums: Ref,
) -> None:  # fmt: skip
    allowed = of_keys[0] == of_queries[0]
    q, k, v = query[0], key[0], value[0]
    total = jnp.zeros((LANES, shape.block), jnp.float32)
    for head in range(shape.group):
        scores = jnp.where(allowed, _scores(shape, q, k, head), jnp.finfo(jnp.float32).min)
        highest = scores.max(axis=0, keepdims=True)
        weights = jnp.exp(scores - highest)
        sums = weights.sum(axis=0, keepdims=True)
        log_sums[0, 0, head : head + 1, :] = highest + jnp.log(sums)
        if shape.rate:
            weights = jnp.where(_kept(shape, words, head), weights, 0.0)
        attended = _product(_own_lanes(v, head, shape.head_size), weights.astype(v.dtype), 0, 0)
        total += attended / (sums * (1 - shape.rate))
    out[0] = total.T.astype(out.dtype)


def _backward_kernel(
    shape: _Shape, words: Ref, of_queries: Ref, of_keys: Ref, query: Ref, key: Ref, value: Ref,
    gradient: Ref, log_sums: Ref, query_gradient: Ref, key_gradient: Ref, value_gradient: Ref, of_k: Ref, of_v: Ref,
) -> None:  # fmt: skip
    @pl.when(pl.program_id(2) == 0)
    def _first_queries() -> None:
        of_k[...] = jnp.zeros_like(of_k)
        of_v[...] = jnp.zeros_like(of_v)

    allowed = of_keys[0] == of_queries[0]
    q, k, v, g = query[0], key[0], value[0], gradient[0]
    scale = 1 / math.sqrt(shape.head_size)
    of_q = jnp.zeros(q.T.shape, jnp.float32)
    for head in range(shape.group):
        own = functools.partial(_own_lanes, head=head, head_size=shape.head_size)
        scores = jnp.where(allowed, _scores(shape, q, k, head), jnp.finfo(jnp.float32).min)
        probabilities = jnp.exp(scores - log_sums[0, 0, head : head + 1, :])
        of_kept = _product(v, own(g), 1, 1)
        dropped = probabilities
        if shape.rate:
            keep, kept_scale = _kept(shape, words, head), 1 / (1 - shape.rate)
            of_kept = jnp.where(keep, of_kept * kept_scale, 0.0)
            dropped = jnp.where(keep, probabilities * kept_scale, 0.0)
        of_v[...] += _product(dropped.astype(g.dtype), own(g), 1, 0)
        of_scores = probabilities * (of_kept - (probabilities * of_kept).sum(axis=0, keepdims=True))
        of_scores = of_scores.astype(q.dtype)
        of_k[...] += _product(of_scores, own(q), 1, 0) * scale
        of_q += _product(own(k), of_scores, 0, 0) * scale
    query_gradient[0] = of_q.T.astype(q.dtype)

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _last_queries() -> None:
        key_gradient[0] = of_k[...].astype(k.dtype)
        value_gradient[0] = of_v[...].astype(v.dtype)
