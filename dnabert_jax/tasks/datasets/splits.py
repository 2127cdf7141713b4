"""Makes figures on held-out rows true: no row of one split is in another, and splits are made where there are none.

Two rows are the same if their bases are, in upper or lower case; all letters that are no certain base are one.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dnabert_jax.config import require
from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import loci
from dnabert_jax.sequence.bases import reverse_complement
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.tasks.datasets.labelled import USUAL_COLUMNS, Columns, LabelledData, LabelledSplit, read_labelled
from dnabert_jax.tasks.datasets.labels import listed
from dnabert_jax.tasks.datasets.layout import SPLITS, DataOptions, Split

_DIGEST_BYTES = 16
_APART = 1001
"""Fewest bases between intervals of two loci."""
_FEWEST_CONTIGS = 5
_DRAWS_OF_CONTIGS = 200
_TOLERANCE = 0.25
"""Part of the share that was asked for by which the share of rows held out by place may differ from it."""


def read_splits(
    source: Path, tokenizer: Tokenizer, options: DataOptions, seed: int, columns: Columns = USUAL_COLUMNS
) -> LabelledData:
    """Reads a data set as `read_labelled` does, and makes the splits that it lacks of training rows."""
    data = read_labelled(source, tokenizer, columns, options)
    return carve(carve(data, "test", options.test_share, seed), "validation", options.validation_share, seed)


def count_duplicates(data: LabelledData) -> LabelledData:
    """Adds a note for each count of sequences that occur more than once, within a split and between splits.

    Where the data say where rows lie, rows are also counted that lie where a row of another split does, as a negative
    that was shuffled from a positive.
    """
    keys = _keys(data.splits)
    loci = {split: part.loci.names() for split, part in data.splits.items() if part.loci is not None}
    repeated, contradicting = {}, {}
    for split, part in data.splits.items():
        label = np.unique(part.labels, axis=0, return_inverse=True)[1].reshape(-1)
        labelled = np.unique(np.column_stack([keys[split], label]), axis=0)
        numbers, labels = np.unique(labelled[:, 0], return_counts=True)
        repeated[split] = len(part) - len(numbers)
        contradicting[split] = np.isin(keys[split], numbers[labels > 1]).sum()
    counts = (
        *_shared(keys, "{} with a sequence that is in {} too"),
        *_shared(loci, "{} where a row of {} lies, such as its shuffle"),
        *((n, f"{split} that repeat an earlier row") for split, n in repeated.items()),
        *((n, f"{split} with a sequence that has another label in another row") for split, n in contradicting.items()),
    )
    notes = [f"Rows of {what}: {count:,}." for count, what in counts if count]
    return dataclasses.replace(data, notes=(*data.notes, *notes))


def _shared(keys: Mapping[Split, Shaped[np.ndarray, " _"]], what: str) -> Iterator[tuple[int, str]]:
    """Yields for each two splits how many rows of the second have a key that is in the first too, and a phrase."""
    for first, second in itertools.combinations(keys, 2):
        yield int(np.isin(keys[second], keys[first]).sum()), what.format(second, first)


def drop_duplicates(data: LabelledData) -> LabelledData:
    """Leaves each sequence in one split only, once in training, and says how many rows that took.

    What is also in the test split goes from training and validation, what is in the validation split from training.
    No row of the test split is dropped, so that figures stay comparable with those of others. Of rows of the training
    split that repeat each other, the first stays.
    """
    keys = _keys(data.splits)
    splits: dict[Split, LabelledSplit] = {}
    notes = list(data.notes)
    for number, split in enumerate(keys):
        part, rows = data.splits[split], keys[split]
        later = np.concatenate([np.zeros(0, np.int64), *(keys[other] for other in list(keys)[number + 1 :])])
        keep = ~np.isin(rows, later)
        if split == "train":
            keep &= np.isin(np.arange(len(rows)), np.unique(rows, return_index=True)[1])
        if dropped := len(rows) - int(keep.sum()):
            notes.append(f"{dropped:,} of {len(rows):,} rows of {split} were dropped as duplicates.")
        require(dropped < len(rows), f"All rows of the {split} split of {part.source} are in a later split too.")
        splits[split] = part.select(keep) if dropped else part
    _check_classes(data, splits["train"])
    return dataclasses.replace(data, splits=splits, notes=tuple(notes))


def carve(data: LabelledData, split: Split, fraction: float = 0.1, seed: int = 0) -> LabelledData:
    """Makes a validation or test split of training rows, if there is none, and says so.

    Where the rows have loci, those of whole chromosomes are held out, or, if there are fewer than five or none fit the
    share, of whole loci: intervals that overlap or lie within 1 kb of each other. Rows of one sequence, or its reverse
    complement, stay together; with whole chromosomes, those of the training split are dropped. Each class keeps its
    share, to within a row unless rows must stay together; targets of regression, of which the first counts, are spread
    evenly; rows of several labels go by the rarest label that they have.
    """
    if split in data.splits:
        return data
    require(0 < fraction < 1, f"The share of rows for {split} is {fraction}: it must lie between 0 and 1.")
    train = data.splits["train"]
    keys = _keys({"train": train}, reverse_complements=True)["train"]
    held_out, how = _held_out(train, keys, fraction, seed)
    # With whole chromosomes, a sequence may be on both sides.
    twins = np.isin(keys, keys[held_out]) & ~held_out
    if not _fits(train, held_out):
        raise InputError(
            f"{len(train):,} training rows are too few to put {fraction:g} of them aside for {split}, with two classes "
            "or more: give more rows, a larger share or a file of that split."
        )
    note = f"There is no {split} split: {int(held_out.sum()):,} of {len(train):,} training rows are put aside, {how}."
    dropped = f" {int(twins.sum()):,} others of the same sequences are dropped." if twins.any() else ""
    parts = {**data.splits, "train": train.select(~(held_out | twins)), split: train.select(held_out)}
    _check_classes(data, parts["train"])
    in_order = {name: parts[name] for name in SPLITS if name in parts}
    return dataclasses.replace(data, splits=in_order, notes=(*data.notes, note + dropped))


def _held_out(
    train: LabelledSplit, keys: Int64[np.ndarray, " n"], fraction: float, seed: int
) -> tuple[Bool[np.ndarray, " n"], str]:
    """Returns which rows are held out, and how they were chosen."""
    how = f"drawn by the seed {seed}"
    if train.loci is not None:
        contigs = train.loci.contigs
        for chosen in _contigs_of_share(contigs.index, fraction, seed):
            held_out = np.isin(contigs.index, chosen)
            if _fits(train, held_out):
                return held_out, f"those on {listed([contigs.values[number] for number in chosen])}, by the seed {seed}"
        near = loci(contigs.index, train.loci.starts, train.loci.ends, _APART)
        held_out = _drawn(train, _joined(near, keys), fraction, seed)
        if _near(held_out.sum(), fraction * len(train)) and _fits(train, held_out):
            return held_out, f"whole loci, {how}"
        how += "; as they lie close together, some overlap rows that stay"
    return _drawn(train, keys, fraction, seed), how


def _near(count: np.integer, target: float) -> bool:
    return bool(abs(count - target) <= max(1, _TOLERANCE * target))


def _fits(train: LabelledSplit, held_out: Bool[np.ndarray, " n"]) -> bool:
    """Returns whether there is something to learn and to measure."""
    if train.labels.ndim > 1:
        return bool(held_out.any()) and not held_out.all()
    measured, learned, classes = (len(np.unique(train.labels[rows])) for rows in (held_out, ~held_out, ...))
    return measured > 1 and learned == classes


def _drawn(train: LabelledSplit, groups: Int64[np.ndarray, " n"], fraction: float, seed: int) -> Bool[np.ndarray, " n"]:
    """Returns a share of the rows, those of a group together."""
    _, first, group, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    order = _by_stratum(train.select(first), seed)
    stays = np.zeros(len(first), bool)
    if train.labels.ndim == 1:  # no class leaves the training rows
        stays[group.reshape(-1)[np.unique(train.labels, return_index=True)[1]]] = True
    chosen = np.zeros(len(first), bool)
    due = 0.0
    # In the order of their strata, so that each stratum gives its share.
    for number, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        due += size * fraction
        if due >= size / 2 and not stays[number]:
            chosen[number] = True
            due -= size
    return chosen[group.reshape(-1)]


def _contigs_of_share(contigs: Int32[np.ndarray, " n"], fraction: float, seed: int) -> list[Int64[np.ndarray, " _"]]:
    """Returns sets of contigs that have about a share of the rows, the nearest first; none of few contigs."""
    counts = np.bincount(contigs)
    present, target, generator = np.flatnonzero(counts), fraction * len(contigs), np.random.default_rng(seed)
    draws = []
    for _ in range(_DRAWS_OF_CONTIGS if len(present) >= _FEWEST_CONTIGS else 0):
        order = generator.permutation(present)
        rows = np.cumsum(counts[order])
        last = int(np.argmin(abs(rows - target)))
        if _near(rows[last], target):
            draws.append((abs(rows[last] - target), np.sort(order[: last + 1])))
    return [chosen for _, chosen in sorted(draws, key=lambda draw: draw[0])]


def _joined(a: Int64[np.ndarray, " n"], b: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Returns groups of rows that are connected by a group of either kind."""
    size = int(a.max()) + int(b.max()) + 2
    edges = coo_array((np.ones(len(a), bool), (a, b + int(a.max()) + 1)), (size, size))
    return connected_components(edges, directed=False)[1][a].astype(np.int64)


def limit_training(data: LabelledData, limit: int, seed: int = 0) -> LabelledData:
    """Keeps at most `limit` rows of the training split, each class by its share, drawn by the seed, and says so."""
    train = data.splits["train"]
    if len(train) <= limit:
        return data
    order = _by_stratum(train, seed)
    chosen = order[np.linspace(0, len(order) - 1, limit).round().astype(np.int64)]
    _check_classes(data, train.select(chosen))
    note = f"{limit:,} of {len(train):,} training rows are used, drawn by the seed {seed}."
    splits: dict[Split, LabelledSplit] = {**data.splits, "train": train.select(np.sort(chosen))}
    return dataclasses.replace(data, splits=splits, notes=(*data.notes, note))


def _check_classes(data: LabelledData, train: LabelledSplit) -> None:
    """Raises InputError if the rows that are left for training are all of one class."""
    if train.labels.ndim == 1 and len(np.unique(train.labels)) < 2:
        label = data.task.labels[int(train.labels[0])]
        raise InputError(f"The training rows of {train.source} that are left are all of the class {label!r}.")


def _by_stratum(part: LabelledSplit, seed: int) -> Int64[np.ndarray, " n"]:
    """Returns the rows in the order of their labels, and among like ones drawn by the seed."""
    if part.labels.ndim == 1:
        strata = part.labels
    elif part.labels.dtype == np.uint8:
        counts = part.labels.sum(axis=0, dtype=np.int64)
        strata = np.where(part.labels > 0, counts, len(part) + 1).min(axis=1)
    else:
        strata = part.labels[:, 0]
    shuffled = np.random.default_rng(seed).permutation(len(part))
    return shuffled[np.argsort(strata[shuffled], kind="stable")]


def _keys(
    splits: Mapping[Split, LabelledSplit], reverse_complements: bool = False
) -> dict[Split, Int64[np.ndarray, " _"]]:
    """Returns a number for each row of each split that is the same for the same sequence.

    Args:
        reverse_complements: whether a sequence and its reverse complement are the same.
    """
    digests = []
    for codes in (part.sequences[row] for part in splits.values() for row in range(len(part))):
        strands = [codes.tobytes(), *([reverse_complement(codes).tobytes()] if reverse_complements else [])]
        digests.append(min(hashlib.blake2b(strand, digest_size=_DIGEST_BYTES).digest() for strand in strands))
    numbers = np.unique(np.array(digests, f"S{_DIGEST_BYTES}"), return_inverse=True)[1].astype(np.int64)
    ends = np.cumsum([len(part) for part in splits.values()])
    return dict(zip(splits, np.split(numbers, ends[:-1]), strict=True))
