"""Scores of bases as files: a table with a row for each base, or an npz. A track of a genome is `score_track.py`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, UInt8

from dnabert_jax.errors import JobError
from dnabert_jax.io.npz_file import write_npz
from dnabert_jax.io.output_table import output_table, record_batch
from dnabert_jax.output_file import output_file
from dnabert_jax.sequence.bases import BASE_ORDER, LETTERS
from dnabert_jax.sequence.buckets import groups

_ROWS = 1 << 15
"""Of a row group, and a sequence more."""


class BaseScores(NamedTuple):
    """What was read of a sequence.

    Attributes:
        effects: of substitutions, as of `Mutations`; none for what is no mutagenesis.
    """

    name: str
    codes: UInt8[np.ndarray, " bases"]
    scores: Float32[np.ndarray, " bases"]
    effects: Float32[np.ndarray, "bases 4"] | None = None


def finite(rows: Iterable[BaseScores]) -> Iterator[BaseScores]:
    """Yields them; raises JobError at one with a number that is not finite."""
    for row in rows:
        if not np.isfinite(row.scores).all():
            raise JobError(f"The scores of {row.name} are not finite.")
        yield row


def write_score_table(path: Path, rows: Iterable[BaseScores], with_effects: bool, label: str = "") -> int:
    """Writes id, position (from 0, in the direction of the sequence), base and score of each base; returns how many.

    Effects, if there are any, are columns effect_A to effect_T. The label, if there is one, is the last column.
    """
    effects = [(f"effect_{base}", pa.float32()) for base in BASE_ORDER] if with_effects else []
    columns = [("id", pa.string()), ("position", pa.int32()), ("base", pa.string()), ("score", pa.float32())]
    schema = pa.schema([*columns, *effects, *[("label", pa.string())] * bool(label)])
    total = 0
    with output_table(path, schema) as write:
        for group in groups(finite(rows), lambda row: len(row.codes), _ROWS):
            lengths = [len(row.codes) for row in group]
            arrays = [
                np.repeat(np.array([row.name for row in group], object), lengths),
                np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
                np.concatenate([LETTERS[row.codes] for row in group]).astype(str).astype(object),
                np.concatenate([row.scores for row in group]),
            ]
            if with_effects:
                found = np.concatenate([row.effects for row in group if row.effects is not None])
                arrays += [np.ascontiguousarray(column) for column in found.T]
            arrays += [np.full(sum(lengths), label, object)] * bool(label)
            write(record_batch(arrays, schema))
            total += sum(lengths)
    return total


def write_score_npz(path: Path, rows: Iterable[BaseScores], with_effects: bool, label: str = "") -> None:
    """Writes ids, bases (a letter each), scores, effects if there are any ([n, 4], of A, C, G and T), and offsets.

    Those of sequence i are `scores[offsets[i] : offsets[i + 1]]`, and so on. A label is written too.
    """
    arrays = {"bases": LETTERS.dtype, "scores": np.dtype(np.float32)}
    if with_effects:
        arrays["effects"] = np.dtype((np.float32, len(BASE_ORDER)))

    def of_row(row: BaseScores) -> tuple[str, tuple[np.ndarray, ...]]:
        effects = () if row.effects is None else (row.effects,)
        return row.name, (LETTERS[row.codes], row.scores, *effects)

    with output_file(path) as file:
        write_npz(file, path.parent, map(of_row, finite(rows)), arrays, by_position=True, label=label)
