"""Intervals of a genome to predict, from a BED file, in its order and in constant memory."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import Interval, read_bed
from dnabert_jax.sequence.kmers import check_has_kmer, reverse_complement
from dnabert_jax.tasks.datasets.genome_records import GenomeRecords, genome_records
from dnabert_jax.tasks.datasets.unlabelled import Blocks, NamedSequence


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
            record = self.renamed.get(interval.contig, interval.contig)
            if interval.end <= self.lengths[record]:
                yield interval._replace(contig=record)


def _name(interval: Interval) -> str:
    """Returns the name of an interval, or record:start-end(strand)."""
    strand = interval.strand if interval.strand == "-" or interval.columns[5:6] == ["+"] else "."
    return interval.name or f"{interval.contig}:{interval.start}-{interval.end}({strand})"


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
    named = {interval.contig for interval in read_bed(bed)}
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
        if interval.contig not in records.names:
            raise InputError(f"{place} is on {interval.contig!r}, of which {genome} has no record.")
        check_has_kmer(interval.end - interval.start, k, place)
        if _is_beyond(interval, records):
            outside += 1
            length = records.length(records.names[interval.contig])
            first = first or f"{place} ends at {interval.end:,}, beyond the {length:,} bases of {interval.contig!r}"
        else:
            kept += 1
    if outside and beyond == "refuse":
        raise InputError(f"{first} (intervals of this kind: {outside:,}): cut them, or have them left out.")
    if not kept:
        raise InputError(f"{bed} has no interval" + (f" within the records of {genome}." if outside else "."))
    return kept, outside


def _is_beyond(interval: Interval, records: GenomeRecords) -> bool:
    return interval.end > records.length(records.names[interval.contig])


def _sequences(bed: Path, records: GenomeRecords) -> Iterator[NamedSequence]:
    for interval in read_bed(bed):
        if not _is_beyond(interval, records):
            own = np.array(records[records.names[interval.contig]][interval.start : interval.end])
            yield NamedSequence(_name(interval), reverse_complement(own) if interval.strand == "-" else own)
