"""Scores of bases, such as `dnabert-jax attention` writes, as tracks of sequences."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.report.page import packed
from dnabert_jax.interpret.score_file import ScoreFile, read_score_file


def track_section(files: Mapping[str, Path], limit: int) -> dict[str, Any]:
    """The first sequences, and a track of each file; one with effects of substitutions has these too.

    Args:
        files: npz files of ids, bases, scores, offsets and perhaps effects, by the labels of their tracks.
    """
    tracks: list[dict[str, Any]] = []
    first: ScoreFile | None = None
    for label, path in files.items():
        scores = read_score_file(path, with_bases=True)
        if first is None:
            first = scores
        elif scores.names != first.names or scores.bases != first.bases:
            raise InputError(
                f"{path} has scores of other sequences than {first.source}: tracks of one report must be made of the "
                "same sequences."
            )
        end = int(scores.offsets[min(limit, len(scores.names))])
        title = f"{label}, label {scores.label}" if scores.label else label
        track: dict[str, Any] = {"label": title, "file": str(path), "scores": packed(scores.scores[:end])}
        if scores.effects is not None:
            track["effects"] = packed(scores.effects[:end])
        tracks.append(track)
    if first is None or not first.names:
        raise InputError("There are no sequences in the files of scores.")
    places = zip(first.names[:limit], first.offsets[:-1], first.offsets[1:], strict=False)
    sequences = [{"id": name, "bases": first.bases[start:end]} for name, start, end in places]
    return {"sequences": sequences, "total": len(first.names), "tracks": tracks}
