"""Scores of bases as what tfmodisco-lite reads: one-hot sequences and hypothetical contributions, each an npz.

It takes arrays [N, 4, L] named arr_0, bases in the order A, C, G, T, and multiplies the two for what each base that is
there contributes. L is known when the last sequence is, so what is written waits in temporary files.
N sequences, L bases of the longest.
"""

import csv
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from dnabert_jax.interpret.base_scores import BaseScores, finite
from dnabert_jax.interpret.changes import COLUMN_CODES
from dnabert_jax.io.npz_file import temporary_chunks, write_array
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
    with output_directory(directory, CONTRIBUTIONS_FILE) as partial:
        lengths: Counter[int] = Counter()
        with (
            temporary_chunks(partial, len(_DTYPES)) as files,
            (partial / SEQUENCES_FILE).open("w", newline="", encoding="utf-8", errors="surrogateescape") as table,
        ):
            write_name = csv.writer(table, delimiter="\t", lineterminator="\n").writerow
            write_name(("id", "bases"))
            for row in finite(rows):
                write_name((row.name, len(row.codes)))
                lengths[len(row.codes)] += 1
                present = row.codes[:, None] == COLUMN_CODES
                arrays = (present, contributions(row, present))
                for chunks, values, dtype in zip(files, arrays, _DTYPES.values(), strict=True):
                    chunks.append(values.astype(dtype).tobytes())
            longest = max(lengths, default=0)
            length = longest + longest % 2
            for chunks, (name, dtype) in zip(files, _DTYPES.items(), strict=True):
                with zipfile.ZipFile(partial / name, "w", zipfile.ZIP_STORED) as archive:
                    shape = (lengths.total(), len(BASE_ORDER), length)
                    write_array(archive, "arr_0", dtype, shape, (_padded(chunk, dtype, length) for chunk in chunks))
    return ModiscoInput(lengths.total(), length, sum(lengths[bases] for bases in lengths if bases < length - 1))


def contributions(row: BaseScores, present: Bool[np.ndarray, "bases 4"]) -> Float32[np.ndarray, "bases 4"]:
    """Of each base in each place: after mutagenesis, the output with it less the mean output over the four.

    Without effects of substitutions, the score where the base is there, else 0.
    """
    if row.effects is None:
        return np.where(present, row.scores[:, None], np.float32(0))
    return row.effects - row.effects.mean(axis=1, keepdims=True)


def _padded(chunk: bytes, dtype: np.dtype, length: int) -> bytes:
    """Returns the [bases, 4] of a sequence as [4, length]."""
    values = np.frombuffer(chunk, dtype).reshape(-1, len(BASE_ORDER)).T
    return np.pad(values, ((0, 0), (0, length - values.shape[1]))).tobytes()
