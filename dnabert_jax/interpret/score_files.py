"""Scores of bases on disk: tables, npz files, which are read here too, bigWig tracks, and what tfmodisco-lite reads."""

import contextlib
import csv
import dataclasses
import errno
import itertools
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64, UInt8

from dnabert_jax.errors import InputError, JobError
from dnabert_jax.extras import require_extra
from dnabert_jax.io.bed import Interval
from dnabert_jax.io.npz_file import temporary_chunks, write_array, write_npz
from dnabert_jax.io.output_table import output_table, record_batch
from dnabert_jax.io.text import valid_unicode
from dnabert_jax.outputs import output_directory, output_file
from dnabert_jax.sequence.bases import BASE_ORDER, BASES, LETTERS, base_codes
from dnabert_jax.sequence.buckets import groups
from dnabert_jax.storage import scratch_directory

MODISCO_FILES = ("ohe.npz", "contributions.npz", "sequences.tsv")
"""What tfmodisco-lite reads: one-hot sequences and contributions, and the names of the sequences."""

_ROWS = 1 << 15
"""Of a row group of a table, and a sequence more."""
_BLOCK = 1 << 20
"""Bases that are in memory while a track is written."""
_BASE = np.dtype([("sum", np.float64), ("count", np.uint32)])
_OPTIONAL = ("effects", "label")


class BaseScores(NamedTuple):
    """The scores of a sequence.

    Attributes:
        effects: of substitutions, as of `Mutations`; none without mutagenesis.
    """

    name: str
    codes: UInt8[np.ndarray, " bases"]
    scores: Float32[np.ndarray, " bases"]
    effects: Float32[np.ndarray, "bases 4"] | None = None


def _finite(rows: Iterable[BaseScores]) -> Iterator[BaseScores]:
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
        for group in groups(_finite(rows), lambda row: len(row.codes), _ROWS):
            lengths = [len(row.codes) for row in group]
            arrays = [
                np.repeat(np.array([row.name for row in group], object), lengths),
                np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
                np.concatenate([LETTERS[row.codes] for row in group]).astype(str).astype(object),
                np.concatenate([row.scores for row in group]),
            ]
            if with_effects:
                joined = np.concatenate([row.effects for row in group if row.effects is not None])
                arrays += [np.ascontiguousarray(column) for column in joined.T]
            arrays += [np.full(sum(lengths), label, object)] * bool(label)
            write(record_batch(arrays, schema))
            total += sum(lengths)
    return total


def write_score_npz(path: Path, rows: Iterable[BaseScores], with_effects: bool, label: str = "") -> None:
    """Writes ids, bases (a letter each), scores, effects if there are any ([n, 4], of A, C, G and T), and offsets.

    Those of sequence i are `scores[offsets[i] : offsets[i + 1]]`, and so on. A label is written too.
    """
    arrays = {"bases": LETTERS.dtype, "scores": np.dtype(np.float32)}
    arrays |= {"effects": np.dtype((np.float32, len(BASE_ORDER)))} if with_effects else {}
    values = (
        (row.name, (LETTERS[row.codes], row.scores) + (() if row.effects is None else (row.effects,)))
        for row in _finite(rows)
    )
    with output_file(path) as file:
        write_npz(file, path.parent, values, arrays, by_position=True, label=label)


def write_score_track(
    path: Path, lengths: Mapping[str, int], rows: Iterable[BaseScores], intervals: Iterable[Interval]
) -> tuple[int, int]:
    """Writes a bigWig with a value for each base that an interval covers, the mean where several do.

    A bigWig is written in the order of the genome, and intervals come in any order: so the sum and the count of each
    base are in a sparse file on disk until the last interval is known. It is not mapped into memory, since writing
    there kills the process if the disk is full, and it is one file, as a genome may have more records than a process
    may open files.

    Args:
        lengths: of the records of the genome.
        rows: the scores of each interval, in its direction: from its end on the - strand.

    Returns:
        The number of bases that are covered, and of those that several intervals cover.
    """
    require_extra("bigwig", "A .bw file", "pyBigWig")
    import pyBigWig

    with output_file(path) as file, scratch_directory() as scratch, (scratch / "sums").open("w+b") as sums:
        firsts = dict(zip(lengths, itertools.accumulate(lengths.values(), initial=0), strict=False))
        sums.truncate(sum(lengths.values()) * _BASE.itemsize)
        # The rows first: the intervals may be read from a file that the rows are made of.
        for row, interval in zip(_finite(rows), intervals, strict=True):
            start = firsts[interval.contig] + interval.start
            summed = _read_sums(sums, start, len(row.scores)).copy()
            summed["sum"] += row.scores[::-1] if interval.strand == "-" else row.scores
            summed["count"] += 1
            sums.seek(start * _BASE.itemsize)
            sums.write(summed.tobytes())
        bases = shared = 0
        with contextlib.closing(pyBigWig.open(str(scratch / "track"), "w")) as track:
            track.addHeader(list(lengths.items()))
            for record, first in firsts.items():
                for start, covered in _runs(sums, first, first + lengths[record]):
                    values = covered["sum"] / covered["count"]
                    track.addEntries(record, start - first, values=values.astype(np.float32).tolist(), span=1, step=1)
                    bases, shared = bases + len(covered), shared + int((covered["count"] > 1).sum())
        with (scratch / "track").open("rb") as source:
            shutil.copyfileobj(source, file, _BLOCK)
    return bases, shared


def _read_sums(sums: IO[bytes], start: int, count: int) -> np.ndarray:
    sums.seek(start * _BASE.itemsize)
    return np.frombuffer(sums.read(count * _BASE.itemsize), _BASE)


def _runs(sums: IO[bytes], begin: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the start and the sums of each run of covered bases from begin to stop, cut where a block ends."""
    for first in range(begin, stop, _BLOCK):
        block = _read_sums(sums, first, min(_BLOCK, stop - first))
        edges = np.flatnonzero(np.diff(block["count"] > 0, prepend=False, append=False))
        for start, end in edges.reshape(-1, 2):
            yield first + int(start), block[start:end]


def write_modisco_input(directory: Path, rows: Iterable[BaseScores]) -> tuple[int, int]:
    """Writes a directory of what tfmodisco-lite reads, in constant memory: `ohe.npz` and `contributions.npz`.

    Each has an array arr_0, [N, 4, L], bases in the order A, C, G, T: one-hot sequences and hypothetical contributions.
    tfmodisco multiplies the two for what each base that is there contributes. After mutagenesis, the contribution of a
    base in a place is the output with it less the mean output over the four; else it is the score where the base is
    there, and 0 elsewhere.

    Sequences begin at the first column, and zeros follow them. L is even, as tfmodisco cuts an even number of columns
    from the middle, and known when the last sequence is, so the arrays wait in temporary files. Row n of
    `sequences.tsv`, id and bases, is example n.

    Returns:
        L, and how many sequences have fewer than L - 1 bases, and so two or more columns of zeros at their end.
    """
    columns, (one_hot, contributions, names) = base_codes(BASE_ORDER.encode()), MODISCO_FILES
    kinds: dict[str, np.dtype] = {one_hot: np.dtype(np.int8), contributions: np.dtype(np.float32)}
    lengths: Counter[int] = Counter()
    with output_directory(directory, contributions) as partial, temporary_chunks(partial, len(kinds)) as chunks:
        with (partial / names).open("w", newline="", encoding="utf-8", errors="surrogateescape") as table:
            write_name = csv.writer(table, delimiter="\t", lineterminator="\n").writerow
            write_name(("id", "bases"))
            for name, codes, scores, effects in _finite(rows):
                write_name((name, len(codes)))
                lengths[len(codes)] += 1
                present = codes[:, None] == columns
                contributed = np.where(present, scores[:, None], np.float32(0))
                if effects is not None:
                    contributed = effects - effects.mean(axis=1, keepdims=True)
                for values, written, kind in zip((present, contributed), chunks, kinds.values(), strict=True):
                    written.append(values.astype(kind).tobytes())
        longest = max(lengths, default=0)
        length = longest + longest % 2
        for written, (name, kind) in zip(chunks, kinds.items(), strict=True):
            padded = (_padded(chunk, kind, length) for chunk in written)
            with zipfile.ZipFile(partial / name, "w", zipfile.ZIP_STORED) as archive:
                write_array(archive, "arr_0", kind, (lengths.total(), len(BASE_ORDER), length), padded)
    return length, sum(lengths[bases] for bases in lengths if bases < length - 1)


def _padded(chunk: bytes, dtype: np.dtype, length: int) -> bytes:
    """Returns the [bases, 4] of a sequence as [4, length]."""
    values = np.frombuffer(chunk, dtype).reshape(-1, len(BASE_ORDER)).T
    return np.pad(values, ((0, 0), (0, length - values.shape[1]))).tobytes()


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreFile:
    """A number for each base of each sequence: those of sequence i are `scores[offsets[i] : offsets[i + 1]]`.

    Attributes:
        offsets: of each sequence in scores, and their end.
        bases: letters of all, if they were asked for.
        effects: of substitutions by A, C, G and T, if the bases were asked for and the file has them.
        label: of the model, of which the scores are; empty if the bases were not asked for or the file names none.
    """

    source: str
    names: tuple[str, ...]
    scores: Float32[np.ndarray, " bases"]
    offsets: Int64[np.ndarray, " ends"]
    bases: str = ""
    effects: Float32[np.ndarray, "bases 4"] | None = None
    label: str = ""

    def by_name(self, names: Sequence[str], lengths: Int64[np.ndarray, " n"]) -> list[Float32[np.ndarray, " _"]]:
        """Returns the scores of sequences of these names and lengths, which may be some of the file's in any order."""
        rows: Sequence[int] = range(len(names))
        names = tuple(map(valid_unicode, names))
        if names != self.names:
            numbers = {name: row for row, name in enumerate(self.names)}
            if len(numbers) < len(self.names):
                twice = next(name for row, name in enumerate(self.names) if numbers[name] != row)
                raise InputError(
                    f"{self.source} has scores of several sequences named {twice!r}, so the sequences must be the same "
                    "ones in the same order: give those that the scores were made of."
                )
            if missing := next((name for name in names if name not in numbers), None):
                raise InputError(
                    f"{self.source} has no scores of the sequence {missing!r}: make the scores of these sequences."
                )
            rows = [numbers[name] for name in names]
        scores = [self.scores[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        for name, values, length in zip(names, scores, lengths, strict=True):
            if len(values) != length:
                raise InputError(
                    f"{self.source} has {len(values):,} scores of the sequence {name!r}, which has {length:,} bases: "
                    "give the sequences that the scores were made of."
                )
        return scores


def read_score_file(path: Path, with_bases: bool = False) -> ScoreFile:
    """Reads an npz file of `ids`, `scores` and `offsets`, with bases also `bases`, `effects` and `label`."""
    more = ["bases", *_OPTIONAL] if with_bases else []
    arrays = _arrays(path, ["ids", "scores", "offsets", *more])
    ids, scores, offsets = arrays["ids"], arrays["scores"], arrays["offsets"]
    bases = "".join(arrays["bases"].ravel().tolist()) if with_bases else ""
    effects = arrays.get("effects")
    numbers = np.issubdtype(scores.dtype, np.floating) and np.issubdtype(offsets.dtype, np.integer)
    if not numbers or (ids.ndim, scores.ndim) != (1, 1) or offsets.shape != (len(ids) + 1,):
        raise InputError(
            f"{path} has ids {ids.shape}, scores {scores.shape} and offsets {offsets.shape}: expected [N], "
            "floating-point [bases] and integer [N + 1]."
        )
    # Before they are compared: unsigned ones have no negative differences, and large numbers are infinite.
    offsets = offsets.astype(np.int64)
    with np.errstate(over="ignore"):
        scores = scores.astype(np.float32)
    if offsets[0] != 0 or offsets[-1] != len(scores) or (np.diff(offsets) < 0).any():
        raise InputError(f"The offsets of {path} do not divide its {len(scores):,} scores among its sequences.")
    if not np.isfinite(scores).all():
        place = int(np.argmin(np.isfinite(scores)))
        name = ids[np.searchsorted(offsets, place, "right") - 1]
        raise InputError(f"{path} has a score that is not finite, {scores[place]}, in the sequence {str(name)!r}.")
    if with_bases and (len(bases) != len(scores) or set(bases) - set(f"{BASES}N")):
        raise InputError(f"The bases of {path} are not {len(scores):,} letters of {BASES}N, one for each score.")
    if effects is not None:
        numbers = effects.dtype.kind in "fiu" and effects.shape == (len(scores), len(BASE_ORDER))
        with np.errstate(over="ignore"):
            effects = effects.astype(np.float32) if numbers else effects
        if not numbers or not np.isfinite(effects).all():
            raise InputError(f"The effects of {path}, {effects.shape}, are not four finite numbers for each base.")
    label = str(arrays.get("label", ""))
    return ScoreFile(str(path), tuple(map(str, ids)), scores, offsets, bases, effects, label)


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns these arrays of a file, of which those in `_OPTIONAL` may be missing."""
    if not path.is_file():
        raise InputError(f"{path} is not a file on disk.")
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise InputError(f"{path} is one array: give an npz file of ids, scores and offsets.")
        with loaded as file:
            if missing := set(names) - {*_OPTIONAL, *file.files}:
                raise InputError(f"{path} has no array {' or '.join(sorted(missing))}, only {', '.join(file.files)}.")
            arrays = {name: file[name] for name in names if name in file.files}
            return arrays | ({"bases": arrays["bases"].astype("U1")} if "bases" in arrays else {})
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        # Of a damaged header, zipfile makes a RuntimeError, or seeks a place before the file; the rest is the disk's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        # What NumPy says is advice to programmers.
        raise InputError(
            f"{path} is no npz file of ids, scores and offsets, as `dnabert-jax attention` writes, or is damaged."
        ) from error
