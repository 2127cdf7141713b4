"""Scores of bases, such as `dnabert-jax attention` writes, as tracks of sequences."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.motifs.score_file import BaseScores, read_base_scores
from dnabert_jax.interpret.report.packing import packed
from dnabert_jax.sequence.vocabulary import BASES


def track_section(files: Mapping[str, Path], limit: int) -> dict[str, Any]:
    """The first sequences, and a track of each file; one with effects of substitutions has these too.

    Args:
        files: npz files of ids, bases, scores, offsets and perhaps effects, by the labels of their tracks.
        limit: most sequences.

    Raises:
        InputError: a file is none such, or has other sequences than the first.
    """
    tracks: list[dict[str, Any]] = []
    first: BaseScores | None = None
    text = ""
    for label, path in files.items():
        scores = read_base_scores(path)
        bases, effects = _bases_and_effects(path, len(scores.scores))
        if first is None:
            first, text = scores, bases
        elif scores.names != first.names or bases != text:
            raise InputError(
                f"{path} has scores of other sequences than {first.source}: tracks of one report must be made of the "
                "same sequences."
            )
        end = int(scores.offsets[min(limit, len(scores.names))])
        track: dict[str, Any] = {"label": label, "file": str(path), "scores": packed(scores.scores[:end])}
        if effects is not None:
            track["effects"] = packed(effects[:end])
        tracks.append(track)
    if first is None or not first.names:
        raise InputError("There are no sequences in the files of scores.")
    places = zip(first.names[:limit], first.offsets[:-1], first.offsets[1:], strict=False)
    sequences = [{"id": name, "bases": text[start:end]} for name, start, end in places]
    return {"sequences": sequences, "total": len(first.names), "tracks": tracks}


def _bases_and_effects(path: Path, count: int) -> tuple[str, np.ndarray | None]:
    """The letters of all bases, and [count, 4] effects of A, C, G and T in their place, if there are any."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if "bases" not in file.files:
                raise InputError(f"{path} has no array bases, only {', '.join(file.files)}: make it anew.")
            letters = file["bases"]
            effects = file["effects"] if "effects" in file.files else None
        text = "".join(letters.astype("U1").tolist())
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if letters.shape != (count,) or set(text) - set(f"{BASES}N"):
        raise InputError(f"The bases of {path} are not {count:,} letters of {BASES}N, one for each score.")
    if effects is not None and (effects.shape != (count, 4) or not np.isfinite(effects).all()):
        raise InputError(f"The effects of {path}, {effects.shape}, are not four finite numbers for each base.")
    return text, effects
