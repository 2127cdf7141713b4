"""Intervals of a genome to predict, from a BED file, in its order and in constant memory."""

import contextlib
import dataclasses
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.kmers import check_has_kmer, reverse_complement
from dnabert_jax.tasks.datasets.genome_records import GenomeRecords, genome_records
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
    named = {interval.record for interval in read_bed(bed)}
    with genome_records(blocks, genome, named, scratch) as records:
        kept, outside = _check(bed, genome, records, k, beyond)
        renamed = {name: record for name, record in records.names.items() if name != record}
        lengths = {record: records.length(record) for record in sorted(set(records.names.values()))}
        yield IntervalCount(kept, outside, renamed, lengths), _sequences(bed, records)


def _check(
    bed: Path, genome: str, records: GenomeRecords, k: int, beyond: Literal["refuse", "leave out"]
) -> tuple[int, int]:
    """How many intervals are kept, and how many are beyond the ends."""
    kept = outside = 0
    first = ""
    for interval in read_bed(bed):
        place = f"Line {interval.line:,} of {bed}"
        if interval.record not in records.names:
            raise InputError(f"{place} is on {interval.record!r}, of which {genome} has no record.")
        check_has_kmer(interval.end - interval.start, k, place)
        if _is_beyond(interval, records):
            outside += 1
            length = records.length(records.names[interval.record])
            first = first or f"{place} ends at {interval.end:,}, beyond the {length:,} bases of {interval.record!r}"
        else:
            kept += 1
    if outside and beyond == "refuse":
        raise InputError(f"{first} (intervals of this kind: {outside:,}): cut them, or have them left out.")
    if not kept:
        raise InputError(f"{bed} has no interval" + (f" within the records of {genome}." if outside else "."))
    return kept, outside


def _is_beyond(interval: Interval, records: GenomeRecords) -> bool:
    return interval.end > records.length(records.names[interval.record])


def _sequences(bed: Path, records: GenomeRecords) -> Iterator[NamedSequence]:
    for interval in read_bed(bed):
        if not _is_beyond(interval, records):
            own = np.array(records[records.names[interval.record]][interval.start : interval.end])
            yield NamedSequence(interval.name, reverse_complement(own) if interval.strand == "-" else own)
