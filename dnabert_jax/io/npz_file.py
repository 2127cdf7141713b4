"""Arrays of named sequences as an npz that numpy opens, written as they come.

Headers state sizes that come last, so the arrays are in temporary files until all is there.
"""

import contextlib
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from dnabert_jax.io.text import valid_unicode


class Chunks:
    """Bytes in a temporary file, which are read in the pieces in which they were written."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def append(self, chunk: bytes) -> None:
        self._file.write(np.int64(len(chunk)).tobytes() + chunk)

    def __iter__(self) -> Iterator[bytes]:
        """Yields the pieces in order."""
        self._file.seek(0)
        while size := self._file.read(8):
            yield self._file.read(int.from_bytes(size, "little"))


@contextlib.contextmanager
def temporary_chunks(directory: Path, count: int) -> Iterator[list[Chunks]]:
    """Yields as many `Chunks`, of files that have no names: nothing is left of them however the process ends."""
    with contextlib.ExitStack() as files:
        yield [Chunks(files.enter_context(tempfile.TemporaryFile(dir=directory))) for _ in range(count)]


def write_npz(
    file: IO[bytes],
    scratch: Path,
    sequences: Iterable[tuple[str, tuple[np.ndarray, ...]]],
    arrays: Mapping[str, np.dtype],
    by_position: bool,
    label: str = "",
) -> int:
    """Writes `ids` (text), the arrays, `offsets` by position, and any `label`; returns how many sequences there are.

    A row of an array is a number, or a dtype such as `np.dtype((np.float32, 4))` has its shape.
    By position, those of sequence i are rows `offsets[i] : offsets[i + 1]` of each array; else it has one row.

    Args:
        scratch: directory with room for as much again.
        by_position: whether a sequence may have any number of rows, of each array the same.
        label: of the model, of which the arrays are.
    """
    with temporary_chunks(scratch, 2 + len(arrays)) as (names, ends, *values):
        count = total = longest = 0
        ends.append(np.int64(0).tobytes())
        for name, rows in sequences:
            letters = valid_unicode(name).encode("utf-32-le")
            names.append(letters)
            for chunks, array, kind in zip(values, rows, arrays.values(), strict=True):
                chunks.append(np.ascontiguousarray(array, kind.base).tobytes())
            count, total, longest = count + 1, total + (len(rows[0]) if by_position else 1), max(longest, len(letters))
            ends.append(np.int64(total).tobytes())
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            text = np.dtype(("<U", max(longest // 4, 1)))
            write_array(archive, "ids", text, (count,), (letters.ljust(text.itemsize, b"\0") for letters in names))
            for chunks, (name, kind) in zip(values, arrays.items(), strict=True):
                write_array(archive, name, kind.base, (total, *kind.shape), chunks)
            if by_position:
                write_array(archive, "offsets", np.dtype(np.int64), (count + 1,), ends)
            if label:
                entry = np.array(valid_unicode(label))
                write_array(archive, "label", entry.dtype, (), [entry.tobytes()])
    return count


def write_array(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...], chunks: Iterable[bytes]
) -> None:
    """Writes an array, whose values the chunks hold in C order, as numpy's savez does."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as target:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(target, header)
        for chunk in chunks:
            target.write(chunk)
