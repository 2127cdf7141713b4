"""FASTA in all its wrappings, and what is no FASTA."""

import gzip
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from Bio import bgzf
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hypothesis import given
from hypothesis import strategies as st

from dnabert_jax.errors import InputError
from dnabert_jax.io.fasta import read_fasta

TEXT = ">one first record\nACGT\nacgtN\n\n>two\r\nGG\r\nTT\r\n>empty\n>last\nA"
RECORDS = [("one", b"ACGTacgtN"), ("two", b"GGTT"), ("empty", b""), ("last", b"A")]


def read(path: Path, block_letters: int = 1 << 20) -> list[tuple[str, bytes]]:
    """Whole records, put together from their blocks."""
    records: list[tuple[str, bytes]] = []
    for block in read_fasta(path, block_letters=block_letters):
        if block.number == 0:
            records.append((block.record, b""))
        else:
            assert len(records[-1][1]) == block.number * block_letters, "a block that is not full stands before another"
        assert len(block.letters) <= block_letters
        records[-1] = (block.record, records[-1][1] + block.letters.tobytes())
    return records


def test_plain_gzip_and_bgzip_read_alike_whatever_the_name(tmp_path: Path) -> None:
    plain, gzipped, bgzipped = (tmp_path / name for name in ("a.fa", "b.fa", "c.txt"))
    plain.write_bytes(TEXT.encode())
    gzipped.write_bytes(gzip.compress(TEXT[:20].encode()) + gzip.compress(TEXT[20:].encode()))
    with bgzf.open(str(bgzipped), "wb") as file:
        file.write(TEXT.encode())
    assert read(plain) == read(gzipped) == read(bgzipped) == RECORDS


@pytest.mark.parametrize("read_bytes", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("block_letters", [1, 3, 4, 1000])
def test_records_do_not_depend_on_how_the_file_is_cut(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, read_bytes: int, block_letters: int
) -> None:
    monkeypatch.setattr("dnabert_jax.io.fasta._READ_BYTES", read_bytes)
    path = write("a.fa", TEXT)
    assert read(path, block_letters) == RECORDS


@given(st.lists(st.tuples(st.text("ab", min_size=1), st.lists(st.text("ACGTNacgt", max_size=80))), min_size=1))
def test_records_are_those_that_biopython_reads(records: list[tuple[str, list[str]]]) -> None:
    text = "\n".join("\n".join([f">{name} title", *lines]) for name, lines in records)
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        expected = [(title.split()[0], letters.encode()) for title, letters in SimpleFastaParser(io.StringIO(text))]
        assert read(Path(file.name), 100) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"ACGT\n", "'A'"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "'>'"),
        (b">\nACGT\n", "name"),
        (gzip.compress(TEXT.encode() * 1000, mtime=0)[:-30], "gzip"),
        (b"\x1f\x8bjunk that is no gzip", "gzip"),
    ],
)
def test_what_is_no_fasta_is_refused_by_name(write: Callable[..., Path], content: bytes, message: str) -> None:
    path = write("bad.fa", content)
    with pytest.raises(InputError, match=f"bad.fa.*{message}"):
        read(path)
