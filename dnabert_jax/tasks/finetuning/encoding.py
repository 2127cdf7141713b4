"""Encodes labelled sequences as ids and targets, and says in which order, strands and shapes a model is given them.

Sequences are whole, or cut into windows where the task says so. All that is compiled for a shape is used again: the
number of windows of a batch is a power of two or the most of any sequence, and a sequence in one piece is padded to one
of the lengths of `sequence.buckets`.
n sequences, m of them, T windows, L tokens, C labels.
"""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt16

from dnabert_jax.config import ModelConfig, TaskConfig, require
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.buckets import bucket
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.vocabulary import PAD
from dnabert_jax.sequence.windows import Windows
from dnabert_jax.tasks.datasets.labelled import LabelledData, LabelledSplit
from dnabert_jax.tasks.datasets.labels import label_matrix
from dnabert_jax.tasks.datasets.strands import differs_between_strands
from dnabert_jax.tasks.finetuning.config import FinetuneConfig


@dataclasses.dataclass(frozen=True)
class EncodedSplit:
    """Labelled sequences as ids.

    Attributes:
        ids: of all sequences end to end, each with its special tokens.
        offsets: where each begins, and where the last ends.
        targets: for each, the probability of each label, or the true values.
        tokenizer: made the ids.
        windows: how they are cut into rows; None if each is a row.
    """

    ids: UInt16[np.ndarray, " tokens"]
    offsets: Int64[np.ndarray, " ends"]
    targets: Float[np.ndarray, "n C"]
    tokenizer: Tokenizer
    windows: Windows | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64[np.ndarray, " n"]:
        """The tokens of each sequence."""
        return np.diff(self.offsets)

    @functools.cached_property
    def other_strand(self) -> "EncodedSplit":
        """The reverse complements of the sequences."""
        return dataclasses.replace(self, ids=self.tokenizer.other_strand(self.ids, self.offsets))

    def rows(self, chosen: Int64[np.ndarray, " m"], shape: tuple[int, ...]) -> UInt16[np.ndarray, "m ..."]:
        """Returns padded rows of some sequences: [m, L], or with windows [m, T, L], as `batch_shape` says."""
        if self.windows is not None:
            tokens = self.lengths[chosen] - self.tokenizer.specials
            count, length = shape
            return self.windows.rows(self.ids, self.offsets[chosen], tokens, count, length, self.tokenizer.suffix)
        (length,) = shape
        positions = self.offsets[chosen][:, None] + np.arange(length)
        inside = np.arange(length) < self.lengths[chosen][:, None]
        return np.where(inside, self.ids[np.minimum(positions, len(self.ids) - 1)], PAD).astype(np.uint16)


def task_to_learn(data: LabelledData, config: FinetuneConfig) -> TaskConfig:
    """Returns the task of the data with the dropout, pooling and strands of a fine-tuning, which has no windows yet."""
    strands = config.strands
    if strands == "auto":
        strands = "forward" if differs_between_strands(data.splits["train"]) else "both"
    dropout = data.task.dropout if config.dropout is None else config.dropout
    return dataclasses.replace(data.task, dropout=dropout, pooling=config.pooling, strands=strands)


def windowed_task(
    task: TaskConfig, config: FinetuneConfig, model: ModelConfig, splits: Iterable[LabelledSplit]
) -> TaskConfig:
    """Returns a task with the windows that a fine-tuning asks for.

    The splits are all that the model is trained and measured on: the longest sequence has the most windows.

    Raises:
        InputError: windows are longer than the network takes, or overlap by more than they have.
    """
    if config.long == "none":
        return task
    longest_window = model.longest
    size = config.window or longest_window
    require(
        size <= longest_window,
        f"window is {size} tokens: the model takes at most {longest_window}, without [CLS] and [SEP].",
    )
    overlap = size // 8 if config.overlap is None else config.overlap
    require(overlap < size, f"overlap is {overlap} tokens: it must be below {size}, the tokens of a window.")
    longest = max(int(split.sequences.lengths.max()) for split in splits)
    count = int(Windows(size, overlap).count(np.array([model.tokenizer.count(longest)]))[0])
    return dataclasses.replace(task, long=config.long, window=size, overlap=overlap, split=count)


def encode_split(split: LabelledSplit, task: TaskConfig, model: ModelConfig) -> EncodedSplit:
    """Returns ids and targets of a split; raises InputError if a sequence is too long and there are no windows."""
    rows, tokenizer, room = [], model.tokenizer, model.longest
    for number in range(len(split)):
        ids = tokenizer.encode(split.sequences[number])
        if task.windows is None and len(ids) > room:
            raise InputError(
                f"{split.where(number)} has {len(split.sequences[number]):,} bases: the model takes at most "
                f"{tokenizer.capacity(room)}. Give --long attention, mean, max or lstm to read it in windows, "
                "cut it, or leave it out."
            )
        rows.append(tokenizer.framed(ids))
    targets = label_matrix(split.labels, len(task.labels))
    return EncodedSplit(np.concatenate(rows), np.cumsum([0, *map(len, rows)]), targets, tokenizer, task.windows)


def batch_shape(task: TaskConfig, longest: int, model: ModelConfig) -> tuple[int, ...]:
    """Returns the shape of the ids of each row of a batch: tokens, or windows and tokens of each.

    Args:
        longest: sequence of the batch, in tokens with the special ones.
    """
    if task.windows is None:
        return (bucket(longest, model.max_positions),)
    specials = model.tokenizer.specials
    length = bucket(min(longest, task.window + specials), task.window + specials)
    count = int(task.windows.count(np.array([longest - specials]))[0])
    several = task.split if task.long == "concatenation" else min(1 << (count - 1).bit_length(), max(count, task.split))
    return (several, length)


def epoch_order(count: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """Returns the order of a job's sequences in an epoch, which depends on the seed and the epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def epoch_strands(count: int, seed: int, epoch: int) -> Bool[np.ndarray, " n"]:
    """Returns which of a job's sequences an epoch reads as their reverse complements: each with probability 1/2."""
    return np.random.default_rng([seed, epoch, 1]).random(count) < 0.5
