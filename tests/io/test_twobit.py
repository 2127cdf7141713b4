""".2bit is read as the FASTA it was made from."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from dnabert_jax.errors import InputError
from dnabert_jax.io.genome import TWOBIT_MAGIC, read_blocks, read_twobit


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
def test_damaged_files_are_refused(tmp_path: Path, records: dict[str, str], order: str) -> None:
    path = tmp_path / "genome.2bit"
    write_twobit(path, records, order)
    whole = path.read_bytes()
    beyond = whole[:21] + struct.pack(order + "I", 0x7FFFFFFF) + whole[25:]
    for content, named in ((beyond, "'chr1'"), (whole[:20] + b"2" + whole[21:], "'chr2'"), (whole[:400], "")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"genome\.2bit.*{named}"):
            list(read_blocks(path))
