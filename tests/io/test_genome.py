"""Genomes in FASTA, plain, packed or indexed, and in .2bit are read alike; contigs are found by any of their names."""

import gzip
import io
import re
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest
from Bio import bgzf
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hypothesis import given
from hypothesis import strategies as st

from dnabert_jax.errors import InputError
from dnabert_jax.io import fasta
from dnabert_jax.io.contigs import ContigNames, contig_key
from dnabert_jax.io.fasta import indexed_blocks, read_fasta
from dnabert_jax.io.genome import TWOBIT_MAGIC, read_blocks, read_twobit


def read(path: Path, block_letters: int = 1 << 20) -> list[tuple[str, bytes]]:
    """Whole records, put together from their blocks."""
    records: list[tuple[str, bytes]] = []
    for name, number, letters in read_fasta(path, block_letters=block_letters):
        records += [(name, b"")] if number == 0 else []
        # All blocks before the last one are full.
        assert len(records[-1][1]) == number * block_letters
        assert len(letters) <= block_letters
        records[-1] = (name, records[-1][1] + letters.tobytes())
    return records


@given(
    st.lists(st.tuples(st.text("ab", min_size=1), st.lists(st.text("ACGTNacgt", max_size=80))), min_size=1),
    st.sampled_from(["\n", "\r\n"]), st.sampled_from([1, 2, 3, 7, 64, 1 << 20]), st.sampled_from([1, 3, 100, 1000]),
    st.sampled_from(["plain", "gzip", "bgzip"]),
)  # fmt: skip
def test_records_are_those_of_biopython_however_the_file_is_cut_or_packed(
    records: list[tuple[str, list[str]]], end: str, read_bytes: int, block_letters: int, packing: str
) -> None:
    text = "\n".join("\n".join([f">{name} title", *lines]) for name, lines in records)
    expected = [(title.split()[0], letters.encode()) for title, letters in SimpleFastaParser(io.StringIO(text))]
    content = text.replace("\n", end).encode()
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "_READ_BYTES", read_bytes)
        path = Path(directory, "a.fa")
        if packing == "bgzip":
            with bgzf.open(str(path), "wb") as file:
                file.write(content)
        else:  # several members, as bgzip writes too
            path.write_bytes(
                content if packing == "plain" else gzip.compress(content[:20]) + gzip.compress(content[20:])
            )
        assert read(path, block_letters) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"ACGT\n", "'A'"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "'>'"),
        (b">\nACGT\n", "name"),
        (gzip.compress(b">a\nACGT\n" * 5000, mtime=0)[:-30], "gzip"),
        (b"\x1f\x8bjunk that is no gzip", "gzip"),
    ],
)
def test_what_is_no_fasta_is_refused_by_name(write: Callable[..., Path], content: bytes, message: str) -> None:
    path = write("bad.fa", content)
    with pytest.raises(InputError, match=f"bad.fa.*{message}"):
        read(path)


INDEXED = ">chr1 of many\nACGTACGTAC\nacgtnACGTA\nGG\n>empty\n>chr2\nTTTTT\nCCCCC\n\n>chrM\nGATTACA\n>last\nACG"


def indexed(path: Path, text: str = INDEXED) -> Path:
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


def read_indexed(path: Path, *names: str) -> list[tuple[str, int, bytes]]:
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
    path = indexed(tmp_path / name, INDEXED.replace("\n", line_end))
    every = [(record, number, letters.tobytes()) for record, number, letters in read_blocks(path)]
    for asked, records in ((("1", "MT"), ("chr1", "chrM")), (("chr2", "last"), ("chr2", "last"))):
        assert read_indexed(path, *asked) == [own for own in every if own[0] in records]
    # samtools indexes no record without bases.
    assert read_indexed(path, "chr9", "empty") == []
    Path(f"{path}.gzi" if name.endswith("gz") else f"{path}.fai").unlink()
    assert indexed_blocks(path, {"1"}) is None


def test_other_records_are_not_read(tmp_path: Path) -> None:
    path = indexed(tmp_path / "g.fa.gz", f">one\n{'A' * 40}\n>two\n{'C' * 40}\n")
    # The block of the text that begins at 18, within the first record.
    damaged = bytearray(path.read_bytes())
    start = int.from_bytes(Path(f"{path}.gzi").read_bytes()[24:32], "little")
    damaged[start + 20] ^= 255
    path.write_bytes(damaged)
    assert read_indexed(path, "two") == [("two", 0, b"C" * 40)]
    with pytest.raises(InputError, match=str(path)):
        read_indexed(path, "one")
    # Titles may begin with a space and be long.
    path = indexed(tmp_path / "g.fa", f"> one {'x' * 100_000}\nACG\n>\ttwo {'y' * 100_000}\nTT\n")
    assert read_indexed(path, "one", "two") == [("one", 0, b"ACG"), ("two", 0, b"TT")]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (INDEXED.replace("GG\n", "GGG\n"), "chr2"),
        (INDEXED.replace("GG\n", "G\n"), "chr2"),
        (INDEXED.replace("chr2", "chr3"), "chr2"),
        (INDEXED.replace("ACGTACGTAC\nacgtnACGTA\nGG", "A" * 24), "chr1"),
        (INDEXED + "\n>more\nACG\n", "last"),
        (INDEXED[:-1], "last|Within offset"),
        (">chr1\nACG\n", "begin"),
    ],
)
@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz"])
def test_an_index_of_another_file_is_refused(tmp_path: Path, name: str, text: str, named: str) -> None:
    other = indexed(tmp_path / f"other.{name}")
    path = indexed(tmp_path / name, text)
    shutil.copy(f"{other}.fai", f"{path}.fai")
    with pytest.raises(InputError, match=named):
        read_indexed(path, "1", "last")


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
        read_indexed(path, "1", "last")


def write_twobit(path: Path, records: dict[str, str], order: str = "<") -> None:
    """The format as UCSC describes it: T 0, C 1, A 2, G 3, four bases a byte, the first in the highest bits."""
    bodies = []
    for letters in records.values():
        body = struct.pack(order + "I", len(letters))
        for pattern in ("[Nn]+", "[a-z]+"):
            spans = [match.span() for match in re.finditer(pattern, letters)]
            numbers = len(spans), *(start for start, _ in spans), *(end - start for start, end in spans)
            body += struct.pack(f"{order}{len(numbers)}I", *numbers)
        body += struct.pack(order + "I", 0)
        codes = ["TCAG".index(letter) if letter in "TCAG" else 0 for letter in letters.upper()]
        codes += [0] * (-len(codes) % 4)
        body += bytes(a << 6 | b << 4 | c << 2 | d for a, b, c, d in zip(*[iter(codes)] * 4, strict=True))
        bodies.append(body)
    offset = 16 + sum(5 + len(name) for name in records)
    content = struct.pack(order + "4I", TWOBIT_MAGIC, 0, len(records), 0)
    for name, body in zip(records, bodies, strict=True):
        content += bytes([len(name)]) + name.encode() + struct.pack(order + "I", offset)
        offset += len(body)
    path.write_bytes(content + b"".join(bodies))


@pytest.mark.parametrize("order", ["<", ">"])
def test_blocks_of_twobit_spell_the_records_and_damage_is_named(tmp_path: Path, order: str) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "genome.2bit"
    parts = ["".join(rng.choice(list(letters), size)) for letters, size in (("ACGTacgt", 501), ("ACGTacgtN", 203))]
    records = {"chr1": f"NNNN{parts[0]}NN{parts[0].upper()}", "chr2": parts[1]}
    write_twobit(path, records, order)
    for block_letters in (1 << 20, 100, 37):
        read = dict.fromkeys(records, "")
        for block in read_twobit(path, block_letters=block_letters):
            assert len(read[block.record]) == block.number * block_letters
            read[block.record] += block.letters.tobytes().decode()
        assert {name: text.replace("n", "N") for name, text in read.items()} == records
    whole = path.read_bytes()
    beyond = whole[:21] + struct.pack(order + "I", 0x7FFFFFFF) + whole[25:]
    for content, named in ((beyond, "'chr1'"), (whole[:20] + b"2" + whole[21:], "'chr2'"), (whole[:400], "")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"genome\.2bit.*{named}"):
            list(read_blocks(path))


HG19 = ("chr1", "chr22", "chrX", "chrM", "chrMT", "chrUn_gl000220")


@pytest.mark.parametrize(
    ("contigs", "name", "candidates"),
    [
        (HG19, "chr22", ["chr22"]),
        (HG19, "22", ["chr22"]),
        (HG19, "MT", ["chrMT"]),
        (HG19, "M", ["chrM"]),
        (HG19, "chrM", ["chrM"]),
        (HG19, "Mt", ["chrM", "chrMT"]),
        (HG19, "chrUn_GL000220", ["chrUn_gl000220"]),
        (HG19, "chr2", []),
        (("1", "MT"), "chrM", ["MT"]),
        (("Chr1", "ChrM"), "Mt", ["ChrM"]),
        (("chr1", "1", "CHR1"), "1", ["1"]),
        (("chr1", "CHR1"), "1", ["chr1", "CHR1"]),
    ],
)
def test_the_contig_of_a_name(contigs: tuple[str, ...], name: str, candidates: list[str]) -> None:
    names = ContigNames(contigs)
    assert names.candidates(name) == candidates
    assert names.find(name) == (candidates[0] if len(candidates) == 1 else None)
    assert {contig_key(contig) for contig in candidates} <= {contig_key(name)}
    assert all(contig in names.why_not(name) for contig in candidates if len(candidates) > 1)
