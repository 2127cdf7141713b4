"""Reads what other commands have written into the JSON of the page, a section at a time."""

import dataclasses
import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.report.page import packed
from dnabert_jax.interpret.score_files import ScoreFile, read_score_file
from dnabert_jax.io.meme import read_meme
from dnabert_jax.io.tables import Table, open_table
from dnabert_jax.io.text import numbered_lines
from dnabert_jax.tasks.measures.curves import CURVES_FILE, Curves
from dnabert_jax.tasks.measures.results import RESULT_FILE, Result, confusion_table, origin, over_seeds
from dnabert_jax.tasks.suites.suite import METHODS
from dnabert_jax.typed_json import read_json

_MOTIF_FILES = ("motifs.tsv", "motifs.meme", "instances.bed")
_BED_FIELDS = 8
_MATCH_COLUMNS_FIRST = ("target_name", "q_value")
"""A narrow card shows these without scrolling."""

_ALWAYS_TEXT = frozenset({"contig", "id", "ref", "alt", "label", "left_out", "name", "seeds"})
"""Columns whose values are names even where all of them happen to be digits, as of contigs."""
_NO_EFFECTS = frozenset({"position", "reference", "alternative"})
"""Numbers of `dnabert-jax variants` by whose size no variant is chosen."""
_MISSING = frozenset({"", ".", "nan", "NaN"})


def track_section(files: Mapping[str, Path], limit: int) -> dict[str, Any]:
    """Returns the first sequences, and a track of each file; one with effects of substitutions has these too.

    Args:
        files: npz files of ids, bases, scores, offsets and perhaps effects, by the labels of their tracks.
    """
    first: ScoreFile | None = None
    tracks = []
    for label, path in files.items():
        scores = read_score_file(path, with_bases=True)
        first = first or scores
        if scores.names != first.names or scores.bases != first.bases:
            raise InputError(
                f"{path} has scores of other sequences than {first.source}: tracks of one report must be made of the "
                "same sequences."
            )
        end = int(scores.offsets[min(limit, len(scores.names))])
        title = f"{label}, label {scores.label}" if scores.label else label
        track = {"label": title, "file": str(path), "scores": packed(scores.scores[:end])}
        if scores.effects is not None:
            track["effects"] = packed(scores.effects[:end])
        tracks.append(track)
    if first is None or not first.names:
        raise InputError("There are no sequences in the files of scores.")
    places = zip(first.names[:limit], first.offsets[:-1], first.offsets[1:], strict=False)
    sequences = [{"id": name, "bases": first.bases[start:end]} for name, start, end in places]
    return {"sequences": sequences, "total": len(first.names), "tracks": tracks}


def motif_section(directory: Path, sequences: Sequence[str]) -> dict[str, Any]:
    """Returns the motifs in the order of the table, and the instances on some sequences.

    Args:
        directory: of `dnabert-jax motifs`, with motifs.tsv, motifs.meme, instances.bed, and perhaps matches.tsv.
    """
    for name in _MOTIF_FILES:
        if not (directory / name).is_file():
            raise InputError(f"{directory} has no {name}: give a directory that `dnabert-jax motifs` wrote.")
    columns, rows = _read_tsv(directory / "motifs.tsv")
    # If nothing is enriched, both files are without motifs.
    known = read_meme(directory / "motifs.meme")[0] if rows else {}
    matrices = {motif_id: np.round(matrix, 6).tolist() for (motif_id, _), matrix in known.items()}
    motifs = []
    for name, *facts in rows:
        if name not in matrices:
            raise InputError(f"{directory / 'motifs.meme'} has no motif {name!r}, which motifs.tsv has.")
        motifs.append({"name": name, "facts": facts, "matrix": matrices[name]})
    places = {name: place for place, (name, *_) in enumerate(rows)}
    instances, total = _read_instances(directory / "instances.bed", places, sequences)
    section = {"columns": columns[1:], "motifs": motifs, "instances": instances, "total": total}
    matches = directory / "matches.tsv"
    if matches.is_file():
        columns, rows = _read_tsv(matches)
        first = [columns.index(name) for name in _MATCH_COLUMNS_FIRST if name in columns]
        order = [*first, *(place for place in range(1, len(columns)) if place not in first)]
        by_motif: dict[str, list[list[str]]] = {}
        for row in rows:
            by_motif.setdefault(row[0], []).append([row[place] for place in order])
        section["matches"] = {"columns": [columns[place] for place in order], "rows": by_motif}
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


def result_section(directory: Path) -> dict[str, Any]:
    """Returns the result of a fine-tuning or a suite; raises InputError if the directory has none that can be read."""
    if (directory / RESULT_FILE).is_file():
        return _finetuned(directory)
    files = [directory / f"{name}.tsv" for name in METHODS]
    tables = [{"name": path.stem, **column_table(path)} for path in files if path.is_file()]
    if not tables:
        raise InputError(
            f"{directory} has no result: give a directory that `dnabert-jax finetune` or `evaluate` wrote."
        )
    return {"name": directory.resolve().name, "tables": tables}


def _finetuned(directory: Path) -> dict[str, Any]:
    result = read_json(Result, directory / RESULT_FILE)
    rows = []
    for key, spread in over_seeds(result).items():
        values = [seed.metrics.values[key] for seed in result.seeds]
        seeds = [[value.value, value.low, value.high] for value in values]
        note = next((value.note for value in values if value.note), "")
        rows.append({"metric": key, "mean": spread.mean, "sd": spread.deviation, "seeds": seeds, "note": note})
    first = result.seeds[0].metrics
    section: dict[str, Any] = {
        "name": result.name,
        "model": result.model,
        "origin": origin(result),
        "sizes": result.sizes,
        "seeds": [seed.seed for seed in result.seeds],
        "collapsed": [seed.seed for seed in result.seeds if seed.collapsed],
        "metrics": rows,
        "interval": first.level if first.resamples else None,
        "labels": result.task.labels,
        "problem": result.task.problem,
    }
    if first.confusion and result.task.kind.exclusive:
        best = result.seeds[result.best]
        head, body = confusion_table(best.metrics.confusion[0])
        section["confusion"] = {"seed": best.seed, "head": head, "rows": body}
    curves = directory / "curves" / CURVES_FILE
    if curves.is_file():
        section["curves"] = dataclasses.asdict(read_json(Curves, curves))
    return section


def column_table(path: Path, most: int = sys.maxsize, by: str = "") -> dict[str, Any]:
    """Returns the columns of a CSV, TSV or Parquet table; of too many rows those that rank first, in their order.

    A column is numeric, and packed, if each of its values that is not missing (empty, a point, NaN) is a number, so
    that a page sorts and filters 100,000 rows.

    Args:
        by: the rows of largest magnitude in this column are shown; the first column of effects if not given.
    """
    table = open_table(path)
    if by and by not in table.names:
        raise InputError(f"{table.path} has no column {by!r}, only {', '.join(table.names)}.")
    rows: list[tuple[str, ...]] = []
    total, ranked_by = 0, ""
    texts = ([column.fill_null("").to_pylist() for column in batch] for batch in table.batches(table.names))
    for row in itertools.chain.from_iterable(zip(*columns, strict=True) for columns in texts):
        rows.append(row)
        total += 1
        # In batches, since each choice goes through all rows in memory.
        if len(rows) >= 2 * most:
            rows, ranked_by = _largest(table, rows, most, by)
    if len(rows) > most:
        rows, ranked_by = _largest(table, rows, most, by)
    columns = [{"name": name, **_column(name, [row[at] for row in rows])} for at, name in enumerate(table.names)]
    return {"columns": columns, "rows": len(rows), "total": total, "rankedBy": ranked_by}


def _number(text: str) -> float | None:
    """Returns a number, NaN if it is missing, or None for another text."""
    try:
        return math.nan if text in _MISSING else float(text)
    except ValueError:
        return None


def _largest(table: Table, rows: list[tuple[str, ...]], most: int, by: str) -> tuple[list[tuple[str, ...]], str]:
    """Returns the rows of largest magnitude in a column, in their order, of equal ones the first; and the column."""
    for place, name in enumerate(table.names):
        if name == by or not (by or name in _ALWAYS_TEXT | _NO_EFFECTS):
            numbers = [_number(row[place]) for row in rows]
            if None not in numbers:
                magnitudes = np.abs(np.array(numbers, np.float64))
                order = np.argsort(-np.where(np.isnan(magnitudes), -1, magnitudes), kind="stable")
                return [rows[number] for number in np.sort(order[:most])], name
            if by:
                value = rows[numbers.index(None)][place]
                raise InputError(f"{table.path} has {value!r} in the column {by!r}: no number to choose by.")
    raise InputError(f"{table.path} has too many rows to show all, and no column of numbers to choose them by.")


def _column(name: str, values: list[str]) -> dict[str, Any]:
    numbers = [None] if name in _ALWAYS_TEXT else [_number(value) for value in values]
    if None in numbers or all(value in _MISSING for value in values):
        return {"text": values}
    return {"numbers": packed(np.array(numbers, np.float64), "f8")}
