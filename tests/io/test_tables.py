"""Tables of any kind give the same text; damaged ones are refused."""

import csv
import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io.tables import LABEL_NAMES, SEQUENCE_NAMES, find_column, id_column, open_table, required_column


def values(path: Path, *columns: str) -> list[dict[str, str | None]]:
    return [row for batch in open_table(path).batches(columns) for row in batch.to_pylist()]


def test_csv_tsv_and_parquet_gzip_or_not_are_the_same(tmp_path: Path) -> None:
    rows = [{"id": "a", "seq": "ACGT", "label": "1"}, {"id": "b, c", "seq": "CC", "label": ""}]
    text = b'\xef\xbb\xbfid,seq,label\r\na,ACGT,1\r\n\r\n"b, c",CC,\r\n'
    contents = {
        "a.csv": text,
        "b.csv.gz": gzip.compress(text),
        "c": gzip.compress(text[:20]) + gzip.compress(text[20:]),  # several members, as bgzip writes
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
        "word": pa.array(["donor", None]).dictionary_encode(), "whole": [3, 4], "real": [0.5, float("nan")],
        "truth": [True, False], "several": [[1, 0], [1]],
    }  # fmt: skip
    pa.parquet.write_table(pa.table(columns), path)
    rows = [tuple(row.values()) for row in values(path, *columns)]
    assert rows == [("donor", "3", "0.5", "1", "1;0"), (None, "4", "nan", "0", "1")]
    pa.parquet.write_table(pa.table({"label": [{"a": 1}]}), path)
    with pytest.raises(InputError, match=r"'label' .* struct"):
        values(path, "label")


def test_rows_are_streamed_and_a_program_may_end_in_the_middle(write: Callable[..., Path]) -> None:
    path = write("x.csv", "sequence\n" + ("A" * 999 + "\n") * 3000)
    sizes = [len(batch) for batch in open_table(path).batches(["sequence"])]
    assert sum(sizes) == 3000
    assert max(sizes) < 1500
    path = write("x.tsv.gz", gzip.compress(b"sequence\tlabel\n" + b"ACGTACGTAC\t1\n" * 999_999, 1))
    program = (
        "import sys; from pathlib import Path; from dnabert_jax.io.tables import open_table;"
        "batches = open_table(Path(sys.argv[1])).batches(['label']); next(batches)"
    )
    assert subprocess.run([sys.executable, "-c", program, path], check=False, timeout=60).returncode == 0


def sequence_column(path: Path, wanted: str = "") -> str:
    return required_column(open_table(path), wanted, SEQUENCE_NAMES, "--sequence")


def test_columns_are_found_by_usual_names_or_as_told(write: Callable[..., Path]) -> None:
    path = write("x.csv", ["Seq", "reads", "other"])
    assert [sequence_column(path), sequence_column(path, "reads")] == ["Seq", "reads"]
    assert (id_column(open_table(path)), find_column(open_table(path), "", LABEL_NAMES, "--labels")) == (None, None)
    assert id_column(open_table(write("i.csv", ["name", "id", "seq"]))) == "name"
    limit = csv.field_size_limit()
    for content, wanted, message in (
        (["Seq", "reads", "other"], "read", r"x.csv .*'read'.* Seq, reads, other"),
        (["seq", "sequence"], "", r"seq, sequence.*--sequence"),
        (["ACGT" * 50_000], "", "ACGTACGT"),
        (["ACGTACGT", 1], "", r"ACGTACGT, 1.*--sequence"),
    ):
        with pytest.raises(InputError, match=message):
            sequence_column(write("x.csv", content), wanted)
    assert csv.field_size_limit() == limit, "that of other readers"
    # Of two columns with one name, the second is told apart as in pandas.
    path = write("x.csv", "label,label,label.1,sequence\n1,2,3,ACGT\n")
    assert values(path, "label", "label.1", "label.2") == [{"label": "1", "label.1": "3", "label.2": "2"}]
    with pytest.raises(InputError, match=r"label, label\.2.*--labels"):
        find_column(open_table(path), "", LABEL_NAMES, "--labels")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\nsequence\nACGT\n", "empty line"),
        (b"sequence,label\r\r\rACGT,1\rAC\r", r"Row 2 of .*'AC'"),
        (b"sequence,label\nACGT,1,2\n", r"Row 1 of .*x.csv has 3 values"),
        (b"sequence,label\nAC\nACGT,1\n", "Row 1 of .*'AC'"),
        ("sequence,label\n".encode("utf-16"), "UTF-16"),
        (b"sequence\0,label\n", "x.csv is not a CSV"),
        (gzip.compress(b"sequence,label\n" + b"ACGT,1\n" * 9999, mtime=0)[:-9], "x.csv is a damaged or truncated gzip"),
        (b"sequence,label\n" + b"A" * (3 << 20) + b",1\n", "x.csv .* 1 MiB"),
        (b"PAR1 and no more", "x.csv is a damaged Parquet"),
    ],
)
def test_damaged_tables_are_refused(content: bytes, message: str, write: Callable[..., Path]) -> None:
    path = write("x.csv", content)
    with pytest.raises(InputError, match=message):
        values(path, "sequence", "label")


@pytest.mark.parametrize("row", ['1,"x\ny"', '5",x'])
def test_quotes_are_read_alike_wherever_they_stand(row: str, tmp_path: Path) -> None:
    count = 3_000_000 // len(row)  # more than two blocks
    (tmp_path / "x").write_text("\n".join(["sequence,label", "1,1", *[row] * count, ""]))
    first, last = row.split(",")
    expected = {"sequence": first, "label": last.strip('"')}
    assert values(tmp_path / "x", "sequence", "label") == [{"sequence": "1", "label": "1"}, *[expected] * count]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_each_line_end_and_a_byte_order_mark(end: str, tmp_path: Path) -> None:
    rows = [{"sequence": "ACGT" * 50, "label": str(number)} for number in range(9999)]  # more than one block
    text = end.join(["sequence,label", *(",".join(row.values()) for row in rows), *[",", " , "] * (len(end))])
    content = b"\xef\xbb\xbf" + text.encode()
    for packed in (content, gzip.compress(content)):
        (tmp_path / "x").write_bytes(packed)
        assert values(tmp_path / "x", "sequence", "label") == rows


@pytest.mark.parametrize("rows", ["ACGT,1", "ACGT,1,", "ACGT,1,,\nCC,,,", ""])
@pytest.mark.parametrize("header", ["sequence,label", "sequence , label,", '"sequence", "label",,'])
def test_separators_behind_the_last_value_are_columns_without_a_name(header: str, rows: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(f"{header}\n{rows}\n,,,\n")
    expected = [row.split(",")[:2] for row in rows.splitlines()]
    assert [list(row.values()) for row in values(tmp_path / "x", "sequence", "label")] == expected
    # Semicolons separate where a header has nothing else.
    (tmp_path / "x").write_text("sequence;label\nACGT;0,5\n")
    assert values(tmp_path / "x", "sequence", "label") == [{"sequence": "ACGT", "label": "0,5"}]


def test_bytes_that_are_not_utf8_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("a,é,sequence\nEpichloë,1,ACGT\n".encode() + b"Epichlo\xeb,2,AA\nEpichlo\xe9,3,CC\n")
    assert [row["a"] for row in values(tmp_path / "x", "a")] == ["Epichloë", "Epichlo\\xeb", "Epichlo\\xe9"]
    assert [row["é"] for row in values(tmp_path / "x", "é")] == ["1", "2", "3"]
    (tmp_path / "x").write_bytes(b"sequence,caf\xe9\nACGT,1\n")
    table = open_table(tmp_path / "x")
    assert find_column(table, os.fsdecode(b"caf\xe9"), (), "--labels") == table.names[1] == "caf\\xe9"
