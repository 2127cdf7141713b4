"""A directory of `dnabert-jax motifs`: matrices, rows of the table, and instances on the sequences shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.io.meme import read_meme
from dnabert_jax.io.text import numbered_lines

_FILES = ("motifs.tsv", "motifs.meme", "instances.bed")
_MATCHES = "matches.tsv"
_BED_FIELDS = 8
_DIGITS = 6
_MATCH_COLUMNS_FIRST = ("target_name", "q_value")
"""A narrow card shows these without scrolling."""


def motif_section(directory: Path, sequences: Sequence[str]) -> dict[str, Any]:
    """Returns the motifs in the order of the table, and the instances on some sequences.

    Args:
        directory: with motifs.tsv, motifs.meme, instances.bed, and perhaps matches.tsv.
    """
    for name in _FILES:
        if not (directory / name).is_file():
            raise InputError(f"{directory} has no {name}: give a directory that `dnabert-jax motifs` wrote.")
    columns, rows = _read_tsv(directory / "motifs.tsv")
    # If nothing is enriched, both files are without motifs.
    known = read_meme(directory / "motifs.meme")[0] if rows else {}
    matrices = {motif_id: np.round(matrix, _DIGITS).tolist() for (motif_id, _), matrix in known.items()}
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
        by_motif: dict[str, list[list[str]]] = {}
        for motif, *facts in match_rows:
            by_motif.setdefault(motif, []).append(facts)
        section["matches"] = {"columns": match_columns[1:], "rows": by_motif}
    return section


def _read_tsv(path: Path) -> tuple[list[str], list[list[str]]]:
    columns, *rows = [line.split("\t") for _, line in numbered_lines(path)] or [[""]]
    if columns[0] != "motif":
        raise InputError(f"{path} is not a table whose first column is 'motif', but {columns[0]!r}.")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise InputError(f"{path}, line {number}, has {len(row)} values: its header has {len(columns)}.")
    return columns, rows


def _read_instances(
    path: Path, motifs: Mapping[str, int], sequences: Sequence[str]
) -> tuple[list[dict[str, Any]], int]:
    """Returns the instances on these sequences and the number of all; coordinates count from 0, ends excluded."""
    # Several sequences may have one name: the instances are then on the first of them.
    rows = {name: row for row, name in reversed(list(enumerate(sequences)))}
    instances, total = [], 0
    for number, line in numbered_lines(path):
        try:
            name, start, end, motif, _, strand, core_start, core_end = line.split("\t")[:_BED_FIELDS]
            places = [int(place) for place in (start, end, core_start, core_end)]
            instance = {"motif": motifs[motif], "strand": strand, "places": places}
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{path}, line {number}, is not an instance, in {_BED_FIELDS} columns, of a motif in motifs.tsv."
            ) from error
        total += 1
        if name in rows:
            instances.append({"sequence": rows[name], **instance})
    return instances, total
