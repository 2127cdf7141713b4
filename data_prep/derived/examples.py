"""Examples of a contig as columns, and how they are thinned out."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int32, Int64, Integer, UInt8

from data_prep.derived.contigs import COMPLEMENT


@dataclasses.dataclass(frozen=True)
class Examples:
    """N examples of L bases each.

    Attributes:
        contig: number of the contig, in the order of the sequence files.
        start: of the window on the forward strand, 0-based; that of its source for one that was made of another.
        reverse: whether it is read from the reverse strand.
        label, group, origin: numbers of names that the task keeps.
        key: uniform random numbers, by which a subset is chosen.
        codes: A=0, T=1, C=2, G=3.
    """

    contig: Int32[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    reverse: Bool[np.ndarray, " n"]
    label: Int8[np.ndarray, " n"]
    group: Int8[np.ndarray, " n"]
    origin: Int8[np.ndarray, " n"]
    key: Float64[np.ndarray, " n"]
    codes: UInt8[np.ndarray, "n l"]

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: Bool[np.ndarray, " n"] | Integer[np.ndarray, " m"]) -> "Examples":
        """Those that a mask or numbers choose."""
        return Examples(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def joined(parts: list[Examples]) -> Examples:
    """All examples of at least one part."""
    names = [field.name for field in dataclasses.fields(Examples)]
    return Examples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def smallest_keys(examples: Examples, number: int) -> Examples:
    """Of each label the `number` examples with the smallest keys, in their order: a random subset."""
    chosen = np.zeros(len(examples), bool)
    for label in np.unique(examples.label):
        rows = np.flatnonzero(examples.label == label)
        chosen[rows[np.argsort(examples.key[rows], kind="stable")[:number]]] = True
    return examples.take(chosen)


def canonical_sequences(codes: UInt8[np.ndarray, "n l"]) -> UInt8[np.ndarray, "n l"]:
    """Of each sequence and its reverse complement the one that comes first in the order of the codes."""
    other = COMPLEMENT[codes[:, ::-1]]
    difference = codes != other
    place = difference.argmax(axis=1)
    rows = np.arange(len(codes))
    return np.where((codes[rows, place] <= other[rows, place])[:, None], codes, other)


def first_of_each(examples: Examples) -> Bool[np.ndarray, " n"]:
    """Whether an example is the first with its sequence, on either strand; negatives (label 0) come last."""
    order = np.argsort(examples.label == 0, kind="stable")
    rows = np.ascontiguousarray(canonical_sequences(examples.codes[order]))
    _, first = np.unique(rows.view(f"V{rows.shape[1]}").ravel(), return_index=True)
    result = np.zeros(len(examples), bool)
    result[order[first]] = True
    return result
