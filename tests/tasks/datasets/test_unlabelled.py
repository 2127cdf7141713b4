"""Sequences to predict come in the order of their file, under its names, and not all at once."""

import contextlib
import gzip
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io import tables
from dnabert_jax.io.fasta import read_fasta
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.tables import open_table
from dnabert_jax.sequence.bases import decode_bases
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.tasks.datasets.unlabelled import Intervals, fasta_sequences, open_intervals, table_sequences

GENOME = {"chr1": "ACGTTGCAAACCCGGGTTTACG", "chr2": "GATTACAGATTACA", "chr3": "AAAAAAA"}


@pytest.mark.parametrize("record", ["ACGTAXGT", "ACGTACGT"])
def test_a_record_that_is_no_dna_or_would_not_fit_memory_is_refused(record: str, write: Callable[..., Path]) -> None:
    path = write("x.fa", f">a\nACGT\n>b\n{record}\n>c\nACGT\n")
    blocks = read_blocks(path) if "X" in record else read_fasta(path, "x.fa", 5)
    sequences = fasta_sequences(blocks, "x.fa", KmerTokenizer(3), LeftOut())
    assert next(sequences).name == "a"
    with pytest.raises(InputError, match=r"'b' of x.fa .*'X' .* 6\b" if "X" in record else r"'b' of x.fa .* BED"):
        next(sequences)


@pytest.mark.parametrize(
    ("name", "keep", "columns", "fields"),
    [
        ("", (), ("", "b", "sequence", "id", "a"), ("0", "x, y", "ACGTAC", "s1", "")),
        ("", ("a", "id", "b"), ("b", "id", "a"), ("x, y", "s1", "")),
        ("", ("sequence",), ("sequence",), ("ACGTAC",)),
        ("b", ("a",), ("b", "a"), ("x, y", "")),
        ("sequence", ("a",), ("sequence", "a"), ("ACGTAC", "")),
    ],
)
def test_columns_come_along_in_the_order_of_the_table(
    name: str, keep: tuple[str, ...], columns: tuple[str, ...], fields: tuple[str, ...], write: Callable[..., Path]
) -> None:
    table = open_table(write("x.csv", ["", "b", "sequence", "id", "a"], ["0", '"x, y"', "ACGTAC", "s1", ""]))
    kept, rows = table_sequences(table, KmerTokenizer(6), LeftOut(), name=name, keep=keep)
    assert kept == columns
    assert [(row.name, row.fields) for row in rows] == [(fields[0] if name else "s1", fields)]
    with pytest.raises(InputError, match="'c'"):
        table_sequences(table, KmerTokenizer(6), LeftOut(), keep=["a", "c"])


def test_rows_are_numbered_through_and_memory_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 1 << 16)
    path, rows = tmp_path / "x.csv.gz", 60_000
    path.write_bytes(gzip.compress(b"sequence\n" + (b"ACGT" * 100 + b"\n") * rows))
    tracemalloc.start()
    allocated, most = pa.total_allocated_bytes(), 0
    columns, sequences = table_sequences(open_table(path), KmerTokenizer(6), LeftOut(), keep=["sequence"])
    assert columns == ("id", "sequence")
    for number, (name, codes, fields) in enumerate(sequences):
        assert (name, len(codes), fields[0]) == (str(number), 400, name)
        most = max(most, pa.total_allocated_bytes() - allocated)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == rows - 1
    # The whole table is 24 MB; Arrow reads some 32 blocks ahead.
    assert most + python < 8e6


def opened(folder: Path, *lines: str, **settings: Any) -> contextlib.AbstractContextManager[Intervals]:
    """The intervals of lines of BED within GENOME."""
    genome, bed = folder / "genome.fa", folder / "x.bed"
    genome.write_text("".join(f">{name} about it\n{bases[:9]}\n{bases[9:]}\n" for name, bases in GENOME.items()))
    bed.write_text("".join(f"{line}\n" for line in lines))
    return open_intervals(bed, genome, 3, **settings)


def test_the_contigs_that_are_named_are_copied_as_long_as_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with opened(tmp_path, "track name=x", "2\t7\t14\tlast\t0\t-", "", "chr1 2 9 . 0 +") as intervals:
        assert [sequence.name for sequence in intervals.sequences()] == ["last", "chr1:2-9(+)"]
        assert [file.stat().st_size for file in scratch.rglob("genome")] == [22 + 14]
        assert intervals.contig_lengths == {"chr1": 22, "chr2": 14}
    assert list(scratch.iterdir()) == []


def test_intervals_that_cannot_be_used_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = ["chr1\t16\t22", "chrUn\t0\t6", "chr3\t3\t8", "chr2\t0\t2", "chrUn\t9\t12"]
    with opened(tmp_path, *lines) as intervals:
        assert [sequence.name for sequence in intervals.sequences()] == ["chr1:16-22(.)"]
        assert sorted(intervals.left_out.counts.values()) == [1, 1, 2]
        listed = " ".join(intervals.left_out.sentences())
    assert all(f"line {number} of" in listed for number in (2, 3, 4, 5))
    with pytest.raises(InputError, match=r"chrUn:0-6.*x\.bed"), opened(tmp_path, *lines[1:]):
        pass


def test_intervals_are_brought_to_one_width(tmp_path: Path) -> None:
    line = "chr1\t5\t16\tp\t9\t.\t5.1\t2\t1\t2"
    # The middle of 5 to 16 is 10, the summit 7.
    for width, summit, place in ((5, False, slice(8, 13)), (4, False, slice(8, 12)), (5, True, slice(5, 10))):
        with opened(tmp_path, line, width=width, summit=summit) as intervals:
            (sequence,) = intervals.sequences()
            assert (sequence.name, decode_bases(sequence.codes)) == ("p", GENOME["chr1"][place])
    with pytest.raises(InputError, match=r"x\.bed"), opened(tmp_path, line, width=30, summit=True):
        pass
