"""FASTA in all its wrappings, and what is no FASTA."""

import gzip
from pathlib import Path

import pytest
from Bio import bgzf

from data_prep.fasta import read_fasta
from dnabert_jax.errors import InputError

TEXT = ">one first record\nACGT\nacgtN\n\n>two\r\nGG\r\nTT\r\n>empty\n>last\nA"
RECORDS = [("one", b"ACGTacgtN"), ("two", b"GGTT"), ("empty", b""), ("last", b"A")]


def read(path: Path) -> list[tuple[str, bytes]]:
    return [(name, letters.tobytes()) for name, letters in read_fasta(path)]


def test_plain_gzip_and_bgzip_read_alike_whatever_the_name(tmp_path: Path) -> None:
    plain, gzipped, bgzipped = (tmp_path / name for name in ("a.fa", "b.fa", "c.txt"))
    plain.write_bytes(TEXT.encode())
    gzipped.write_bytes(gzip.compress(TEXT[:20].encode()) + gzip.compress(TEXT[20:].encode()))
    with bgzf.open(str(bgzipped), "wb") as file:
        file.write(TEXT.encode())
    assert read(plain) == read(gzipped) == read(bgzipped) == RECORDS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (gzip.compress(b""), "is empty"),
        (b"ACGT\n", "does not begin with '>'"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "no ASCII text"),
        (b">a\nACGT\xff\n", "no ASCII text"),
        (b">\nACGT\n", "without a name"),
        (gzip.compress(TEXT.encode() * 1000)[:-30], "broken or truncated gzip"),
        (b"\x1f\x8bjunk that is no gzip", "broken or truncated gzip"),
    ],
)
def test_what_is_no_fasta_is_refused_with_the_file_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.fa"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"bad.fa.*{message}"):
        read(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.fa", tmp_path):
        with pytest.raises(InputError, match="is not a file"):
            read(path)
