"""Sequences to predict come in the order of their file, under its names, and not all at once."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io import tables
from dnabert_jax.io.fasta import read_fasta
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.io.tables import open_table
from dnabert_jax.sequence.kmers import base_codes, split_kmers
from dnabert_jax.tasks.datasets.intervals import interval_sequences, read_bed
from dnabert_jax.tasks.datasets.unlabelled import fasta_sequences, kept_columns, table_sequences

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def plain(found: object) -> list[tuple[str, list[int]]]:
    return [(name, codes.tolist()) for name, codes, *_ in found]  # type: ignore[attr-defined]


def expected(*named: tuple[str, str]) -> list[tuple[str, list[int]]]:
    return [(name, base_codes(sequence.encode()).tolist()) for name, sequence in named]


def test_records_of_fasta(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text(">b first\nACGT\nACgt\n>a\nCCCN\n")
    assert plain(fasta_sequences(read_blocks(path), str(path), 3)) == expected(("b", "ACGTACGT"), ("a", "CCCN"))
    path.write_text(">b\nACGT\n>a\nCC\n")
    with pytest.raises(InputError, match=r"Record 'a' of .*x.fa has 2 bases: at least k = 3"):
        plain(fasta_sequences(read_blocks(path), str(path), 3))
    path.write_text(">b\nACGTAXGT\n")
    with pytest.raises(InputError, match=r"Record 'b' of .*x.fa has 'X' at position 6"):
        plain(fasta_sequences(read_blocks(path), str(path), 3))


def test_a_record_that_would_not_fit_memory_is_refused_before_any_part_of_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGT\n>long\nACGTACGT\n>c\nACGT\n")
    given = []
    with pytest.raises(InputError, match=r"Record 'long' of x.fa is too long .* BED"):
        given.extend(named.name for named in fasta_sequences(read_fasta(path, "x.fa", 5), "x.fa", 3))
    assert given == ["a"]


def test_rows_of_tables(write: Callable[..., Path], dna: Callable[..., list[str]]) -> None:
    sequences = dna(9)
    path = write("x.csv", ["id", "sequence"], *((f"s{row}", sequence) for row, sequence in enumerate(sequences)))
    assert plain(table_sequences(open_table(path), 6)) == expected(
        *((f"s{row}", own) for row, own in enumerate(sequences))
    )
    numbered = expected(*((str(row), own) for row, own in enumerate(sequences)))
    kmers = write("x.tsv", ["reads"], *([split_kmers(sequence, 6)] for sequence in sequences))
    assert plain(table_sequences(open_table(kmers), 6, sequence="reads")) == numbered
    pa.parquet.write_table(pa.table({"seq": sequences}), path.with_suffix(".parquet"))
    assert plain(table_sequences(open_table(path.with_suffix(".parquet")), 6)) == numbered
    by_itself = expected(*((own, own) for own in sequences))
    assert plain(table_sequences(open_table(path), 6, sequence="sequence", name="sequence")) == by_itself


@pytest.mark.parametrize(
    ("keep", "columns", "fields"),
    [
        (None, [], ()),
        ((), ["", "b", "a"], ("0", "x, y", "")),
        (("a", "id", "b"), ["b", "id", "a"], ("x, y", "s1", "")),
        (("sequence",), ["sequence"], ("ACGTAC",)),
    ],
)
def test_columns_come_along_in_the_order_of_the_table(
    keep: tuple[str, ...] | None, columns: list[str], fields: tuple[str, ...], write: Callable[..., Path]
) -> None:
    path = write("x.csv", ["", "b", "sequence", "id", "a"], ["0", '"x, y"', "ACGTAC", "s1", ""])
    assert kept_columns(open_table(path), keep) == columns
    assert [own[0::2] for own in table_sequences(open_table(path), 6, keep=keep)] == [("s1", fields)]
    with pytest.raises(InputError, match="'c'"):
        kept_columns(open_table(path), ["a", "c"])


def test_rows_are_numbered_through_and_memory_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 1 << 16)
    path = tmp_path / "x.csv.gz"
    rows = 60_000
    path.write_bytes(gzip.compress(b"sequence\n" + (b"ACGT" * 100 + b"\n") * rows))
    tracemalloc.start()
    allocated = pa.total_allocated_bytes()
    most = 0
    for number, (name, codes, _) in enumerate(table_sequences(open_table(path), 6)):
        assert (name, len(codes)) == (str(number), 400)
        most = max(most, pa.total_allocated_bytes() - allocated)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == rows - 1
    # The whole table is 24 MB; Arrow reads some 32 blocks ahead.
    assert most + python < 8e6


GENOME = {"chr1": "ACGTTGCAAACCCGGGTTTACG", "chr2": "GATTACAGATTACA", "chr3": "AAAAAAA"}


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{name} about it\n{own[:9]}\n{own[9:]}\n" for name, own in GENOME.items()))
    return path


def bed(folder: Path, *lines: str) -> Path:
    path = folder / "x.bed"
    path.write_text("".join(line + "\n" for line in lines))
    return path


@pytest.mark.parametrize("block", [4, 5, 1000])
def test_intervals_in_their_order_and_on_their_strand(block: int, genome: Path, tmp_path: Path) -> None:
    lines = ["track name=x", "# a comment", "", "chr2\t7\t14\tlast\t0\t-", "chr1\t0\t6", "chr1 2 9 . 0 +"]
    path = bed(tmp_path, *lines)
    with interval_sequences(path, read_fasta(genome, "x", block), "x", 3) as (count, found):
        assert (count.kept, count.beyond) == (3, 0)
        assert plain(found) == expected(
            ("last", GENOME["chr2"][7:14].translate(COMPLEMENT)[::-1]),
            ("chr1:0-6(.)", GENOME["chr1"][0:6]),
            ("chr1:2-9(+)", GENOME["chr1"][2:9]),
        )


def test_records_are_found_under_the_name_of_the_other_style(genome: Path, tmp_path: Path) -> None:
    path = bed(tmp_path, "2\t0\t4", "chr1\t0\t4\there", "2\t4\t9")
    with interval_sequences(path, read_blocks(genome), "x", 3) as (count, found):
        assert count.renamed == {"2": "chr2"}
        assert plain(found) == expected(
            ("2:0-4(.)", GENOME["chr2"][:4]), ("here", GENOME["chr1"][:4]), ("2:4-9(.)", GENOME["chr2"][4:9])
        )
    genome.write_text(">chr1\nACGTA\n>1\nCCCCC\n>CHR1\nGGGGG\n")
    with interval_sequences(bed(tmp_path, "1\t0\t3"), read_blocks(genome), "x", 3) as (count, found):
        assert count.renamed == {}
        assert plain(found) == expected(("1:0-3(.)", "CCC"))
    genome.write_text(">chr1\nACGTA\n>CHR1\nGGGGG\n")
    with (
        pytest.raises(InputError, match="x has the records chr1 and CHR1: which one 1 is is not clear"),
        interval_sequences(bed(tmp_path, "1\t0\t3"), read_blocks(genome), "x", 3),
    ):
        pass


def test_the_copy_of_the_genome_holds_the_named_records_and_is_removed(genome: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    path = bed(tmp_path, "chr2\t0\t4", "chr3\t0\t4")
    with interval_sequences(path, read_blocks(genome), "x", 3, scratch=scratch) as (_, found):
        next(found)
        assert [file.stat().st_size for file in scratch.rglob("genome")] == [14 + 7]
    assert list(scratch.iterdir()) == []


def test_narrow_peaks_may_be_compressed(tmp_path: Path) -> None:
    path = tmp_path / "x.narrowPeak.gz"
    path.write_bytes(gzip.compress(b"chr1\t3\t9\tpeak 1\t900\t.\t5.1\t-1\t2.2\t3\n"))
    assert [tuple(interval) for interval in read_bed(path)] == [("chr1", 3, 9, "peak 1", ".", 1)]


def test_intervals_beyond_the_ends_are_reported_or_left_out(genome: Path, tmp_path: Path) -> None:
    path = bed(tmp_path, "chr1\t0\t6", "chr3\t3\t8", "chr1\t16\t22", "chr2\t20\t30")
    with (
        pytest.raises(InputError, match=r"Line 2 of .*x.bed ends at 8, beyond the 7 bases of 'chr3' .*this kind: 2"),
        interval_sequences(path, read_blocks(genome), "genome.fa", 3),
    ):
        pass
    with interval_sequences(path, read_blocks(genome), "x", 3, beyond="leave out") as (count, found):
        assert (count.kept, count.beyond) == (2, 2)
        assert [named.name for named in found] == ["chr1:0-6(.)", "chr1:16-22(.)"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["chr1\t5"], r"Line 1 of .*x.bed is no BED interval .*'chr1\\t5'"),
        (["chr1\t-5\t9"], r"Line 1 of .*x.bed is no BED interval"),
        (["chr1\t0\t6", "chr1\t9\t9"], r"Line 2 of .*x.bed has the start 9 and the end 9"),
        (["chr1\t0\t6\ta\t0\tminus"], r"Line 1 of .*x.bed has the strand 'minus'"),
        (["# none"], r"x.bed has no interval\."),
        (["4\t0\t6"], r"Line 1 of .*x.bed is on '4', of which genome.fa has no record"),
        (["chr1\t0\t2"], r"Line 1 of .*x.bed has 2 bases: at least k = 3"),
    ],
)
def test_what_is_no_interval_is_named_with_its_line(
    lines: list[str], message: str, genome: Path, tmp_path: Path
) -> None:
    with (
        pytest.raises(InputError, match=message),
        interval_sequences(bed(tmp_path, *lines), read_blocks(genome), "genome.fa", 3),
    ):
        pass


def test_bad_genomes_and_files_are_refused(genome: Path, tmp_path: Path) -> None:
    path = bed(tmp_path, "chr1\t0\t6")
    genome.write_text(">chr1\nACGTACGT\n>chr2\nA-\n>chr1\nACGT\n")
    with (
        pytest.raises(InputError, match=r"Two records of genome.fa are named 'chr1'"),
        interval_sequences(path, read_blocks(genome), "genome.fa", 3),
    ):
        pass
    genome.write_text(">chr1\nACGTACGT-ACGT\n")
    with (
        pytest.raises(InputError, match=r"Record 'chr1' of genome.fa has '-' at position 9"),
        interval_sequences(path, read_fasta(genome, "genome.fa", 5), "genome.fa", 3),
    ):
        pass
    path.write_bytes(gzip.compress(b"chr1\t0\t6\n" * 9999)[:-9])
    with pytest.raises(InputError, match=r"x.bed cannot be read as a BED file"):
        list(read_bed(path))
    with pytest.raises(InputError, match=r"y.bed cannot be read as a BED file"):
        list(read_bed(path.with_name("y.bed")))
