""".2bit is read as the FASTA it was made from."""

import struct
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from dnabert_jax.errors import InputError
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.io.twobit import TWOBIT_MAGIC, read_twobit


def stretches(flags: list[bool]) -> list[tuple[int, int]]:
    """Start and length of each stretch of True."""
    found, position = [], 0
    for flag, group in groupby(flags):
        length = len(list(group))
        if flag:
            found.append((position, length))
        position += length
    return found


def write_twobit(path: Path, records: dict[str, str], order: str = "<") -> None:
    """The format as UCSC describes it: T 0, C 1, A 2, G 3, four bases a byte, the first in the highest bits."""
    bodies = []
    for letters in records.values():
        body = struct.pack(order + "I", len(letters))
        for flags in ([letter in "Nn" for letter in letters], [letter.islower() for letter in letters]):
            blocks = stretches(flags)
            body += struct.pack(order + "I", len(blocks))
            body += struct.pack(f"{order}{len(blocks)}I", *(start for start, _ in blocks))
            body += struct.pack(f"{order}{len(blocks)}I", *(length for _, length in blocks))
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


@pytest.fixture
def records() -> dict[str, str]:
    rng = np.random.default_rng(0)
    return {
        "chr1": "NNNN" + "".join(rng.choice(list("ACGTacgt"), 501)) + "NN" + "".join(rng.choice(list("ACGT"), 400)),
        "chr2": "".join(rng.choice(list("ACGTacgtN"), 203)),
    }


@pytest.mark.parametrize("block_letters", [1 << 20, 100, 37])
@pytest.mark.parametrize("order", ["<", ">"])
def test_blocks_spell_the_records(tmp_path: Path, records: dict[str, str], order: str, block_letters: int) -> None:
    path = tmp_path / "genome.2bit"
    write_twobit(path, records, order)
    read = dict.fromkeys(records, "")
    for block in read_twobit(path, block_letters=block_letters):
        assert len(read[block.record]) == block.number * block_letters
        read[block.record] += block.letters.tobytes().decode()
    assert {name: text.replace("n", "N") for name, text in read.items()} == records


def test_rows_are_those_of_the_same_fasta(tmp_path: Path, records: dict[str, str]) -> None:
    write_twobit(tmp_path / "a.2bit", records)
    (tmp_path / "a.fa").write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    shards = []
    for name in ("a.2bit", "a.fa"):
        out = tmp_path / f"{name}.rows"
        prepare_genome(GenomeJob((tmp_path / name,), out, lower_case="drop", row_length=64, k=3))
        shards.append([path.read_bytes() for path in sorted(out.glob("*.tfrecord"))])
    assert shards[0] == shards[1]
    assert shards[0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_record_that_cannot_be_found_or_told_from_another_is_missed(
    tmp_path: Path, records: dict[str, str], order: str
) -> None:
    path = tmp_path / "genome.2bit"
    write_twobit(path, records, order)
    content = bytearray(path.read_bytes())
    content[21:25] = struct.pack(order + "I", 0x7FFFFFFF)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"genome\.2bit is damaged: its record 'chr1' lies beyond its end"):
        list(read_blocks(path))
    content[20:21] = b"2"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"Two records of .*genome\.2bit are named 'chr2'"):
        list(read_blocks(path))


def test_a_damaged_file_is_refused(tmp_path: Path, records: dict[str, str]) -> None:
    path = tmp_path / "genome.2bit"
    write_twobit(path, records)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(InputError, match=r"genome\.2bit"):
        list(read_blocks(path))
