"""Encodes labelled sequences as ids and targets, and chooses the few shapes into which their batches are padded.

Sequences are whole, or cut into windows where the task says so. All that is compiled for a shape is used again: the
number of windows of a batch is a power of two or the most of any sequence, and a sequence in one piece is padded to one
of the lengths of `sequence.buckets`.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from dnabert_jax.config import ModelConfig, TaskConfig, require
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.buckets import bucket
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.vocabulary import CLS, SEP, SPECIAL_PER_SEQUENCE
from dnabert_jax.sequence.windows import Windows
from dnabert_jax.tasks.datasets.labelled import LabelledData, LabelledSplit
from dnabert_jax.tasks.datasets.labels import label_matrix
from dnabert_jax.tasks.datasets.strands import differs_between_strands
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.jobs import EncodedSplit

_OVERLAP_SHARE = 8
"""One in so many k-mers of a window is shared with the next, if nobody says how many."""


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
    longest_window = model.max_positions - SPECIAL_PER_SEQUENCE
    size = config.window or longest_window
    require(size <= longest_window, f"window is {size} k-mers: the model takes at most {longest_window}.")
    overlap = size // _OVERLAP_SHARE if config.overlap is None else config.overlap
    require(overlap < size, f"overlap is {overlap} k-mers: it must be below {size}, the k-mers of a window.")
    longest = max(int(split.sequences.lengths.max()) for split in splits)
    count = int(Windows(size, overlap).count(np.array([model.tokenizer.count(longest)]))[0])
    return dataclasses.replace(task, long=config.long, window=size, overlap=overlap, split=count)


def encode_split(split: LabelledSplit, task: TaskConfig, tokenizer: Tokenizer, max_positions: int) -> EncodedSplit:
    """Returns ids and targets of a split; raises InputError if a sequence is too long and there are no windows."""
    rows, room = [], max_positions - SPECIAL_PER_SEQUENCE
    for number in range(len(split)):
        ids = tokenizer.encode(split.sequences[number])
        if task.windows is None and len(ids) > room:
            raise InputError(
                f"{split.where(number)} has {len(split.sequences[number]):,} bases: the model takes at most "
                f"{tokenizer.capacity(room)}. Give --long attention, mean, max or lstm to read it in windows, "
                "cut it, or leave it out."
            )
        rows.append(np.concatenate([[CLS], ids, [SEP]]).astype(np.uint16))
    targets = label_matrix(split.labels, len(task.labels))
    return EncodedSplit(np.concatenate(rows), np.cumsum([0, *map(len, rows)]), targets, tokenizer, task.windows)


def batch_shape(task: TaskConfig, longest: int, max_positions: int) -> tuple[int, ...]:
    """Returns the shape of the ids of each row of a batch: tokens, or windows and tokens of each.

    Args:
        longest: sequence of the batch, in tokens with [CLS] and [SEP].
    """
    if task.windows is None:
        return (bucket(longest, max_positions),)
    length = bucket(min(longest, task.window + SPECIAL_PER_SEQUENCE), task.window + SPECIAL_PER_SEQUENCE)
    count = int(task.windows.count(np.array([longest - SPECIAL_PER_SEQUENCE]))[0])
    if task.long == "concatenation":
        require(count <= task.split, f"A sequence has {count} windows: the model takes at most {task.split}.")
        return (task.split, length)
    return (min(1 << (count - 1).bit_length(), max(count, task.split)), length)
