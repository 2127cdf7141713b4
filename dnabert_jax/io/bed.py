"""Intervals of a genome: BED3 to BED12, narrowPeak, broadPeak, gappedPeak, MACS tables, and what bedtools writes.

The libraries that read these (pybedtools, pyranges, bioframe) bring pandas or a compiler along, and refuse headers,
strands such as `*`, or lines with other numbers of columns, all of which people have.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dnabert_jax.errors import InputError
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.text import numbered_lines

_SUMMIT = 9
"""Column of narrowPeak with the offset of the summit."""

_STRANDS = ("+", "-", ".")
_NONE = 1 << 30
"""Number of a column that there is not."""

_NO_SUMMIT = ("-1", ".", "")
_NOT_DATA = ("track", "browser")
_DIGITS = 18  # any more do not fit into an int64
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(inf|nan)", re.IGNORECASE)
_COLUMN_NAME = re.compile(r"[\"']?[^\W\d]")
_WIDTHS = ("width", "length")
_NULL = [".", "-1", "-1"]
"""The interval that bedtools writes where there is none."""


class Interval(NamedTuple):
    """One line of a BED file.

    Attributes:
        contig: as the file names it.
        start: first base, 0-based; may be negative.
        end: position after the last base, at least the start.
        name: of the interval, "" if the file gives none.
        strand: "+" or "-".
        summit: offset of the summit from the start, None if the file gives none or `read_bed` was not asked for it.
        line: number of the line, from 1.
        columns: all columns, as in the file.
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


class _Layout(NamedTuple):
    """Which column holds what; _NONE if no column does."""

    one_based: bool = False
    name: int = 3
    strand: int = 5
    summit: int = _NONE
    absolute_summit: bool = False


def read_bed(
    path: Path, notes: LeftOut | None = None, name: str | None = None, *, summits: bool = False
) -> Iterator[Interval]:
    """Yields the intervals of a file of the BED family in order.

    Columns are separated by tabs, or else by spaces. Any strand but `-` is forward. A line without an interval,
    as bedtools writes it (`.`, -1, -1), is left out. Callers check that intervals lie within their contigs and have
    bases.

    Args:
        path: of the file, which is read once.
        notes: takes up the lines that are left out, and what is unusual about the file.
        name: what errors call the file; the path if not given.
        summits: whether to read summits, which only narrowPeak and the tables of MACS give. An interval of 1 base is
            its own summit.

    Raises:
        InputError: as for `open_text`; a line is not an interval; a summit is asked for and outside of its interval.
    """
    name = name or str(path)
    notes = LeftOut() if notes is None else notes
    layout: _Layout | None = None
    usual = True
    for number, columns, header in _rows(path, notes, name):
        start, end = int(columns[1]), int(columns[2])
        if start > end:
            raise InputError(
                f"Line {number:,} of {name} has the start {start} and the end {end}: the end must come after the start."
            )
        if layout is None:
            layout = _layout(header, columns, end - start)
            if summits and layout.summit == _NONE and end - start != 1:
                notes.remark(f"{name} has no column of summits: the middle of each interval is taken.")
        start -= layout.one_based
        width = len(columns)
        title = columns[layout.name] if layout.name < width else ""
        strand = columns[layout.strand] if layout.strand < width else "."
        if strand not in _STRANDS:
            title, what = _unusual(columns, title, strand)
            if usual:
                notes.remark(f"Line {number:,} of {name} has {what}: any strand but '-' is read as forward.")
            usual = False
        summit = _summit(columns, layout, start, end, number, name) if summits else None
        strand = "-" if strand == "-" else "+"
        yield Interval(columns[0].strip(), start, end, "" if title == "." else title, strand, summit, number, columns)


def _rows(path: Path, notes: LeftOut, name: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yields number and columns of each line that should be an interval, and the columns of the header, if any."""
    header: list[str] = []
    first = True
    for number, line in numbered_lines(path, name):
        if line.startswith("#") or not line or line.isspace():
            continue
        columns = line.split("\t")
        if len(columns) < 3 or not (_is_whole(columns[1]) and _is_whole(columns[2])):
            columns = [column.strip(" ") for column in columns] if len(columns) > 2 else line.split()
            if line.split(maxsplit=1)[0] in _NOT_DATA or columns == header:
                continue
            if first and not header and _is_header(columns):
                header = columns
                continue
            if columns[:3] == _NULL:
                notes.add("bedtools found no interval for them", f"line {number:,} of {name}")
                continue
            if why := _why_not(columns):
                raise InputError(f"Line {number:,} of {name} {why}")
        first = False
        yield number, columns, header


def _is_header(columns: list[str]) -> bool:
    return len(columns) > 2 and all(_COLUMN_NAME.match(column) for column in columns[1:3])


def _layout(header: list[str], first: list[str], difference: int) -> _Layout:
    """Returns the layout of a file by its header, if it has one, and its first interval, of end less start."""
    names = [column.strip("\"'").lower() for column in header]
    if "".join(names[3:4]) in _WIDTHS:  # MACS, and R's table of a GRanges
        places = {column: place for place, column in enumerate(names)}
        # They count from 1, so that the last base counts too.
        one_based = "".join(first[3:4]) == str(difference + 1)
        name, strand, summit = (places.get(column, _NONE) for column in ("name", "strand", "abs_summit"))
        return _Layout(one_based, name, strand, summit, absolute_summit=True)
    return _Layout(summit=_SUMMIT if _is_narrow_peak(first) else _NONE)


def _is_narrow_peak(columns: list[str]) -> bool:
    """Returns whether columns 7 to 10 are signal, p value, q value and summit: in BED12 they are something else.

    Further columns may follow, as of IDR, or of bedtools.
    """
    if len(columns) <= _SUMMIT or not all(map(_NUMBER.fullmatch, columns[6:9])):
        return False
    if columns[_SUMMIT] not in _NO_SUMMIT and not _NUMBER.fullmatch(columns[_SUMMIT]):
        return False
    signal, p, q = columns[6:9]
    second_interval = signal == columns[0] and _is_whole(p) and _is_whole(q) and int(p) < int(q)
    return not (second_interval or [signal, p] == columns[1:3])


def _why_not(columns: list[str]) -> str:
    """Returns why the columns do not begin with an interval, "" if they do; its start may be negative."""
    if len(columns) < 3:
        return f"has {len(columns)} columns, where BED has contig, start and end: {columns[0]!r}."
    for text in columns[1:3]:
        if not _is_whole(text.removeprefix("-")):
            homer = len(columns) > 3 and all(column.isdecimal() for column in columns[2:4])
            hint = " The columns look like those of HOMER: convert the file with pos2bed.pl." if homer else ""
            return f"has {text!r} where BED has a position, a whole number in digits.{hint}"
    return ""


def _is_whole(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS


def _unusual(columns: list[str], title: str, strand: str) -> tuple[str, str]:
    """Returns the name of an interval with another strand than `+`, `-` or a dot, and what its columns hold."""
    second = columns[3:6]
    if second == _NULL or (second[0] == columns[0] and second[1].isdecimal() and second[2].isdecimal()):
        return "", "an interval of a second file where BED has name, score and strand"
    return title, f"the strand {strand!r}"


def _summit(columns: list[str], layout: _Layout, start: int, end: int, number: int, name: str) -> int | None:
    if layout.summit >= len(columns) or columns[layout.summit] in _NO_SUMMIT:
        return 0 if end - start == 1 else None
    text = columns[layout.summit]
    if _is_whole(text):
        offset = int(text) - (start + layout.one_based) * layout.absolute_summit
        # Some files of ENCODE count to the end, one base too far.
        if 0 <= offset <= end - start:
            return offset
    hint = "a position, in digits" if layout.absolute_summit else "an offset from the start, in digits"
    raise InputError(
        f"Line {number:,} of {name} has the summit {text!r}, which is not within its interval of {end - start:,} "
        f"bases. A summit is {hint}."
    )
