"""Intervals of a BED file as sequences of their genome, in the order of the file and in constant memory."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import Interval, read_bed
from dnabert_jax.io.genome import Genome, open_genome
from dnabert_jax.io.left_out import BEYOND, LeftOut
from dnabert_jax.sequence.kmers import reverse_complement
from dnabert_jax.tasks.datasets.unlabelled import NamedSequence

BED_COLUMNS = ("chrom", "start", "end", "name", "strand")
"""Fields of the sequences of intervals."""


@dataclasses.dataclass(frozen=True)
class Recentring:
    """How intervals are brought to one length.

    Attributes:
        width: bases of each interval; of an even width one more is left of the centre. 0 keeps intervals as they are.
        summit: whether the centre is the summit, where a peak has one, and not the middle.
    """

    width: int = 0
    summit: bool = False

    def __post_init__(self) -> None:
        if self.width < 0:
            raise InputError(f"The width of intervals is {self.width}. Give at least 1.")

    def __call__(self, interval: Interval) -> Interval:
        if not self.width:
            return interval
        start = interval.center - self.width // 2
        return interval._replace(start=start, end=start + self.width)


AS_THEY_ARE = Recentring()


class Intervals:
    """The intervals of a BED file that lie within a genome.

    Attributes:
        genome: the contigs that the file names.
        count: intervals that are used.
        left_out: those that are not, with the reason.
        shortest, longest: bases of the intervals that are used.

    Raises:
        InputError: a line is not an interval, or no interval can be used.
    """

    def __init__(self, bed: Path, genome: Genome, genome_path: Path, k: int, recentring: Recentring):
        self.genome, self._bed, self._k, self._recentring = genome, bed, k, recentring
        self.left_out, self.count = LeftOut(), 0
        self.shortest, self.longest = 0, 0
        for interval in self._recentred(self.left_out):
            if reason := self._why_not(interval):
                place = f"{interval.contig}:{interval.start}-{interval.end}"
                self.left_out.add(reason, f"{place} in line {interval.line:,} of {bed}")
                continue
            length = interval.end - interval.start
            self.shortest = min(self.shortest or length, length)
            self.longest = max(self.longest, length)
            self.count += 1
        beyond = self.left_out.counts[BEYOND]
        advice = (
            f"Is {bed} of another build than {genome_path}?" if beyond and 2 * beyond >= self.left_out.total else ""
        )
        self.left_out.check_some_left(self.count, f"intervals of {bed}", advice)

    @property
    def contig_lengths(self) -> dict[str, int]:
        """Returns the bases of each contig that the file names, by its name in the genome, in alphabetical order."""
        return {contig: self.genome.length(contig) for contig in sorted(set(self.genome.names.values()))}

    def __iter__(self) -> Iterator[Interval]:
        """Yields the intervals that are used, in the order of the file, on contigs by their names in the genome."""
        for interval in self._recentred():
            if not self._why_not(interval):
                yield interval._replace(contig=self.genome.names[interval.contig])

    def sequences(self) -> Iterator[NamedSequence]:
        """Yields the sequence of each interval that is used; those on the - strand as reverse complements."""
        for interval in self._recentred():
            if not self._why_not(interval):
                contig = self.genome[self.genome.names[interval.contig]]
                forward = np.array(contig[interval.start : interval.end])
                codes = reverse_complement(forward) if interval.strand == "-" else forward
                unstranded = interval.strand == "+" and "".join(interval.columns[5:6]) in ("", ".")
                strand = "." if unstranded else interval.strand
                place = (interval.contig, str(interval.start), str(interval.end))
                name = interval.name or f"{place[0]}:{place[1]}-{place[2]}({strand})"
                yield NamedSequence(name, codes, (*place, interval.name or ".", strand))

    def _recentred(self, notes: LeftOut | None = None) -> Iterator[Interval]:
        return map(self._recentring, read_bed(self._bed, notes, summits=self._recentring.summit))

    def _why_not(self, interval: Interval) -> str:
        if interval.contig in self.genome.missing:
            return self.genome.missing[interval.contig]
        if interval.start < 0 or interval.end > self.genome.length(self.genome.names[interval.contig]):
            return BEYOND
        if interval.end - interval.start < self._k:
            return f"they have fewer than {self._k} bases, one k-mer"
        return ""


@contextlib.contextmanager
def open_intervals(
    bed: Path, genome: Path, k: int, recentring: Recentring = AS_THEY_ARE, scratch: Path | None = None
) -> Iterator[Intervals]:
    """Opens the intervals of a BED file, all of which are checked before the first sequence is given.

    Args:
        bed: file of the BED family on disk; it is read several times.
        genome: FASTA or .2bit file.
        k: of the model.
        recentring: how intervals are brought to one length.
        scratch: as for `open_genome`.

    Raises:
        InputError: as for `read_bed`, `open_genome` and `Intervals`.
    """
    contigs = dict.fromkeys(interval.contig for interval in read_bed(bed))
    with open_genome(genome, contigs, scratch) as opened:
        yield Intervals(bed, opened, genome, k, recentring)
