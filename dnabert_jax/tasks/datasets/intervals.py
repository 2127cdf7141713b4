"""Intervals of a genome to predict, from a BED file, in its order and in constant memory.

The records that the intervals name are copied, as codes of their bases, into a file on disk that is mapped into memory:
a FASTA file cannot be entered at a place, the less if it is compressed.
"""

import contextlib
import dataclasses
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.contig_names import plain_name
from dnabert_jax.sequence.kmers import base_codes, check_has_kmer, reverse_complement
from dnabert_jax.tasks.datasets.unlabelled import Blocks, NamedSequence

_GZIP_MAGIC = b"\x1f\x8b"
_NO_INTERVAL = ("#", "track", "browser")
_STRANDS = ("+", "-", ".")


class Interval(NamedTuple):
    """A line of a BED file.

    Attributes:
        record: of the genome.
        start: first base, from 0.
        end: behind the last base.
        name: the fourth column, or record:start-end(strand).
        strand: the sixth column; . is read as +.
        line: its number, from 1.
    """

    record: str
    start: int
    end: int
    name: str
    strand: str
    line: int


@dataclasses.dataclass(frozen=True)
class IntervalCount:
    """What a first reading of the intervals found.

    Attributes:
        kept: intervals that are yielded.
        beyond: intervals that reach beyond the ends of their record, and are left out.
        renamed: records by another name in the genome, chr22 and 22: name in the BED file -> name in the genome.
        lengths: bases of each record of the genome that is named, by its name there, in order of these.
    """

    kept: int
    beyond: int
    renamed: dict[str, str]
    lengths: dict[str, int]

    def intervals(self, bed: Path) -> Iterator[Interval]:
        """Yields those that are kept, in order, on records by their names in the genome."""
        for interval in read_bed(bed):
            record = self.renamed.get(interval.record, interval.record)
            if interval.end <= self.lengths[record]:
                yield interval._replace(record=record)


def read_bed(path: Path) -> Iterator[Interval]:
    """Yields the intervals of a BED file (and so of narrowPeak), gzip or not, in order.

    Raises:
        InputError: it does not exist, is damaged, or a line is no interval.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
            with io.TextIOWrapper(gzip.GzipFile(fileobj=raw) if compressed else raw, "utf-8") as text:
                for number, line in enumerate(text, 1):
                    if line.strip() and not line.startswith(_NO_INTERVAL):
                        yield _interval(line, number, path)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a BED file: {error}.") from error


def _interval(line: str, number: int, path: Path) -> Interval:
    # BED allows spaces too, but then not in names.
    values = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
    place = f"Line {number:,} of {path}"
    if len(values) < 3 or not (values[1].isdecimal() and values[2].isdecimal()):
        raise InputError(f"{place} is no BED interval (record, start, end): {line.strip()[:60]!r}.")
    start, end = int(values[1]), int(values[2])
    strand = values[5] if len(values) > 5 else "."
    if start >= end:
        raise InputError(f"{place} has the start {start} and the end {end}: the end must be behind the start.")
    if strand not in _STRANDS:
        raise InputError(f"{place} has the strand {strand!r}: it must be +, - or a dot.")
    name = values[3] if len(values) > 3 and values[3] not in ("", ".") else f"{values[0]}:{start}-{end}({strand})"
    return Interval(values[0], start, end, name, strand, number)


@contextlib.contextmanager
def interval_sequences(
    bed: Path,
    blocks: Blocks,
    genome: str,
    k: int,
    *,
    beyond: Literal["refuse", "leave out"] = "refuse",
    scratch: Path | None = None,
) -> Iterator[tuple[IntervalCount, Iterator[NamedSequence]]]:
    """Gives how many intervals there are, and their sequences; those on the - strand as reverse complements.

    All intervals are checked before the first sequence is given.

    Args:
        bed: the file of intervals, which is read three times.
        blocks: of the genome, FASTA or .2bit.
        genome: its file, to call it by.
        k: of the model.
        beyond: what is done with intervals that reach beyond the end of their record.
        scratch: existing directory with room for a byte for each base of the records that are named; that for
            temporary files, if not given.

    Raises:
        InputError: an interval is on a record that the genome has not, under this name or the one of the other style,
            reaches beyond its end, or has fewer than k bases; the genome has a letter that is no IUPAC DNA letter, or
            two records of one name; no interval is left.
    """
    with TemporaryDirectory(prefix="dnabert-jax-", dir=scratch) as directory:
        named = {interval.record for interval in read_bed(bed)}
        path = Path(directory, "genome")
        copied = _copy_records(blocks, genome, {plain_name(record) for record in named}, path)
        names = _resolve(named, copied, genome)
        places = {name: copied[record] for name, record in names.items()}
        kept, outside = _check(bed, genome, places, k, beyond)
        renamed = {name: record for name, record in names.items() if name != record}
        lengths = {record: copied[record][1] - copied[record][0] for record in sorted(set(names.values()))}
        count = IntervalCount(kept, outside, renamed, lengths)
        codes = np.memmap(path, np.uint8, "r")
        yield count, _sequences(bed, codes, places)


def _copy_records(blocks: Blocks, genome: str, wanted: set[str], path: Path) -> dict[str, tuple[int, int]]:
    """Writes the codes of the records with these plain names one after the other; where each begins and ends."""
    places: dict[str, tuple[int, int]] = {}
    with path.open("wb") as file:
        for record, number, letters in blocks:
            if plain_name(record) not in wanted:
                continue
            if number == 0:
                if record in places:
                    raise InputError(f"Two records of {genome} are named {record!r}: names must differ.")
                places[record] = (file.tell(), 0)
            first, last = places[record][0], file.tell()
            file.write(base_codes(letters, f"Record {record!r} of {genome}", last - first).tobytes())
            places[record] = (first, file.tell())
    return places


def _resolve(named: set[str], records: Iterable[str], genome: str) -> dict[str, str]:
    """The record of the genome for each name of which there is one: the same name, or else that of the other style."""
    alike: dict[str, list[str]] = {}
    for record in records:
        alike.setdefault(plain_name(record), []).append(record)
    found = {}
    for name in sorted(named):
        candidates = alike.get(plain_name(name), [])
        if name in candidates:
            found[name] = name
        elif len(candidates) > 1:
            raise InputError(f"{genome} has the records {' and '.join(candidates)}: which one {name} is is not clear.")
        elif candidates:
            found[name] = candidates[0]
    return found


def _check(
    bed: Path, genome: str, places: dict[str, tuple[int, int]], k: int, beyond: Literal["refuse", "leave out"]
) -> tuple[int, int]:
    """How many intervals are kept, and how many are beyond the ends."""
    kept = outside = 0
    first = ""
    for interval in read_bed(bed):
        place = f"Line {interval.line:,} of {bed}"
        if interval.record not in places:
            raise InputError(f"{place} is on {interval.record!r}, of which {genome} has no record.")
        check_has_kmer(interval.end - interval.start, k, place)
        if _is_beyond(interval, places):
            outside += 1
            start, end = places[interval.record]
            first = (
                first or f"{place} ends at {interval.end:,}, beyond the {end - start:,} bases of {interval.record!r}"
            )
        else:
            kept += 1
    if outside and beyond == "refuse":
        raise InputError(f"{first} (intervals of this kind: {outside:,}): cut them, or have them left out.")
    if not kept:
        raise InputError(f"{bed} has no interval" + (f" within the records of {genome}." if outside else "."))
    return kept, outside


def _is_beyond(interval: Interval, places: dict[str, tuple[int, int]]) -> bool:
    start, end = places[interval.record]
    return interval.end > end - start


def _sequences(
    bed: Path, codes: UInt8[np.ndarray, " b"], places: dict[str, tuple[int, int]]
) -> Iterator[NamedSequence]:
    for interval in read_bed(bed):
        if not _is_beyond(interval, places):
            first = places[interval.record][0]
            own = np.array(codes[first + interval.start : first + interval.end])
            yield NamedSequence(interval.name, reverse_complement(own) if interval.strand == "-" else own)
