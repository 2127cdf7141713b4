"""A directory of `dnabert-jax motifs`: matrices, rows of the table, and instances on the sequences shown."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnabert_jax.errors import InputError

_FILES = ("motifs.tsv", "motifs.meme", "instances.bed")
_MATCHES = "matches.tsv"
_BED_FIELDS = 8
_MATCH_COLUMNS_FIRST = ("target_name", "q_value")
"""A narrow card shows these without scrolling."""


def motif_section(directory: Path, sequences: Sequence[str]) -> dict[str, Any]:
    """Motifs in the order of the table, and instances on some sequences.

    Args:
        directory: with motifs.tsv, motifs.meme, instances.bed, and perhaps matches.tsv.
        sequences: ids of those that are shown.

    Raises:
        InputError: a file is missing, or is not as that command writes it.
    """
    for name in _FILES:
        if not (directory / name).is_file():
            raise InputError(f"{directory} has no {name}: give a directory that `dnabert-jax motifs` wrote.")
    try:
        return _section(directory, sequences)
    except UnicodeDecodeError as error:
        raise InputError(f"A file in {directory} is no text: {error}.") from error


def _section(directory: Path, sequences: Sequence[str]) -> dict[str, Any]:
    matrices = _read_meme(directory / "motifs.meme")
    columns, rows = _read_tsv(directory / "motifs.tsv")
    motifs = []
    for row in rows:
        if row[0] not in matrices:
            raise InputError(f"{directory / 'motifs.meme'} has no motif {row[0]!r}, which motifs.tsv has.")
        motifs.append({"name": row[0], "facts": row[1:], "matrix": matrices[row[0]]})
    places = {str(motif["name"]): place for place, motif in enumerate(motifs)}
    instances, total = _read_instances(directory / "instances.bed", places, sequences)
    section = {"columns": columns[1:], "motifs": motifs, "instances": instances, "total": total}
    if (directory / _MATCHES).is_file():
        match_columns, match_rows = _read_tsv(directory / _MATCHES)
        first = [match_columns.index(name) for name in _MATCH_COLUMNS_FIRST if name in match_columns]
        order = [0, *first, *(place for place in range(1, len(match_columns)) if place not in first)]
        match_columns, *match_rows = ([row[place] for place in order] for row in (match_columns, *match_rows))
        section["matches"] = {"columns": match_columns[1:], "rows": _by_first(match_rows)}
    return section


def _read_tsv(path: Path) -> tuple[list[str], list[list[str]]]:
    columns, *rows = [
        line.split("\t") for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    ] or [[""]]
    if columns[0] != "motif":
        raise InputError(f"{path} is no table whose first column is 'motif'.")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise InputError(f"{path}, line {number}, has {len(row)} values: its header has {len(columns)}.")
    return columns, rows


def _by_first(rows: Sequence[Sequence[str]]) -> dict[str, list[Sequence[str]]]:
    found: dict[str, list[Sequence[str]]] = {}
    for first, *rest in rows:
        found.setdefault(first, []).append(rest)
    return found


def _read_meme(path: Path) -> dict[str, list[list[float]]]:
    """Rows of the probabilities of A, C, G and T, by the motif's name."""
    found: dict[str, list[list[float]]] = {}
    try:
        for part in re.split(
            r"^MOTIF[ \t]+(?=\S)", path.read_text(encoding="utf-8", errors="surrogateescape"), flags=re.MULTILINE
        )[1:]:
            heading, _, matrix = re.split(r"^(letter-probability matrix:.*)\n", part, maxsplit=1, flags=re.MULTILINE)
            rows = [list(map(float, line.split())) for line in matrix.splitlines() if line.strip()]
            if not rows or any(len(row) != len("ACGT") or not 0 <= min(row) <= max(row) <= 1 for row in rows):
                raise InputError(f"{path} has a motif, {heading.split()[0]}, without probabilities of four bases.")
            found[heading.split()[0]] = rows
    except ValueError as error:
        raise InputError(f"{path} is not in MEME's minimal format: {error}.") from error
    return found


def _read_instances(
    path: Path, motifs: Mapping[str, int], sequences: Sequence[str]
) -> tuple[list[dict[str, Any]], int]:
    """Those on the sequences, and how many there are in all. Coordinates are from 0, ends not included."""
    # Several sequences may have one name: the instances are then on the first of them.
    rows = {name: row for row, name in reversed(list(enumerate(sequences)))}
    found, total = [], 0
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            fields = line.rstrip("\n").split("\t")
            try:
                name, start, end, motif, _, strand, core_start, core_end = fields[:_BED_FIELDS]
                places = [int(place) for place in (start, end, core_start, core_end)]
                own = {"motif": motifs[motif], "strand": strand, "places": places}
            except (ValueError, KeyError) as error:
                raise InputError(
                    f"{path}, line {number}, is no instance of a motif in motifs.tsv, of {_BED_FIELDS} columns."
                ) from error
            total += 1
            if name in rows:
                found.append({"sequence": rows[name], **own})
    return found, total
