"""Held-out evaluation: loss and accuracy of a masked token, and accuracy of a hidden base.

With k-mers, a lone span of k masked ones hides one base only, as its neighbours show the others; so figures per token
flatter. A base is hidden if no token that covers it is shown as it is. Its prediction is the base with the highest
mean probability over the masked tokens that cover it, each token distribution being summed to bases.

B batch, L tokens, M masked positions, V padded vocabulary, D base slots of a row, K bases of the longest token.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, UInt16

from dnabert_jax.config import ExecutionConfig, ModelConfig
from dnabert_jax.data.pipeline import shuffled_rows
from dnabert_jax.data.rows import Rows
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import bind
from dnabert_jax.parallel.mesh import ROWS, RowPlacement, replicated
from dnabert_jax.sequence.bases import AMBIGUOUS, BASES
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP
from dnabert_jax.training.execution import Gathering, choose_execution, on_own_rows
from dnabert_jax.training.masking import MaskedRows, MaskedTokens, TokenSums, masked_token_sums
from dnabert_jax.training.state import Parameters, masked_lm_shardings

_ROWS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Held-out figures.

    Attributes:
        loss: mean cross-entropy of a masked token, nats.
        accuracy: share of masked tokens predicted exactly.
        hidden_base_accuracy: share of hidden bases predicted.
        hidden_base_loss: mean cross-entropy of a hidden base, nats; None in checkpoints of earlier versions. A base
            has the probability of the tokens that spell it there, averaged over the masked tokens that cover it. So
            tokens of any kind are compared, but under their own masks: what is visible around a base differs.
    """

    loss: float
    accuracy: float
    hidden_base_accuracy: float
    masked_kmers: int
    hidden_bases: int
    hidden_base_loss: float | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EvaluationSums:
    """What adds up over batches: the sums of TokenSums, and the same over hidden bases."""

    loss: Any = 0.0
    correct: Any = 0.0
    masked_kmers: Any = 0.0
    hidden_loss: Any = 0.0
    hidden_correct: Any = 0.0
    hidden_bases: Any = 0.0

    def __add__(self, other: "EvaluationSums") -> "EvaluationSums":
        return jax.tree.map(operator.add, self, other)

    def mean(self) -> Evaluation:
        """Returns the figures of all batches."""
        return Evaluation(
            loss=self.loss / max(self.masked_kmers, 1),
            accuracy=self.correct / max(self.masked_kmers, 1),
            hidden_base_accuracy=self.hidden_correct / max(self.hidden_bases, 1),
            masked_kmers=int(self.masked_kmers),
            hidden_bases=int(self.hidden_bases),
            hidden_base_loss=self.hidden_loss / max(self.hidden_bases, 1),
        )


Predictor = Callable[[Any, MaskedRows], Float[Array, "B M V"]]
"""Parameters and masked rows to logits: a model, or a table to compare it with."""


@functools.lru_cache(maxsize=16)
def network_predictor(model: ModelConfig, settings: ExecutionConfig, mesh: Mesh) -> Predictor:
    """Returns what computes masked-LM logits at the masked positions, from parameters as training stores them."""
    gathering = Gathering(model, masked_lm_shardings(model, mesh))
    execution = choose_execution(model, settings, gathering, mesh, training=False)

    def own_logits(parameters: Parameters, input_ids: Array, predict_at: Array) -> Array:
        return bind(LanguageModel, gathering(parameters), model)(input_ids, predict_at, execution=execution)

    logits = on_own_rows(own_logits, mesh, gathering.shardings, (ROWS, ROWS), ROWS)
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


def evaluate(
    batches: Sequence[UInt16[np.ndarray, "R L"]],
    placement: RowPlacement,
    objective: MaskedTokens,
    predict: Predictor,
    parameters: Any,
) -> Evaluation:
    """Returns the figures, on the rows of `evaluation_rows`, of a predictor with these parameters.

    The same rows have the same masks, whatever the run, its batch and its mesh.
    """
    total = EvaluationSums()
    for batch, rows in enumerate(batches):
        first = jax.device_put(np.int32(batch * placement.global_batch), replicated(placement.mesh))
        sums = _batch_sums(objective, predict, parameters, placement.on_mesh(rows), first)
        total += jax.tree.map(float, jax.device_get(sums))
    return total.mean()


@functools.partial(jax.jit, static_argnums=(0, 1))
def _batch_sums(
    objective: MaskedTokens, predict: Predictor, parameters: Any, rows: UInt16[Array, "B L"], first: Int[Array, ""]
) -> EvaluationSums:
    """Returns the sums of the rows first .. first + B - 1, each of which is masked by a key of its number alone."""
    input_ids = rows.astype(jnp.int32)
    keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.key(0), number))(first + jnp.arange(len(rows)))
    by_row = jax.vmap(lambda row, key: objective.hide(row[None], key, objective.settings.rate))(input_ids, keys)
    per_row = jax.tree.map(lambda field: field[:, 0], by_row._replace(overflow=by_row.overflow[:, None]))
    masked = per_row._replace(overflow=per_row.overflow.sum())
    logits = predict(parameters, masked)
    kmers = masked_token_sums(logits, masked.labels, masked.weights)
    return EvaluationSums(*kmers, *hidden_base_sums(logits, masked, input_ids, objective.tokenizer))


def hidden_base_sums(
    logits: Float[Array, "B M V"], masked: MaskedRows, input_ids: Int[Array, "B L"], tokenizer: Tokenizer
) -> TokenSums:
    """Returns the cross-entropy of hidden bases, those that are predicted correctly, and their number."""
    (batch, length), (_, width) = input_ids.shape, tokenizer.spelling.shape
    # Bases have slots one after the other along the row. [SEP] advances so far that the last bases of a sequence, over
    # which fewer tokens lie, have slots of their own.
    advance = tokenizer.advance.astype(np.int32)
    advance[[PAD, CLS, SEP]] = 0, 0, tokenizer.overlap - 1
    steps = jnp.asarray(advance)[input_ids]
    slots = (jnp.cumsum(steps, axis=1) - steps)[:, :, None] + jnp.arange(width)
    num_slots = int(advance.max()) * length + width
    rows = jnp.arange(batch)[:, None, None]

    # A token has a letter at each place that it spells; the code of none is out of range, so its one-hot row is zero.
    spelling = jnp.asarray(tokenizer.spelling.astype(np.int32))
    letters = spelling[input_ids]
    spelled = letters < AMBIGUOUS
    shown = spelled & (masked.input_ids == input_ids)[:, :, None]
    exists, is_shown = (_spread(flags, rows, slots, num_slots) for flags in (spelled, shown))
    truth = jnp.zeros((batch, num_slots), jnp.int32).at[rows, slots].max(jnp.where(spelled, letters, 0), mode="drop")

    probabilities = jax.nn.softmax(logits)[:, :, NUM_SPECIAL : tokenizer.vocabulary_size]
    by_base = jnp.einsum("BMI,IKC->BMKC", probabilities, jax.nn.one_hot(spelling[NUM_SPECIAL:], len(BASES)))
    by_base *= masked.weights[:, :, None, None]
    voted = jnp.take_along_axis(slots, masked.predict_at[:, :, None], axis=1)
    votes = jnp.zeros((batch, num_slots, len(BASES))).at[rows, voted].add(by_base, mode="drop")
    hidden = exists & ~is_shown
    own = jnp.take_along_axis(votes, truth[:, :, None], axis=-1)[:, :, 0]
    losses = jnp.where(hidden, jnp.log(votes.sum(axis=-1)) - jnp.log(own), 0)
    correct = (votes.argmax(axis=-1) == truth) & hidden
    return TokenSums(losses.sum(), correct.sum(dtype=float), hidden.sum(dtype=float))


def _spread(
    flags: Bool[Array, "B L K"], rows: Int[Array, "B 1 1"], slots: Int[Array, "B L K"], num_slots: int
) -> Bool[Array, "B D"]:
    """Returns whether any token over a base slot has the flag there."""
    return jnp.zeros((len(flags), num_slots), bool).at[rows, slots].max(flags, mode="drop")


def kmer_frequencies(files: Rows) -> Int[np.ndarray, " V"]:
    """Counts of every id of the vocabulary over all rows of a split."""
    counts = np.zeros(files.manifest.tokenizer.vocabulary_size, np.int64)
    for first in range(0, len(files), _ROWS_AT_ONCE):
        rows = files.read(np.arange(first, min(first + _ROWS_AT_ONCE, len(files))))
        counts += np.bincount(rows.reshape(-1), minlength=len(counts))
    return counts


def frequency_table_logits(counts: Int[np.ndarray, " V"], padded_size: int) -> Float[np.ndarray, " P"]:
    """Log frequencies, with one added to each token's count: the best prediction that ignores all context."""
    logits = np.full(padded_size, -np.inf, np.float32)
    smoothed = counts[NUM_SPECIAL:] + 1
    logits[NUM_SPECIAL : len(counts)] = np.log(smoothed / smoothed.sum())
    return logits
