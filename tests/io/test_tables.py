"""Tables of any kind give the same text; damaged ones are refused."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io.tables import find_column, open_table, sequence_column


def values(path: Path, *columns: str) -> list[dict[str, str | None]]:
    return [row for batch in open_table(path).batches(columns) for row in batch.to_pylist()]


def test_csv_tsv_and_parquet_gzip_or_not_are_the_same(tmp_path: Path) -> None:
    rows = [{"id": "a", "seq": "ACGT", "label": "1"}, {"id": "b, c", "seq": "CC", "label": ""}]
    csv = b'\xef\xbb\xbfid,seq,label\r\na,ACGT,1\r\n\r\n"b, c",CC,\r\n'
    contents = {
        "a.csv": csv,
        "b.csv.gz": gzip.compress(csv),
        "c": gzip.compress(csv[:20]) + gzip.compress(csv[20:]),  # several members, as bgzip writes
        "d.tsv": b"id\tseq\tlabel\na\tACGT\t1\nb, c\tCC\t",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    pa.parquet.write_table(pa.table({key: [row[key] for row in rows] for key in rows[0]}), tmp_path / "e.parquet")
    for name in [*contents, "e.parquet"]:
        assert open_table(tmp_path / name).names == ("id", "seq", "label"), name
        assert values(tmp_path / name, "seq", "id", "label") == rows, name


def test_parquet_of_any_type_is_text(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    columns = {
        "word": pa.array(["donor", None]).dictionary_encode(),
        "whole": [3, 4],
        "real": [0.5, float("nan")],
        "truth": [True, False],
        "several": [[1, 0], [1]],
    }
    pa.parquet.write_table(pa.table(columns), path)
    assert values(path, *columns) == [
        {"word": "donor", "whole": "3", "real": "0.5", "truth": "1", "several": "1,0"},
        {"word": None, "whole": "4", "real": "nan", "truth": "0", "several": "1"},
    ]


def test_rows_are_streamed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("sequence\n" + ("A" * 999 + "\n") * 3000)
    sizes = [len(batch) for batch in open_table(path).batches(["sequence"])]
    assert sum(sizes) == 3000
    assert max(sizes) < 1500


def test_columns_are_found_by_usual_names_or_as_told(write: Callable[..., Path]) -> None:
    table = open_table(write("x.csv", ["Seq", "reads", "other"]))
    assert sequence_column(table) == "Seq"
    assert sequence_column(table, "reads") == "reads"
    assert find_column(table, "", ("label",), "labels") is None
    with pytest.raises(InputError, match=r"x.csv has no column 'read': its columns are Seq, reads, other"):
        sequence_column(table, "read")
    with pytest.raises(InputError, match=r"several columns for the sequence \(seq, sequence\)"):
        sequence_column(open_table(write("y.csv", ["seq", "sequence"])))
    with pytest.raises(InputError, match=r"no column named sequence .* only ACGTACGT, 1: .* header"):
        sequence_column(open_table(write("z.csv", ["ACGTACGT", 1])))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\nsequence\nACGT\n", "begins with an empty line"),
        (b"sequence,label\nACGT,1\nAC\n", r"Row 2 of .* has 1 values where the header has 2: 'AC'"),
        (b"sequence,label\nACGT,1,2\n", r"Row 1 of .* has 3 values"),
        (b"sequence,label\nA\xff,1\n", r"has a letter that is not UTF-8"),
        ("sequence,label\n".encode("utf-16"), r"byte 1 of its first line is not UTF-8"),
        (gzip.compress(b"sequence,label\n" + b"ACGT,1\n" * 9999, mtime=0)[:-9], "cannot be read: .*[Tt]runcated"),
        (b"sequence,label\n" + b"A" * (3 << 20) + b",1\n", "has a row of more than 1 MiB"),
        (b"PAR1 and no more", "no CSV, TSV or Parquet table, or is damaged"),
        (b"\x1f\x8bnothing", "no CSV, TSV or Parquet table, or is damaged"),
    ],
)
def test_damaged_tables_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        values(path, "sequence", "label")


def test_semicolons_separate_where_a_header_has_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("sequence;label\nACGT;0,5\n")
    assert values(path, "sequence", "label") == [{"sequence": "ACGT", "label": "0,5"}]


def test_no_row_is_given_whose_number_would_be_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("sequence,label\nAC\nACGT,1\n")
    with pytest.raises(InputError, match="Row 1 of"):
        next(open_table(path).batches(["sequence"]))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file"):
        open_table(tmp_path / "x.csv")


def test_parquet_that_is_neither_text_nor_numbers_is_refused(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"label": [{"a": 1}]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="of type struct<a: int64>"):
        values(tmp_path / "x.parquet", "label")
