"""Intervals of a genome: BED3 to BED12, narrowPeak, broadPeak, gappedPeak, MACS tables, and what bedtools writes.

The libraries that read these (pybedtools, pyranges, bioframe) bring pandas or a compiler along, and refuse headers,
strands such as `*`, or lines with other numbers of columns, all of which people have.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Integer

from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.text import WHOLE, line_error, numbered_lines

_SUMMIT = 9
"""Column of narrowPeak with the offset of the summit."""

_STRANDS = ("+", "-", ".")
_NO_SUMMIT = ("-1", ".", "")
_NOT_DATA = re.compile(r"\s*((track|browser)(\s|$)|$)")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?(inf|nan)", re.IGNORECASE)
_COLUMN_NAME = re.compile(r"[\"']?[^\W\d]")
_NULL = [".", "-1", "-1"]
"""The interval that bedtools writes where there is none."""


class Interval(NamedTuple):
    """One line of a BED file.

    Attributes:
        contig: as the file names it.
        start: first base, 0-based; may be negative.
        end: position after the last base.
        name: of the interval, "" if the file gives none.
        strand: "+" or "-".
        summit: offset of the summit from the start, None if the file gives none or `read_bed` was not asked for it.
        line: number of the line, from 1.
    """

    contig: str
    start: int
    end: int
    name: str
    strand: str
    summit: int | None
    line: int
    columns: list[str]

    @property
    def center(self) -> int:
        """Returns the base of the summit, or of the middle where the file gives no summit."""
        if self.summit is None:
            return (self.start + self.end) // 2
        return min(self.start + self.summit, self.end - 1)


def loci(
    contigs: Integer[np.ndarray, " n"], starts: Int64[np.ndarray, " n"], ends: Int64[np.ndarray, " n"], distance: int
) -> Int64[np.ndarray, " n"]:
    """Returns the number of the locus of each interval: two loci of a contig have at least `distance` bases between.

    Intervals that overlap, or have fewer bases than that between them, are of one locus, and so are all that such pairs
    connect.
    """
    # Contigs one behind the other, too far apart to meet.
    apart = contigs.astype(np.int64) * (int(ends.max()) + 2 * distance)
    order = np.argsort(starts + apart, kind="stable")
    reached = np.maximum.accumulate((ends + apart)[order])
    numbers = np.zeros(len(order), np.int64)
    numbers[order[1:]] = np.cumsum((starts + apart)[order[1:]] >= reached[:-1] + distance)
    return numbers


def read_bed(
    path: Path, notes: LeftOut | None = None, name: str | None = None, *, summits: bool = False
) -> Iterator[Interval]:
    """Yields the intervals of a file of the BED family in order.

    Columns are separated by tabs, or else by spaces. Any strand but `-` is forward. Intervals without bases, and lines
    without an interval, as bedtools writes them (`.`, -1, -1), are left out. Callers check that intervals lie within
    their contigs.

    Args:
        notes: takes up the lines that are left out, and what is unusual about the file.
        name: what errors call the file; the path if not given.
        summits: whether to read summits, which only narrowPeak and the tables of MACS give. An interval of 1 base is
            its own summit.
    """
    name = name or str(path)
    notes = LeftOut() if notes is None else notes
    layout: dict[str, int] = {}
    usual = True
    for number, columns, header in _rows(path, notes, name):
        start, end = int(columns[1]), int(columns[2])
        if start > end:
            problem = f"has the start {start} and the end {end}: the end must come after the start."
            raise line_error(number, name, problem)
        layout = layout or _layout(header, columns)
        start -= layout["first base"]
        if start == end:
            notes.add("they have no bases", f"line {number:,} of {name}")
            continue
        title, strand = _cell(columns, layout, "name"), _cell(columns, layout, "strand", ".").strip(" ")
        if strand not in _STRANDS:
            title, what = _unusual(columns, title, strand)
            if usual:
                notes.remark(f"Line {number:,} of {name} has {what}: any strand but '-' is read as forward.")
            usual = False
        summit = _summit(columns, layout, start, end, number, name) if summits else None
        if summits and summit is None:
            notes.remark(f"{name} has intervals without a summit: the middle of these is taken.")
        strand = "-" if strand == "-" else "+"
        yield Interval(columns[0].strip(), start, end, "" if title == "." else title, strand, summit, number, columns)


def _rows(path: Path, notes: LeftOut, name: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yields number and columns of each line with an interval, whose start may be negative, and those of the header."""
    header: list[str] | None = None
    for number, line in numbered_lines(path, name):
        if line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) < 3 or not (WHOLE.fullmatch(columns[1]) and WHOLE.fullmatch(columns[2])):
            if _NOT_DATA.match(line):
                continue
            columns = [column.strip(" ") for column in columns] if len(columns) > 2 else line.split()
            if header is None and len(columns) > 2 and all(map(_COLUMN_NAME.match, columns[1:3])):
                header = columns
            if columns == header:
                continue
            if columns[:3] == _NULL:
                notes.add("bedtools found no interval for them", f"line {number:,} of {name}")
                continue
            if problem := _problem(columns):
                raise line_error(number, name, problem)
        header = header or []
        yield number, columns, header


def _problem(columns: list[str]) -> str:
    """Returns why columns are not those of an interval, nothing if they are."""
    if len(columns) < 3:
        return f"has {len(columns)} columns, where BED has contig, start and end: {' '.join(columns)[:60]!r}."
    bad = next((text for text in columns[1:3] if not WHOLE.fullmatch(text.removeprefix("-"))), None)
    if bad is None:
        return ""
    homer = len(columns) > 3 and all(map(WHOLE.fullmatch, columns[2:4]))
    hint = " The columns look like those of HOMER: convert the file with pos2bed.pl." if homer else ""
    return f"has {bad!r} where BED has a position, a whole number in digits.{hint}"


def _layout(header: list[str], first: list[str]) -> dict[str, int]:
    """Returns the number of each column by its name, and the position of the first base of a contig."""
    names = [column.strip("\"'").lower() for column in header]
    if "".join(names[3:4]) in ("width", "length"):  # MACS, and R's table of a GRanges
        # They count from 1, so that the last base counts too.
        one_based = first[3:4] == [str(int(first[2]) - int(first[1]) + 1)]
        return {column: number for number, column in enumerate(names)} | {"first base": int(one_based)}
    summit = {"summit offset": _SUMMIT} if _is_narrow_peak(first) else {}
    return {"name": 3, "strand": 5, "first base": 0, **summit}


def _cell(columns: list[str], layout: dict[str, int], name: str, default: str = "") -> str:
    number = layout.get(name, len(columns))
    return columns[number] if number < len(columns) else default


def _is_narrow_peak(columns: list[str]) -> bool:
    """Returns whether columns 7 to 10 are signal, p value, q value and summit.

    They are thickStart, thickEnd, color and number of blocks in BED12, and the interval of a second file in the output
    of bedtools. Further columns may follow, as of IDR, or of bedtools.
    """
    if len(columns) <= _SUMMIT or not all(map(_NUMBER.fullmatch, columns[6:9])):
        return False
    if columns[_SUMMIT] not in _NO_SUMMIT and not _NUMBER.fullmatch(columns[_SUMMIT]):
        return False
    signal, p, q = columns[6:9]
    if not (WHOLE.fullmatch(signal) and WHOLE.fullmatch(p)):
        return True
    second_interval = signal == columns[0] and WHOLE.fullmatch(q) and int(p) < int(q)
    thick = int(columns[1]) <= int(signal) <= int(p) <= int(columns[2])
    sizes, starts = ([*columns[10:12], "", ""][number].rstrip(",").split(",") for number in range(2))
    blocks = starts[0] == "0" and columns[_SUMMIT] == str(len(sizes)) == str(len(starts))
    return not (second_interval or thick or (blocks and all(map(WHOLE.fullmatch, sizes + starts))))


def _unusual(columns: list[str], title: str, strand: str) -> tuple[str, str]:
    """Returns the name of an interval with another strand than `+`, `-` or a dot, and what its columns hold."""
    second = columns[3:6]
    if second == _NULL or (second[0] == columns[0] and all(map(WHOLE.fullmatch, second[1:]))):
        return "", "an interval of a second file where BED has name, score and strand"
    return title, f"the strand {strand!r}"


def _summit(columns: list[str], layout: dict[str, int], start: int, end: int, number: int, name: str) -> int | None:
    absolute = "abs_summit" in layout
    if (text := _cell(columns, layout, "abs_summit" if absolute else "summit offset")) in _NO_SUMMIT:
        return 0 if end - start == 1 else None
    # Some files of ENCODE count to the end, one base too far.
    if WHOLE.fullmatch(text) and 0 <= (offset := int(text) - absolute * (start + layout["first base"])) <= end - start:
        return offset
    meaning = "a position" if absolute else "an offset from the start"
    problem = f"has the summit {text!r}, which is not within its interval of {end - start:,} bases."
    raise line_error(number, name, f"{problem} A summit is {meaning}, in digits.")
