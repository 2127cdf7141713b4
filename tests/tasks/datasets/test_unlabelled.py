"""Sequences to predict come in the order of their file, under its names, and not all at once."""

import gzip
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

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
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.tasks.datasets.unlabelled import NamedSequence, fasta_sequences, open_intervals, table_sequences

COMPLEMENT = str.maketrans("ACGT", "TGCA")
GENOME = {"chr1": "ACGTTGCAAACCCGGGTTTACG", "chr2": "GATTACAGATTACA", "chr3": "AAAAAAA"}


def named(sequences: Iterable[NamedSequence]) -> list[tuple[str, str]]:
    return [(sequence.name, decode_bases(sequence.codes)) for sequence in sequences]


def test_records_of_fasta(write: Callable[..., Path]) -> None:
    path, left_out = write("x.fa", ">b first\nACGT\nACgt\n>a\nCCCN\n>c\nCC\n"), LeftOut()
    sequences = fasta_sequences(read_blocks(path), str(path), KmerTokenizer(3), left_out)
    assert named(sequences) == [("b", "ACGTACGT"), ("a", "CCCN")]
    assert left_out.total == 1
    assert "'c'" in left_out.sentences()[0]
    path.write_text(">b\nACGTAXGT\n")
    with pytest.raises(InputError, match=r"'b' of .*x.fa .*'X' .* 6\b"):
        named(fasta_sequences(read_blocks(path), str(path), KmerTokenizer(3), LeftOut()))


def test_a_record_that_would_not_fit_memory_is_refused_whole(write: Callable[..., Path]) -> None:
    path = write("x.fa", ">a\nACGT\n>long\nACGTACGT\n>c\nACGT\n")
    sequences = fasta_sequences(read_fasta(path, "x.fa", 5), "x.fa", KmerTokenizer(3), LeftOut())
    assert next(sequences).name == "a"
    with pytest.raises(InputError, match=r"'long' of x.fa .* BED"):
        next(sequences)


def test_rows_of_tables(write: Callable[..., Path], dna: Callable[..., list[str]]) -> None:
    sequences = dna(9)
    path = write("x.csv", ["id", "sequence"], *((f"s{row}", sequence) for row, sequence in enumerate(sequences)))
    kmers = write("x.tsv", ["reads"], *([split_kmers(sequence, 6)] for sequence in sequences))
    parquet = path.with_suffix(".parquet")
    pa.parquet.write_table(pa.table({"seq": sequences}), parquet)
    for table, columns, names in (
        (path, {}, [f"s{row}" for row in range(9)]),
        (path, {"sequence": "sequence", "name": "sequence"}, sequences),
        (kmers, {"sequence": "reads"}, [str(row) for row in range(9)]),
        (parquet, {}, [str(row) for row in range(9)]),
    ):
        _, rows = table_sequences(open_table(table), KmerTokenizer(6), LeftOut(), **columns)
        assert named(rows) == list(zip(names, sequences, strict=True))


@pytest.mark.parametrize(
    ("name", "keep", "columns", "fields"),
    [
        ("", (), ("", "b", "sequence", "id", "a"), ("0", "x, y", "ACGTAC", "s1", "")),
        ("", ("a", "id", "b"), ("b", "id", "a"), ("x, y", "s1", "")),
        ("", ("sequence",), ("sequence",), ("ACGTAC",)),
        ("b", ("a",), ("b", "a"), ("x, y", "")),
    ],
)
def test_columns_come_along_in_the_order_of_the_table(
    name: str, keep: tuple[str, ...], columns: tuple[str, ...], fields: tuple[str, ...], write: Callable[..., Path]
) -> None:
    table = open_table(write("x.csv", ["", "b", "sequence", "id", "a"], ["0", '"x, y"', "ACGTAC", "s1", ""]))
    kept, rows = table_sequences(table, KmerTokenizer(6), LeftOut(), name=name, keep=keep)
    assert kept == columns
    assert [(row.name, row.fields) for row in rows] == [("x, y" if name else "s1", fields)]
    with pytest.raises(InputError, match="'c'"):
        table_sequences(table, KmerTokenizer(6), LeftOut(), keep=["a", "c"])


def test_rows_are_numbered_through_and_memory_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 1 << 16)
    path = tmp_path / "x.csv.gz"
    rows = 60_000
    path.write_bytes(gzip.compress(b"sequence\n" + (b"ACGT" * 100 + b"\n") * rows))
    tracemalloc.start()
    allocated = pa.total_allocated_bytes()
    most = 0
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


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{name} about it\n{bases[:9]}\n{bases[9:]}\n" for name, bases in GENOME.items()))
    return path


@pytest.fixture
def bed(write: Callable[..., Path]) -> Callable[..., Path]:
    return lambda *lines: write("x.bed", "".join(f"{line}\n" for line in lines))


def test_intervals_on_their_strand_with_their_columns(genome: Path, bed: Callable[..., Path]) -> None:
    """Contigs by another name keep the name of the file."""
    path = bed("track name=x", "2\t7\t14\tlast\t0\t-", "", "chr1\t0\t6", "chr1 2 9 . 0 +")
    with open_intervals(path, genome, 3) as intervals:
        sequences = list(intervals.sequences())
        assert len(sequences) == intervals.count == 3
        assert [interval.contig for interval in intervals] == ["chr2", "chr1", "chr1"]
        assert intervals.contig_lengths == {"chr1": 22, "chr2": 14}
    assert named(sequences) == [
        ("last", GENOME["chr2"][7:14].translate(COMPLEMENT)[::-1]),
        ("chr1:0-6(.)", GENOME["chr1"][0:6]),
        ("chr1:2-9(+)", GENOME["chr1"][2:9]),
    ]
    assert [sequence.fields for sequence in sequences] == [
        ("2", "7", "14", "last", "-"), ("chr1", "0", "6", ".", "."), ("chr1", "2", "9", ".", "+"),
    ]  # fmt: skip


def test_intervals_that_cannot_be_used_are_left_out_and_counted(genome: Path, bed: Callable[..., Path]) -> None:
    lines = ["chrUn\t0\t6", "chr3\t3\t8", "chr1\t16\t22", "chr2\t0\t2", "chrUn\t9\t12"]
    with open_intervals(bed(*lines), genome, 3) as intervals:
        assert [sequence.name for sequence in intervals.sequences()] == ["chr1:16-22(.)"]
        assert sorted(intervals.left_out.counts.values()) == [1, 1, 2]
        listed = " ".join(intervals.left_out.sentences())
    assert all(f"line {number} of" in listed for number in (1, 2, 4, 5))
    lines.remove("chr1\t16\t22")
    with pytest.raises(InputError, match=r"chrUn:0-6.*x\.bed"), open_intervals(bed(*lines), genome, 3):
        pass


def test_intervals_are_brought_to_one_width(genome: Path, bed: Callable[..., Path]) -> None:
    path = bed("chr1\t5\t16\tp\t9\t.\t5.1\t2\t1\t2")
    # The middle of 5 to 16 is 10, the summit 7.
    for width, summit, place in ((5, False, slice(8, 13)), (4, False, slice(8, 12)), (5, True, slice(5, 10))):
        with open_intervals(path, genome, 3, width, summit) as intervals:
            assert named(intervals.sequences()) == [("p", GENOME["chr1"][place])]
    with pytest.raises(InputError, match=r"x\.bed"), open_intervals(path, genome, 3, 30, True):
        pass


def test_the_copy_of_the_genome_holds_the_named_contigs_and_is_removed(
    genome: Path, bed: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with open_intervals(bed("chr2\t0\t4", "chr3\t0\t4"), genome, 3) as intervals:
        next(intervals.sequences())
        assert [file.stat().st_size for file in scratch.rglob("genome")] == [14 + 7]
    assert list(scratch.iterdir()) == []
