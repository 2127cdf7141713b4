"""Scores of bases as what tfmodisco-lite reads: one-hot sequences and hypothetical contributions, each an npz.

It takes arrays [N, 4, L] named arr_0, bases in the order A, C, G, T, and multiplies the two for what each base that is
there contributes. L is known when the last sequence is, so what is written waits in temporary files.
N sequences, L bases of the longest.
"""

import contextlib
import csv
import functools
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from dnabert_jax.interpret.base_scores import BaseScores, finite
from dnabert_jax.interpret.changes import COLUMN_CODES
from dnabert_jax.io.npz_file import add_array
from dnabert_jax.output_directory import output_directory
from dnabert_jax.sequence.bases import BASE_ORDER

ONE_HOT_FILE, CONTRIBUTIONS_FILE, SEQUENCES_FILE = "ohe.npz", "contributions.npz", "sequences.tsv"

_DTYPES: dict[str, np.dtype] = {ONE_HOT_FILE: np.dtype(np.int8), CONTRIBUTIONS_FILE: np.dtype(np.float32)}


class ModiscoInput(NamedTuple):
    """What was written.

    Attributes:
        length: L, which is even.
        shorter: how many sequences have fewer than L - 1 bases, and so two or more columns of zeros at their end.
    """

    sequences: int
    length: int
    shorter: int


def write_modisco_input(directory: Path, rows: Iterable[BaseScores]) -> ModiscoInput:
    """Writes a directory of `ohe.npz`, `contributions.npz` and, for the names, `sequences.tsv`, in constant memory.

    Sequences begin at the first column, and zeros follow them. L is even, as tfmodisco cuts an even number of columns
    from the middle. Row n of sequences.tsv, id and bases, is its example n.
    """
    with output_directory(directory, CONTRIBUTIONS_FILE) as partial, contextlib.ExitStack() as files:
        # They have no names, so that nothing is left of them however the process ends.
        kept = [files.enter_context(tempfile.TemporaryFile(dir=partial)) for _ in _DTYPES]
        table = files.enter_context(
            (partial / SEQUENCES_FILE).open("w", newline="", encoding="utf-8", errors="surrogateescape")
        )
        write_name = csv.writer(table, delimiter="\t", lineterminator="\n").writerow
        write_name(("id", "bases"))
        lengths: dict[int, int] = {}
        for row in finite(rows):
            bases = len(row.codes)
            write_name((row.name, bases))
            lengths[bases] = lengths.get(bases, 0) + 1
            present = row.codes[:, None] == COLUMN_CODES
            for file, values, dtype in zip(kept, (present, contributions(row, present)), _DTYPES.values(), strict=True):
                file.write(np.int64(bases).tobytes() + values.astype(dtype).tobytes())
        count, longest = sum(lengths.values()), max(lengths, default=0)
        length = longest + longest % 2
        for file, (name, dtype) in zip(kept, _DTYPES.items(), strict=True):
            with zipfile.ZipFile(partial / name, "w", zipfile.ZIP_STORED) as archive:
                fill = functools.partial(_copy_padded, file, dtype, length)
                add_array(archive, "arr_0", dtype, (count, len(BASE_ORDER), length), fill)
    return ModiscoInput(count, length, sum(own for bases, own in lengths.items() if bases < length - 1))


def contributions(row: BaseScores, present: Bool[np.ndarray, "bases 4"]) -> Float32[np.ndarray, "bases 4"]:
    """Of each base in each place: after mutagenesis, the output with it less the mean output over the four.

    Without effects of substitutions, the score where the base is there, else 0.
    """
    if row.effects is None:
        return np.where(present, row.scores[:, None], np.float32(0))
    return row.effects - row.effects.mean(axis=1, keepdims=True)


def _copy_padded(source: IO[bytes], dtype: np.dtype, length: int, target: Any) -> None:
    """Writes each sequence's [bases, 4] as [4, length]."""
    source.seek(0)
    while size := source.read(8):
        bases = int.from_bytes(size, "little")
        padded = np.zeros((len(BASE_ORDER), length), dtype)
        padded[:, :bases] = (
            np.frombuffer(source.read(bases * len(BASE_ORDER) * dtype.itemsize), dtype).reshape(bases, -1).T
        )
        target.write(padded.tobytes())
