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
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.tables import open_table
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.tasks.datasets.unlabelled import fasta_sequences, kept_columns, table_sequences


def plain(found: object) -> list[tuple[str, list[int]]]:
    return [(name, codes.tolist()) for name, codes, *_ in found]  # type: ignore[attr-defined]


def expected(*named: tuple[str, str]) -> list[tuple[str, list[int]]]:
    return [(name, base_codes(sequence.encode()).tolist()) for name, sequence in named]


def test_records_of_fasta(write: Callable[..., Path]) -> None:
    path = write("x.fa", ">b first\nACGT\nACgt\n>a\nCCCN\n")
    left_out = LeftOut()
    read = fasta_sequences(read_blocks(path), str(path), KmerTokenizer(3), left_out)
    assert plain(read) == expected(("b", "ACGTACGT"), ("a", "CCCN"))
    path.write_text(">b\nACGT\n>a\nCC\n")
    assert plain(fasta_sequences(read_blocks(path), str(path), KmerTokenizer(3), left_out)) == expected(("b", "ACGT"))
    assert left_out.total == 1
    assert "'a'" in left_out.sentences()[0]
    path.write_text(">b\nACGTAXGT\n")
    with pytest.raises(InputError, match=r"Record 'b' of .*x.fa has 'X' at position 6"):
        plain(fasta_sequences(read_blocks(path), str(path), KmerTokenizer(3), LeftOut()))


def test_a_record_that_would_not_fit_memory_is_refused_whole(
    write: Callable[..., Path],
) -> None:
    path = write("x.fa", ">a\nACGT\n>long\nACGTACGT\n>c\nACGT\n")
    given = []
    with pytest.raises(InputError, match=r"Record 'long' of x.fa is too long .* BED"):
        given.extend(
            named.name for named in fasta_sequences(read_fasta(path, "x.fa", 5), "x.fa", KmerTokenizer(3), LeftOut())
        )
    assert given == ["a"]


def test_rows_of_tables(write: Callable[..., Path], dna: Callable[..., list[str]]) -> None:
    sequences = dna(9)
    path = write("x.csv", ["id", "sequence"], *((f"s{row}", sequence) for row, sequence in enumerate(sequences)))
    assert plain(table_sequences(open_table(path), KmerTokenizer(6))) == expected(
        *((f"s{row}", own) for row, own in enumerate(sequences))
    )
    numbered = expected(*((str(row), own) for row, own in enumerate(sequences)))
    kmers = write("x.tsv", ["reads"], *([split_kmers(sequence, 6)] for sequence in sequences))
    assert plain(table_sequences(open_table(kmers), KmerTokenizer(6), sequence="reads")) == numbered
    pa.parquet.write_table(pa.table({"seq": sequences}), path.with_suffix(".parquet"))
    assert plain(table_sequences(open_table(path.with_suffix(".parquet")), KmerTokenizer(6))) == numbered
    by_itself = expected(*((own, own) for own in sequences))
    assert plain(table_sequences(open_table(path), KmerTokenizer(6), sequence="sequence", name="sequence")) == by_itself


@pytest.mark.parametrize(
    ("keep", "columns", "fields"),
    [
        ((), ["", "b", "sequence", "id", "a"], ("0", "x, y", "ACGTAC", "s1", "")),
        (("a", "id", "b"), ["b", "id", "a"], ("x, y", "s1", "")),
        (("sequence",), ["sequence"], ("ACGTAC",)),
    ],
)
def test_columns_come_along_in_the_order_of_the_table(
    keep: tuple[str, ...], columns: list[str], fields: tuple[str, ...], write: Callable[..., Path]
) -> None:
    path = write("x.csv", ["", "b", "sequence", "id", "a"], ["0", '"x, y"', "ACGTAC", "s1", ""])
    assert kept_columns(open_table(path), keep) == columns
    assert [own[0::2] for own in table_sequences(open_table(path), KmerTokenizer(6), keep=columns)] == [("s1", fields)]
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
    for number, (name, codes, _) in enumerate(table_sequences(open_table(path), KmerTokenizer(6))):
        assert (name, len(codes)) == (str(number), 400)
        most = max(most, pa.total_allocated_bytes() - allocated)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == rows - 1
    # The whole table is 24 MB; Arrow reads some 32 blocks ahead.
    assert most + python < 8e6
