"""Effects of changes as the original counts them (`SNP/SNP.py`), and their table: a row for each change."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float64

from dnabert_jax.errors import JobError
from dnabert_jax.interpret.changes import Change
from dnabert_jax.interpret.effect_size import log_odds_ratio, probability, weighted_difference
from dnabert_jax.interpret.mutagenesis import Changed
from dnabert_jax.io.output_table import output_table, record_batch
from dnabert_jax.sequence.bases import decode_bases
from dnabert_jax.sequence.buckets import groups
from dnabert_jax.stream import Coded

_ROWS = 1 << 15
"""Of a row group, and those of a sequence more."""


class ChangeEffects(NamedTuple):
    """What changes of a sequence do.

    Attributes:
        reference: probability of the label for the sequence, or the number of a regression.
        difference: as `weighted_difference`; of a regression, changed less reference.
        log_odds_ratio: as `log_odds_ratio`; None of a regression.
    """

    sequence: Coded
    changes: list[Change]
    reference: float
    changed: Float64[np.ndarray, " changes"]
    difference: Float64[np.ndarray, " changes"]
    log_odds_ratio: Float64[np.ndarray, " changes"] | None


def change_effects(found: Iterable[Changed], regression: bool) -> Iterator[ChangeEffects]:
    """Yields the effects of changes, given log-odds of a label or numbers; raises JobError if one is not finite."""
    for one in found:
        after = one.outputs.astype(np.float64)
        before = np.full_like(after, one.reference)
        if not (np.isfinite(one.reference) and np.isfinite(after).all()):
            raise JobError(f"What the model says of {one.sequence.place} or a change of it is not finite.")
        own, changes = one.sequence, list(one.changes)
        if regression:
            yield ChangeEffects(own, changes, one.reference, after, after - before, None)
        else:
            reference = float(probability(np.array([one.reference]))[0])
            ratio = log_odds_ratio(before, after)
            difference = weighted_difference(before, after)
            yield ChangeEffects(own, changes, reference, probability(after), difference, ratio)


def write_mutation_table(path: Path, rows: Iterable[ChangeEffects], regression: bool, label: str) -> int:
    """Writes a row for each change; returns how many there are.

    The columns are id, position (from 0, in the direction of the sequence), kind, ref and alt (letters that go and
    come), label, reference, changed, difference, and log_odds_ratio unless the model is a regression.
    """
    texts = [("id", pa.string()), ("position", pa.int32())] + [
        (name, pa.string()) for name in ("kind", "ref", "alt", "label")
    ]
    numbers = ["reference", "changed", "difference"] + ["log_odds_ratio"] * (not regression)
    schema = pa.schema([*texts, *((name, pa.float64()) for name in numbers)])
    total = 0
    with output_table(path, schema) as write:
        for group in groups(rows, lambda row: len(row.changes), _ROWS):
            told = [(*told, label) for row in group for told in _described(row)]
            columns: list[Sequence[object] | np.ndarray] = [*zip(*told, strict=True)] or [()] * len(texts)
            for name in numbers:
                own = [getattr(row, name) for row in group]
                wide = [np.broadcast_to(value, len(row.changes)) for value, row in zip(own, group, strict=True)]
                columns.append(np.concatenate(wide))
            write(record_batch(columns, schema))
            total += len(told)
    return total


def _described(row: ChangeEffects) -> Iterator[tuple[str, int, str, str, str]]:
    for change in row.changes:
        gone = decode_bases(row.sequence.codes[change.start : change.end])
        yield row.sequence.name, change.start, change.kind, gone, change.alternative
