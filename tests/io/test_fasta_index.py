"""Records read by an index of samtools are those of the whole file, and no others are read."""

import shutil
from pathlib import Path

import pysam
import pytest
from Bio import bgzf

from dnabert_jax.errors import InputError
from dnabert_jax.io import fasta
from dnabert_jax.io.contigs import contig_key
from dnabert_jax.io.fasta import indexed_blocks
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
    monkeypatch.setattr(fasta, "BLOCK_LETTERS", block)
    path = indexed(tmp_path / name, TEXT.replace("\n", line_end))
    every = [(record, number, letters.tobytes()) for record, number, letters in read_blocks(path)]
    for asked, records in ((("1", "MT"), ("chr1", "chrM")), (("chr2", "last"), ("chr2", "last"))):
        assert read(path, *asked) == [own for own in every if own[0] in records]
    # samtools indexes no record without bases.
    assert read(path, "chr9", "empty") == []
    Path(f"{path}.gzi" if name.endswith("gz") else f"{path}.fai").unlink()
    assert indexed_blocks(path, {"1"}) is None


def test_other_records_are_not_read(tmp_path: Path) -> None:
    path = indexed(tmp_path / "g.fa.gz", f">one\n{'A' * 40}\n>two\n{'C' * 40}\n")
    # The block of the text that begins at 18, within the first record.
    damaged = bytearray(path.read_bytes())
    start = int.from_bytes(Path(f"{path}.gzi").read_bytes()[24:32], "little")
    damaged[start + 20] ^= 255
    path.write_bytes(damaged)
    assert read(path, "two") == [("two", 0, b"C" * 40)]
    with pytest.raises(InputError, match=str(path)):
        read(path, "one")


def test_titles_may_begin_with_a_space_and_be_long(tmp_path: Path) -> None:
    path = indexed(tmp_path / "g.fa", f"> one {'x' * 100_000}\nACG\n>\ttwo {'y' * 100_000}\nTT\n")
    assert read(path, "one", "two") == [("one", 0, b"ACG"), ("two", 0, b"TT")]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (TEXT.replace("GG\n", "GGG\n"), "chr2"),
        (TEXT.replace("GG\n", "G\n"), "chr2"),
        (TEXT.replace("chr2", "chr3"), "chr2"),
        (TEXT.replace("ACGTACGTAC\nacgtnACGTA\nGG", "A" * 24), "chr1"),
        (TEXT + "\n>more\nACG\n", "last"),
        (TEXT[:-1], "last|Within offset"),
        (">chr1\nACG\n", "begin"),
    ],
)
@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz"])
def test_an_index_of_another_file_is_refused(tmp_path: Path, name: str, text: str, named: str) -> None:
    other = indexed(tmp_path / f"other.{name}")
    path = indexed(tmp_path / name, text)
    shutil.copy(f"{other}.fai", f"{path}.fai")
    with pytest.raises(InputError, match=named):
        read(path, "1", "last")


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        *((".fai", line.encode()) for line in ("chr1", "chr1\t22\t14\t10\t-11", "chr1\t22\t14\t0\t0")),
        *((".fai", f"chr1\t22\t{place}\t10\t11".encode()) for place in (99999999, 10**30)),
        *((".fai", f"chr1\t{length}\t14\t10\t11".encode()) for length in (10**15, 10**12 - 1)),
        *((".gzi", content) for content in (b"", b"123", bytes(16), b"\1" + b"\0" * 7 + b"\xff" * 16)),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = indexed(tmp_path / ("g.fa" if ending == ".fai" else "g.fa.gz"))
    Path(f"{path}{ending}").write_bytes(content + b"\n" * (ending == ".fai"))
    with pytest.raises(InputError, match=f"{path}.fai"):
        read(path, "1", "last")
