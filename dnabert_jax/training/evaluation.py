"""Held-out evaluation: loss and accuracy of a masked k-mer, and accuracy of a hidden base.

A lone span of k masked k-mers hides one base only, as its neighbours show the others; so the figures per k-mer
flatter. A base is hidden if no k-mer that covers it is shown as it is. Its prediction is the base with the highest
mean probability over the masked k-mers that cover it, each k-mer distribution being summed to bases.

B batch, L tokens, M masked positions, V padded vocabulary, D base slots of a row, K = k.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, UInt16

from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.pipeline import shuffled_rows
from dnabert_jax.data.rows import Rows
from dnabert_jax.model.segments import read_segments
from dnabert_jax.parallel.placement import RowPlacement
from dnabert_jax.parallel.rules import ROWS, replicated
from dnabert_jax.sequence.bases import BASES
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL, PAD
from dnabert_jax.training.execution import Gathering, choose_execution, on_own_rows
from dnabert_jax.training.masking import MaskedRows, mask_rows
from dnabert_jax.training.objectives import TokenSums, masked_token_sums
from dnabert_jax.training.state import Network, Parameters

_ROWS_AT_ONCE = 4096


class EvaluationSums(NamedTuple):
    """What adds up over batches."""

    tokens: TokenSums
    hidden_correct: Float[Array, ""]
    hidden_bases: Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Held-out figures.

    Attributes:
        loss: mean cross-entropy of a masked k-mer, nats.
        accuracy: share of masked k-mers predicted exactly.
        hidden_base_accuracy: share of hidden bases predicted.
    """

    loss: float
    accuracy: float
    hidden_base_accuracy: float
    masked_kmers: int
    hidden_bases: int


Predictor = Callable[[Any, MaskedRows], Float[Array, "B M V"]]
"""Parameters and masked rows to logits: a model, or a table to compare it with."""


def network_predictor(config: PretrainConfig, network: Network, mesh: Mesh) -> Predictor:
    """Returns what computes masked-LM logits at the masked positions, from parameters as training stores them."""
    shardings = network.shardings(mesh)
    gathering = Gathering(config, shardings)
    execution = choose_execution(config, gathering, mesh, training=False)

    def own_logits(parameters: Parameters, input_ids: Array, predict_at: Array) -> Array:
        return network.bind(gathering(parameters))(input_ids, predict_at, execution=execution)

    logits = on_own_rows(own_logits, mesh, shardings, (ROWS, ROWS), ROWS)
    return lambda parameters, masked: logits(parameters, masked.input_ids, masked.predict_at)


def evaluation_rows(files: Rows, number: int, placement: RowPlacement) -> list[UInt16[np.ndarray, "R L"]]:
    """Returns the first rows, at most `number`, of a fixed shuffle of a split: this process's part of each batch.

    Rows of padding fill up the last batch. All rows are in memory, as they are few.
    """
    order = shuffled_rows(np.arange(min(number, len(files))), len(files), seed=0)
    batches = []
    for first in range(0, len(order), placement.global_batch):
        numbers = first + placement.rows
        rows = np.full((len(numbers), files.manifest.row_length), PAD, np.uint16)
        inside = numbers < len(order)
        rows[inside] = files.read(order[numbers[inside]])
        batches.append(rows)
    return batches


def compile_evaluation(
    config: PretrainConfig,
    batches: Sequence[UInt16[np.ndarray, "R L"]],
    placement: RowPlacement,
    mesh: Mesh,
    predict: Predictor,
) -> Callable[[Any], Evaluation]:
    """Returns a function of the predictor's parameters that evaluates it.

    The same rows have the same masks, whatever the run, its batch and its mesh.
    """

    def batch_sums(parameters: Any, rows: UInt16[Array, "B L"], first: Int[Array, ""]) -> EvaluationSums:
        input_ids = rows.astype(jnp.int32)
        masked = _mask_by_row(input_ids, first, config)
        logits = predict(parameters, masked)
        tokens = masked_token_sums(logits, masked.labels, masked.weights)
        return EvaluationSums(tokens, *hidden_base_sums(logits, masked, input_ids, config.model.k))

    jitted = jax.jit(batch_sums, out_shardings=replicated(mesh))

    def evaluate(parameters: Any) -> Evaluation:
        totals = np.zeros(5)
        for batch, rows in enumerate(batches):
            first = jax.device_put(np.int32(batch * placement.global_batch), replicated(mesh))
            sums = jax.device_get(jitted(parameters, placement.on_mesh(rows), first))
            totals += np.array([*sums.tokens, *sums[1:]])
        loss, correct, tokens, hidden_correct, hidden = totals.tolist()
        return Evaluation(
            loss=loss / max(tokens, 1),
            accuracy=correct / max(tokens, 1),
            hidden_base_accuracy=hidden_correct / max(hidden, 1),
            masked_kmers=int(tokens),
            hidden_bases=int(hidden),
        )

    return evaluate


def _mask_by_row(input_ids: Int[Array, "B L"], first: Int[Array, ""], config: PretrainConfig) -> MaskedRows:
    """Masks each row by a key of its number alone: rows first .. first + B - 1 of the evaluation."""
    keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.key(0), number))(first + jnp.arange(len(input_ids)))
    masked = jax.vmap(lambda row, key: mask_rows(row[None], key, config.masking.rate, config.model, config.masking))(
        input_ids, keys
    )
    per_row = jax.tree.map(lambda field: field[:, 0], masked._replace(overflow=masked.overflow[:, None]))
    return per_row._replace(overflow=per_row.overflow.sum())


def base_digits(k: int) -> Int[np.ndarray, "kmers K"]:
    """The base codes of every k-mer, in id order."""
    return np.arange(4**k)[:, None] // 4 ** np.arange(k - 1, -1, -1) % 4


def hidden_base_sums(
    logits: Float[Array, "B M V"], masked: MaskedRows, input_ids: Int[Array, "B L"], k: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Correctly predicted hidden bases, and hidden bases."""
    batch, length = input_ids.shape
    # The bases of a row, each sequence's after those of the one before it: k-mer i of the row begins at slot
    # i + (k - 1) x (sequences before its own), so that the last bases of a sequence have slots of their own.
    first = jnp.arange(length) + (read_segments(input_ids).ids - 1) * (k - 1)
    slots = first[:, :, None] + jnp.arange(k)
    num_slots = length + k * (length // 3)
    rows = jnp.arange(batch)[:, None, None]

    spells_bases = input_ids >= NUM_SPECIAL
    digits = jnp.asarray(base_digits(k))
    shown = spells_bases & (masked.input_ids == input_ids)
    exists, is_shown = (_spread(flag, rows, slots, num_slots) for flag in (spells_bases, shown))
    own_digits = digits[jnp.where(spells_bases, input_ids - NUM_SPECIAL, 0)] * spells_bases[:, :, None]
    truth = jnp.zeros((batch, num_slots), jnp.int32).at[rows, slots].max(own_digits, mode="drop")

    probabilities = jax.nn.softmax(logits)[:, :, NUM_SPECIAL : NUM_SPECIAL + 4**k]
    by_base = jnp.einsum("BMI,IKC->BMKC", probabilities, jax.nn.one_hot(digits, len(BASES)))
    by_base *= masked.weights[:, :, None, None]
    voted = jnp.take_along_axis(slots, masked.predict_at[:, :, None], axis=1)
    votes = jnp.zeros((batch, num_slots, len(BASES))).at[rows, voted].add(by_base, mode="drop")
    hidden = exists & ~is_shown
    return ((votes.argmax(axis=-1) == truth) & hidden).sum(dtype=float), hidden.sum(dtype=float)


def _spread(
    flag: Bool[Array, "B L"], rows: Int[Array, "B 1 1"], slots: Int[Array, "B L K"], num_slots: int
) -> Bool[Array, "B D"]:
    """Whether any k-mer over a base slot has the flag."""
    return jnp.zeros((flag.shape[0], num_slots), bool).at[rows, slots].max(flag[:, :, None], mode="drop")


def kmer_frequencies(files: Rows) -> Int[np.ndarray, " V"]:
    """Counts of every id of the vocabulary over all rows of a split."""
    counts = np.zeros(KmerTokenizer(files.manifest.k).vocabulary_size, np.int64)
    for first in range(0, len(files), _ROWS_AT_ONCE):
        rows = files.read(np.arange(first, min(first + _ROWS_AT_ONCE, len(files))))
        counts += np.bincount(rows.reshape(-1), minlength=len(counts))
    return counts


def frequency_table_logits(counts: Int[np.ndarray, " V"], padded_size: int) -> Float[np.ndarray, " P"]:
    """Log frequencies, with one added to each k-mer's count: the best prediction that ignores all context."""
    logits = np.full(padded_size, -np.inf, np.float32)
    smoothed = counts[NUM_SPECIAL:] + 1
    logits[NUM_SPECIAL : len(counts)] = np.log(smoothed / smoothed.sum())
    return logits
