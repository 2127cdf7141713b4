"""Sequences to predict, one after the other in constant memory, whatever they come from.

They are records of FASTA, rows of a table, or intervals of a BED file as sequences of their genome. Those that are too
short for the model are left out and counted.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.config import require
from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import Interval, read_bed
from dnabert_jax.io.fasta import Block
from dnabert_jax.io.genome import Genome, open_genome
from dnabert_jax.io.left_out import BEYOND, LeftOut, too_short
from dnabert_jax.io.tables import SEQUENCE_NAMES, Table, find_column, id_column, required_column
from dnabert_jax.sequence.bases import base_codes, reverse_complement
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.tasks.datasets.sequences import SequenceParser

BED_COLUMNS = ("chrom", "start", "end", "name", "strand")
"""Fields of the sequences of intervals."""


class NamedSequence(NamedTuple):
    """A sequence, what the user calls it, and what is carried along with it.

    Attributes:
        fields: values of the columns that are kept beside it, in their order.
    """

    name: str
    codes: UInt8[np.ndarray, " length"]
    fields: tuple[str, ...] = ()


def fasta_sequences(
    blocks: Iterable[Block], source: str, tokenizer: Tokenizer, left_out: LeftOut
) -> Iterator[NamedSequence]:
    """Yields each record of a FASTA or .2bit file; its name is its only field."""
    end = Block("", 0, np.zeros(0, np.uint8))
    for block, following in itertools.pairwise(itertools.chain(blocks, [end])):
        if following.number:
            raise InputError(
                f"Record {block.record!r} of {source} is too long to read at once. Name intervals of it in a BED file."
            )
        codes = base_codes(block.letters, f"Record {block.record!r} of {source}")
        if len(codes) < tokenizer.shortest:
            left_out.add(too_short(tokenizer.shortest), f"record {block.record!r} of {source}")
        else:
            yield NamedSequence(block.record, codes, (block.record,))


def table_sequences(
    table: Table, tokenizer: Tokenizer, left_out: LeftOut, sequence: str = "", name: str = "", keep: Sequence[str] = ()
) -> tuple[tuple[str, ...], Iterator[NamedSequence]]:
    """Returns the columns that come along with the rows of a table, in its order, and the rows.

    Args:
        left_out: takes up the rows that are too short for the tokenizer.
        name: the column that names rows, if it has no usual name; without one they are numbered from 0, and the number
            comes first, as `id`.
        keep: columns whose values come along, beside that of the names if it is given; all if none is named. What is
            missing is empty.
    """
    column, naming = required_column(table, sequence, SEQUENCE_NAMES, "--sequence"), id_column(table, name)
    wanted = [*(find_column(table, title, (), "--keep") for title in keep), *([naming] if name else [])]
    columns = [title for title in table.names if not keep or title in wanted]
    parser = SequenceParser(str(table.path), tokenizer)

    def rows() -> Iterator[NamedSequence]:
        for batch in table.batches(list(dict.fromkeys([column, *([naming] if naming else []), *columns]))):
            numbers = range(parser.rows, parser.rows + len(batch))
            codes, lengths = parser.parse(batch[column], short=True)
            names = batch[naming].fill_null("").to_pylist() if naming else [str(number) for number in numbers]
            values = [*([] if naming else [names]), *(batch[title].fill_null("").to_pylist() for title in columns)]
            fields = zip(*values, strict=True)
            for number, text, end, length, row in zip(numbers, names, np.cumsum(lengths), lengths, fields, strict=True):
                if length < tokenizer.shortest:
                    left_out.add(too_short(tokenizer.shortest), f"row {number + 1:,} of {table.path}")
                else:
                    yield NamedSequence(text, codes[end - length : end], row)

    return (*([] if naming else ["id"]), *columns), rows()


class Intervals:
    """The intervals of a BED file that lie within a genome.

    Attributes:
        genome: the contigs that the file names.
    """

    def __init__(self, bed: Path, genome: Genome, genome_path: Path, shortest: int, width: int, summit: bool):
        self.genome, self._bed, self._shortest, self._width, self._summit = genome, bed, shortest, width, summit
        self.left_out = LeftOut()
        self.count = sum(1 for _ in self._usable(self.left_out))
        beyond = self.left_out.counts[BEYOND]
        question = f"Is {bed} of another build than {genome_path}?" if beyond > self.count else ""
        self.left_out.check_some_left(self.count, f"intervals of {bed}", question)
        if question:
            self.left_out.remark(question)

    @property
    def contig_lengths(self) -> dict[str, int]:
        """Returns the bases of each contig that the file names, by its name in the genome, in alphabetical order."""
        return {contig: self.genome.length(contig) for contig in sorted(set(self.genome.names.values()))}

    def __iter__(self) -> Iterator[Interval]:
        """Yields the intervals that are used, in the order of the file, on contigs by their names in the genome."""
        for interval in self._usable(LeftOut()):
            yield interval._replace(contig=self.genome.names[interval.contig])

    def sequences(self) -> Iterator[NamedSequence]:
        """Yields the sequence of each interval that is used; those on the - strand as reverse complements."""
        for interval in self._usable(LeftOut()):
            contig = self.genome[self.genome.names[interval.contig]]
            codes = np.array(contig[interval.start : interval.end])
            strand = interval.strand if interval.columns[5:6] not in ([], [""], ["."]) else "."
            start, end = str(interval.start), str(interval.end)
            yield NamedSequence(
                interval.name or f"{interval.contig}:{start}-{end}({strand})",
                reverse_complement(codes) if interval.strand == "-" else codes,
                (interval.contig, start, end, interval.name or ".", strand),
            )

    def _usable(self, left_out: LeftOut) -> Iterator[Interval]:
        """Yields the intervals that are used, brought to their width, on contigs as the file names them."""
        for interval in read_bed(self._bed, left_out, summits=self._summit):
            if self._width:
                start = interval.center - self._width // 2
                interval = interval._replace(start=start, end=start + self._width)
            if interval.contig in self.genome.missing:
                reason = self.genome.missing[interval.contig]
            elif interval.start < 0 or interval.end > self.genome.length(self.genome.names[interval.contig]):
                reason = BEYOND
            elif interval.end - interval.start < self._shortest:
                reason = too_short(self._shortest)
            else:
                yield interval
                continue
            place = f"{interval.contig}:{interval.start}-{interval.end}"
            left_out.add(reason, f"{place} in line {interval.line:,} of {self._bed}")


@contextlib.contextmanager
def open_intervals(bed: Path, genome: Path, shortest: int, width: int = 0, summit: bool = False) -> Iterator[Intervals]:
    """Opens the intervals of a BED file, all of which are checked before the first sequence is given.

    Args:
        bed: file of the BED family on disk; it is read several times.
        shortest: fewest bases of an interval; shorter ones are left out.
        width: number of bases to which intervals are brought, with one more to the left of the center if it is even;
            0 keeps intervals as they are.
        summit: whether their center is the summit, where a peak has one, and not the middle.
    """
    require(width >= 0, f"The width of intervals is {width}. Give at least 1.")
    contigs = dict.fromkeys(interval.contig for interval in read_bed(bed))
    with open_genome(genome, contigs) as opened:
        yield Intervals(bed, opened, genome, shortest, width, summit)
