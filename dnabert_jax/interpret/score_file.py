"""Scores of the bases of sequences, such as `dnabert-jax attention` writes, found again by the sequences' names."""

import dataclasses
import errno
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from dnabert_jax.errors import InputError
from dnabert_jax.io.text import valid_unicode
from dnabert_jax.sequence.bases import BASE_ORDER, BASES

_OPTIONAL = ("effects", "label")


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

    def of(self, names: Sequence[str], lengths: Int64[np.ndarray, " n"]) -> list[Float32[np.ndarray, " _"]]:
        """The scores of sequences of these names and lengths, which may be some of those in the file, in any order."""
        rows: Sequence[int] = range(len(names))
        names = tuple(map(valid_unicode, names))
        if names != self.names:
            places = {name: row for row, name in enumerate(self.names)}
            if len(places) < len(self.names):
                twice = next(name for row, name in enumerate(self.names) if places[name] != row)
                raise InputError(
                    f"{self.source} has scores of several sequences named {twice!r}, so the sequences must be the same "
                    "ones in the same order: give those that the scores were made of."
                )
            if missing := next((name for name in names if name not in places), None):
                raise InputError(
                    f"{self.source} has no scores of the sequence {missing!r}: make the scores of these sequences."
                )
            rows = [places[name] for name in names]
        found = [self.scores[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        for name, own, length in zip(names, found, lengths, strict=True):
            if len(own) != length:
                raise InputError(
                    f"{self.source} has {len(own):,} scores of the sequence {name!r}, which has {length:,} bases: "
                    "give the sequences that the scores were made of."
                )
        return found


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
    """These of a file, of which those in `_OPTIONAL` may be missing."""
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
            return arrays | {name: array.astype("U1") for name, array in arrays.items() if name == "bases"}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        # Of a damaged header, zipfile makes a RuntimeError, or seeks a place before the file; the rest is the disk's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        # What NumPy says is advice to programmers.
        raise InputError(
            f"{path} is no npz file of ids, scores and offsets, as `dnabert-jax attention` writes, or is damaged."
        ) from error
