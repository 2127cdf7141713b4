"""Arrays of named sequences as an npz that numpy opens, written as they come.

Headers state sizes that come last, so the arrays are in temporary files until all is there.
"""

import contextlib
import functools
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dnabert_jax.io.text import valid_unicode

_COPY_BYTES = 1 << 20


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
    with contextlib.ExitStack() as files:
        # They have no names, so that nothing is left of them however the process ends.
        names, ends, *values = (
            files.enter_context(tempfile.TemporaryFile(dir=scratch)) for _ in range(2 + len(arrays))
        )
        count = total = longest = 0
        ends.write(np.int64(0).tobytes())
        for name, own in sequences:
            letters = valid_unicode(name).encode("utf-32-le")
            names.write(np.int64(len(letters)).tobytes() + letters)
            for target, rows, kind in zip(values, own, arrays.values(), strict=True):
                target.write(np.ascontiguousarray(rows, kind.base).tobytes())
            count, total, longest = count + 1, total + (len(own[0]) if by_position else 1), max(longest, len(letters))
            ends.write(np.int64(total).tobytes())
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            text = np.dtype(("<U", max(longest // 4, 1)))
            add_array(archive, "ids", text, (count,), lambda target: _copy_padded(names, target, text.itemsize))
            for source, (name, kind) in zip(values, arrays.items(), strict=True):
                add_array(archive, name, kind.base, (total, *kind.shape), functools.partial(_copy, source))
            if by_position:
                add_array(archive, "offsets", np.dtype(np.int64), (count + 1,), lambda target: _copy(ends, target))
            if label:
                entry = np.array(valid_unicode(label))
                add_array(archive, "label", entry.dtype, (), lambda target: target.write(entry.tobytes()))
    return count


def add_array(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...], fill: Callable[[Any], None]
) -> None:
    """Writes an array, whose values `fill` writes, in C order, as numpy's savez does."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as target:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(target, header)
        fill(target)


def _copy(source: IO[bytes], target: Any) -> None:
    source.seek(0)
    shutil.copyfileobj(source, target, _COPY_BYTES)


def _copy_padded(source: IO[bytes], target: Any, size: int) -> None:
    source.seek(0)
    while length := source.read(8):
        target.write(source.read(int.from_bytes(length, "little")).ljust(size, b"\0"))
