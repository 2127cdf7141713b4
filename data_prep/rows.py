"""One block of letters to packed rows, as the bytes of a shard: a pure function, run in any process, in any order."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from data_prep.windows import certain_runs, clip_runs, windows_of_runs
from dnabert_jax.data.manifest import HELDOUT, TRAIN
from dnabert_jax.data.packing import fill_rows
from dnabert_jax.data.tfrecord import encode_rows
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes, reverse_complement
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import SPECIAL_PER_SEQUENCE


@dataclasses.dataclass(frozen=True)
class RowSettings:
    """How windows are cut and laid into rows; see GenomeJob for the words."""

    k: int
    row_length: int
    packed: bool
    seed: int
    drop_lower_case: bool
    reverse_complement: bool


class Task(NamedTuple):
    """A part of a file, once.

    Attributes:
        letters: ASCII, checked before; but the file may have changed since.
        place: (file, part), which with the repetition decides all that is random.
        repetition: 0 for the first time that the part is cut; held-out windows are cut then only.
        share: of the training windows to keep, for a last repetition that is not whole.
        heldout: share of the part's certain bases, at its end, that is held out; 1 for records held out whole.
        file: what errors call the file.
    """

    letters: UInt8[np.ndarray, " n"]
    place: tuple[int, int]
    repetition: int
    share: float
    heldout: float
    file: str


@dataclasses.dataclass(frozen=True)
class Counts:
    """What rows hold; they add up.

    Attributes:
        bases: certain bases that they were cut from.
        uncut_bases: of these, what no cut window holds.
    """

    rows: int = 0
    sequences: int = 0
    kmers: int = 0
    bases: int = 0
    uncut_bases: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


class SplitRows(NamedTuple):
    """What a task makes for one split: the bytes of its records, and counts."""

    records: bytes
    counts: Counts


def block_rows(task: Task, settings: RowSettings) -> dict[str, SplitRows]:
    """The rows of a part for each split; its bases are counted at the first repetition only."""
    codes = base_codes(task.letters, f"{task.file} changed while it was read: a part of it")
    if settings.drop_lower_case:
        codes[task.letters >= ord("a")] = AMBIGUOUS
    runs = certain_runs(codes)
    border = _border(runs, task.heldout, len(codes))
    parts = {TRAIN: clip_runs(runs, 0, border)}
    if task.repetition == 0:
        parts[HELDOUT] = clip_runs(runs, border, len(codes))
    return {name: _split_rows(name, codes, part, task, settings) for name, part in parts.items()}


def _border(runs: Int[np.ndarray, "runs 2"], heldout: float, length: int) -> int:
    """The position from which on the part is held out."""
    ends = np.cumsum(runs[:, 1] - runs[:, 0])
    total = int(ends[-1]) if len(ends) else 0
    trained = total - int(total * heldout)
    if trained == total:
        return length
    number = int(np.searchsorted(ends, trained, side="left"))
    return int(runs[number, 1] - (ends[number] - trained))


def _split_rows(
    name: str, codes: UInt8[np.ndarray, " n"], runs: Int[np.ndarray, "runs 2"], task: Task, settings: RowSettings
) -> SplitRows:
    stream = (*task.place, task.repetition, (TRAIN, HELDOUT).index(name))
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(settings.seed, spawn_key=stream)))
    starts, counts, uncut_bases = windows_of_runs(runs, settings.k, settings.row_length - SPECIAL_PER_SEQUENCE, rng)
    if name == TRAIN and task.share < 1:
        kept = rng.random(len(starts)) < task.share
        starts, counts = starts[kept], counts[kept]
    tokenizer = KmerTokenizer(settings.k)
    ids = tokenizer.encode(codes)
    if name == TRAIN and settings.reverse_complement:
        # The k-mers of the other strand follow those of this one; k-mer i here is the last but i there.
        turned = rng.random(len(starts)) < 0.5
        ids = np.concatenate([ids, tokenizer.encode(reverse_complement(codes))])
        starts = np.where(turned, len(ids) - starts - counts, starts)
    rows = fill_rows(ids, starts, counts, settings.row_length, settings.packed)
    first = task.repetition == 0
    total = Counts(
        rows=len(rows),
        sequences=len(starts),
        kmers=int(counts.sum()),
        bases=int((runs[:, 1] - runs[:, 0]).sum()) if first else 0,
        uncut_bases=uncut_bases if first else 0,
    )
    return SplitRows(encode_rows(rows).tobytes(), total)
