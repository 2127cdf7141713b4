"""What makes figures on held-out rows true: no row of one split in another, and a validation split beside the test.

Two rows are the same if their bases are, in upper or lower case; all letters that are no certain base are one.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.kmers import reverse_complement
from dnabert_jax.tasks.datasets.labelled import LabelledData, LabelledSplit
from dnabert_jax.tasks.datasets.layout import Split
from dnabert_jax.tasks.datasets.sequences import Sequences

_DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Counts of sequences that occur more than once.

    Attributes:
        within: for each split, rows that repeat a row before them in the split.
        between: for each two splits, rows of the second whose sequence is in the first too.
        contradicting: for each split, rows whose sequence has another label in another row of the split.
        reverse_complements: whether a sequence and its reverse complement counted as one.
    """

    within: Mapping[Split, int]
    between: Mapping[tuple[Split, Split], int]
    contradicting: Mapping[Split, int]
    reverse_complements: bool

    def sentences(self) -> tuple[str, ...]:
        """The counts that are not 0, for the user."""
        same = "itself or as its reverse complement " if self.reverse_complements else ""
        return (
            *(
                f"{n:,} rows of {b} have a sequence that {same}is in {a} too."
                for (a, b), n in self.between.items()
                if n
            ),
            *(f"{n:,} rows of {split} repeat a row before them." for split, n in self.within.items() if n),
            *(
                f"{n:,} rows of {split} have a sequence that has another label in another row."
                for split, n in self.contradicting.items()
                if n
            ),
        )


def count_duplicates(data: LabelledData, reverse_complements: bool = False) -> Duplicates:
    """Counts sequences that occur more than once, within a split and between splits.

    Args:
        data: to look into; nothing of it changes.
        reverse_complements: count a sequence and its reverse complement as one.
    """
    keys = _keys(data, reverse_complements)
    contradicting = {}
    for split, part in data.splits.items():
        labelled = np.unique(np.column_stack([keys[split], _label_numbers(part)]), axis=0)
        numbers, labels = np.unique(labelled[:, 0], return_counts=True)
        contradicting[split] = int(np.isin(keys[split], numbers[labels > 1]).sum())
    return Duplicates(
        {split: len(own) - len(np.unique(own)) for split, own in keys.items()},
        {(a, b): int(np.isin(keys[b], keys[a]).sum()) for a, b in itertools.combinations(keys, 2)},
        contradicting,
        reverse_complements,
    )


def drop_duplicates(data: LabelledData, reverse_complements: bool = False) -> LabelledData:
    """Leaves each sequence in one split only, once in training, and says how many rows that took.

    What is also in the test split goes from training and validation, what is in the validation split from training.
    No row of the test split is dropped, so that figures stay comparable with those of others. Of rows of the training
    split that repeat each other, the first stays.

    Raises:
        InputError: a split would be empty.
    """
    keys = _keys(data, reverse_complements)
    splits: dict[Split, LabelledSplit] = {}
    notes = list(data.notes)
    for number, split in enumerate(keys):
        part, own = data.splits[split], keys[split]
        later = np.concatenate([np.zeros(0, np.int64), *(keys[other] for other in list(keys)[number + 1 :])])
        keep = ~np.isin(own, later)
        if split == "train":
            first = np.zeros(len(own), bool)
            first[np.unique(own, return_index=True)[1]] = True
            keep &= first
        if dropped := len(own) - int(keep.sum()):
            notes.append(f"{dropped:,} of {len(own):,} rows of {split} were dropped as duplicates.")
        if dropped == len(own):
            raise InputError(f"All rows of the {split} split of {part.source} are in the splits after it too.")
        splits[split] = part.select(keep) if dropped else part
    _check_classes(data, splits["train"])
    return dataclasses.replace(data, splits=splits, notes=tuple(notes))


def carve_validation(data: LabelledData, fraction: float = 0.1, seed: int = 0) -> LabelledData:
    """Makes a validation split of training rows, if there is none, and says so. The test split is never used for it.

    Each class keeps its share to within a row; targets of regression, of which the first counts, are spread evenly;
    rows of several labels go by the rarest label that they have. Rows of one sequence, or its reverse complement, stay
    together.

    Args:
        data: with a training split.
        fraction: of the training rows.
        seed: of the choice.

    Raises:
        InputError: too few rows for the fraction.
    """
    if "validation" in data.splits:
        return data
    if not 0 < fraction < 1:
        raise InputError(f"The fraction of rows for validation is {fraction}: it must lie between 0 and 1.")
    train = data.splits["train"]
    keys = _keys(dataclasses.replace(data, splits={"train": train}), reverse_complements=True)["train"]
    groups, first = np.unique(keys, return_index=True)
    stratum = _strata(train.select(first))
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    order = shuffled[np.argsort(stratum[shuffled], kind="stable")]
    # Of the rows in the order of their strata, every 1/fraction-th: so each stratum gives its share.
    chosen = np.diff(np.floor(np.arange(len(order) + 1) * fraction + 0.5)) > 0
    if data.task.problem == "single_label_classification":
        # No class leaves the training rows.
        chosen[np.unique(stratum[order], return_index=True)[1]] = False
    held_out = np.isin(keys, groups[order[chosen]])
    others: dict[Split, LabelledSplit] = {split: part for split, part in data.splits.items() if split != "train"}
    parts: dict[Split, LabelledSplit] = {"train": train.select(~held_out), "validation": train.select(held_out)}
    if not len(parts["validation"]) or (
        data.task.problem == "single_label_classification" and len(np.unique(parts["validation"].labels)) < 2
    ):
        raise InputError(
            f"{len(train):,} training rows are too few to put {fraction:g} of them aside for validation, with two "
            "classes or more: give more rows, a larger fraction or a validation split."
        )
    note = (
        f"There is no validation split: {int(held_out.sum()):,} of {len(train):,} training rows are put aside for it, "
        f"by the seed {seed}."
    )
    # Still in order: nothing but the test split can be there besides.
    return dataclasses.replace(data, splits={**parts, **others}, notes=(*data.notes, note))


def limit_training(data: LabelledData, most: int, seed: int = 0) -> LabelledData:
    """Keeps at most so many rows of the training split, each class by its share, and says so.

    Args:
        data: with a training split.
        most: rows to keep.
        seed: of the choice.
    """
    train = data.splits["train"]
    if len(train) <= most:
        return data
    shuffled = np.random.default_rng(seed).permutation(len(train))
    order = shuffled[np.argsort(_strata(train)[shuffled], kind="stable")]
    chosen = order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)]
    _check_classes(data, train.select(chosen))
    note = f"{most:,} of {len(train):,} training rows are used, drawn by the seed {seed}."
    splits: dict[Split, LabelledSplit] = {**data.splits, "train": train.select(np.sort(chosen))}
    return dataclasses.replace(data, splits=splits, notes=(*data.notes, note))


def _check_classes(data: LabelledData, train: LabelledSplit) -> None:
    """Raises InputError if the rows that are left for training are all of one class."""
    if data.task.problem == "single_label_classification" and len(np.unique(train.labels)) < 2:
        label = data.task.labels[int(train.labels[0])]
        raise InputError(f"The training rows of {train.source} that are left are all of the class {label!r}.")


def _strata(part: LabelledSplit) -> Shaped[np.ndarray, " n"]:
    if part.labels.ndim == 1:
        return part.labels
    if part.labels.dtype == np.uint8:
        counts = part.labels.sum(axis=0, dtype=np.int64)
        return np.where(part.labels > 0, counts, len(part) + 1).min(axis=1)
    return part.labels[:, 0]


def _label_numbers(part: LabelledSplit) -> Int64[np.ndarray, " n"]:
    return np.unique(part.labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _keys(data: LabelledData, reverse_complements: bool) -> dict[Split, Int64[np.ndarray, " _"]]:
    """A number for each row of each split that is the same for the same sequence."""
    digests = [_digests(part.sequences, reverse_complements) for part in data.splits.values()]
    numbers = np.unique(np.concatenate(digests), return_inverse=True)[1].astype(np.int64)
    ends = np.cumsum([len(own) for own in digests])
    return dict(zip(data.splits, np.split(numbers, ends[:-1]), strict=True))


def _digests(sequences: Sequences, reverse_complements: bool) -> Shaped[np.ndarray, " n"]:
    digests = [_digest(sequences[row]) for row in range(len(sequences))]
    if reverse_complements:
        digests = [min(own, _digest(reverse_complement(sequences[row]))) for row, own in enumerate(digests)]
    return np.array(digests, f"S{_DIGEST_BYTES}")


def _digest(codes: UInt8[np.ndarray, " length"]) -> bytes:
    return hashlib.blake2b(codes.tobytes(), digest_size=_DIGEST_BYTES).digest()
