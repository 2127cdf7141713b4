"""Records read by an index of samtools are those of the whole file, and no others are read."""

import shutil
from pathlib import Path

import pysam
import pytest
from Bio import bgzf

from dnabert_jax.errors import InputError
from dnabert_jax.io import fasta_index
from dnabert_jax.io.contigs import contig_key
from dnabert_jax.io.fasta_index import indexed_blocks
from dnabert_jax.io.genome import read_blocks

TEXT = ">chr1 of many\nACGTACGTAC\nacgtnACGTA\nGG\n>empty\n>chr2\nTTTTT\nCCCCC\n\n>chrM\nGATTACA\n>last\nACG"


def indexed(path: Path, text: str = TEXT) -> Path:
    """Writes the file, its text in bgzip blocks of 9 letters if its name says so, and the index."""
    if path.suffix == ".gz":
        with bgzf.BgzfWriter(str(path), "wb") as file:
            for first in range(0, len(text), 9):
                file.write(text[first : first + 9].encode())
                file.flush()
    else:
        path.write_bytes(text.encode())
    pysam.faidx(str(path))
    return path


def read(path: Path, *names: str) -> list[tuple[str, int, bytes]]:
    blocks = indexed_blocks(path, {contig_key(name) for name in names})
    assert blocks is not None
    return [(name, number, letters.tobytes()) for name, number, letters in blocks]


@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [3, 10, 1 << 20])
def test_records_are_those_of_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line_end: str, block: int
) -> None:
    monkeypatch.setattr("dnabert_jax.io.genome.BLOCK_LETTERS", block)
    monkeypatch.setattr(fasta_index, "BLOCK_LETTERS", block)
    path = indexed(tmp_path / name, TEXT.replace("\n", line_end))
    every = [(record, number, letters.tobytes()) for record, number, letters in read_blocks(path)]
    for asked, records in ((("1", "MT"), ("chr1", "chrM")), (("chr2", "last"), ("chr2", "last"))):
        assert read(path, *asked) == [own for own in every if own[0] in records]
    # samtools indexes no record without bases.
    assert read(path, "chr9", "empty") == []


def test_other_records_are_not_read(tmp_path: Path) -> None:
    path = indexed(tmp_path / "g.fa.gz", f">one\n{'A' * 40}\n>two\n{'C' * 40}\n")
    # The block of the text that begins at 18, within the first record.
    damaged = bytearray(path.read_bytes())
    start = int.from_bytes(Path(f"{path}.gzi").read_bytes()[24:32], "little")
    damaged[start + 20] ^= 255
    path.write_bytes(damaged)
    assert read(path, "two") == [("two", 0, b"C" * 40)]
    with pytest.raises(InputError, match="cannot be read by its index"):
        read(path, "one")


def test_titles_may_begin_with_a_space_and_be_long(tmp_path: Path) -> None:
    path = indexed(tmp_path / "g.fa", f"> one {'x' * 100_000}\nACG\n>\ttwo {'y' * 100_000}\nTT\n")
    assert read(path, "one", "two") == [("one", 0, b"ACG"), ("two", 0, b"TT")]


def test_without_an_index_there_are_no_blocks(tmp_path: Path) -> None:
    path = indexed(tmp_path / "g.fa.gz")
    Path(f"{path}.gzi").unlink()
    assert indexed_blocks(path, {"1"}) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (TEXT.replace("GG\n", "GGG\n"), "the bases of chr2 do not begin where it says"),
        (TEXT.replace("GG\n", "G\n"), "the bases of chr2 do not begin where it says"),
        (TEXT.replace("chr2", "chr3"), "the bases of chr2 do not begin where it says"),
        (TEXT.replace("ACGTACGTAC\nacgtnACGTA\nGG", "A" * 24), "chr1 has another length"),
        (TEXT + "\n>more\nACG\n", "the last record ends elsewhere"),
        (TEXT[:-1], "last has another length|Within offset"),
        (">chr1\nACG\n", "do not begin where it says"),
    ],
)
@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz"])
def test_an_index_of_another_file_is_refused(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    other = indexed(tmp_path / f"other.{name}")
    path = indexed(tmp_path / name, text)
    shutil.copy(f"{other}.fai", f"{path}.fai")
    with pytest.raises(InputError, match=sentence):
        read(path, "1", "last")


@pytest.mark.parametrize(
    "line",
    [
        "chr1", "chr1\t22\t14\t10\t-11", "chr1\t22\t14\t0\t0", "chr1\t22\t99999999\t10\t11",
        f"chr1\t{10**15}\t14\t10\t11", f"chr1\t{10**12 - 1}\t14\t10\t11", f"chr1\t22\t{10**30}\t10\t11",
    ],
)  # fmt: skip
def test_a_damaged_index_is_refused(tmp_path: Path, line: str) -> None:
    path = indexed(tmp_path / "g.fa")
    Path(f"{path}.fai").write_text(f"{line}\n")
    with pytest.raises(InputError, match="make the index anew, or remove it"):
        read(path, "1")


@pytest.mark.parametrize("content", [b"", b"123", bytes(16), b"\1" + b"\0" * 7 + b"\xff" * 16])
def test_a_damaged_index_of_bgzip_is_refused(tmp_path: Path, content: bytes) -> None:
    path = indexed(tmp_path / "g.fa.gz")
    Path(f"{path}.gzi").write_bytes(content)
    with pytest.raises(InputError, match="make the index anew, or remove it"):
        read(path, "last")
