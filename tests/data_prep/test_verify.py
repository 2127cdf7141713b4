"""`prepare verify` finds whatever is wrong, and nothing where nothing is."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from data_prep.verify import verify_directory
from dnabert_jax.data.manifest import FILE_NAME
from dnabert_jax.data.tfrecord import RecordLayout, encode_rows
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    fasta = tmp_path / "short.fa"
    fasta.write_text(">a\n" + "".join(np.random.default_rng(0).choice(list("ACGT"), 700)))
    prepare_genome(GenomeJob((fasta,), tmp_path / "rows", k=3, row_length=32, rows_per_shard=12, heldout_fraction=0.3))
    return tmp_path / "rows"


def test_a_sound_directory_has_no_problem(directory: Path, tmp_path: Path) -> None:
    assert verify_directory(directory) == []
    prepare_genome(GenomeJob((HELDOUT_FASTA,), tmp_path / "more", rows="single", reverse_complement=True))
    assert verify_directory(tmp_path / "more") == []


def test_every_byte_of_every_shard_counts(directory: Path) -> None:
    stride = RecordLayout(32).stride
    shard = sorted(directory.glob("heldout-*"))[-1]
    whole = shard.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        shard.write_bytes(damaged)
        problems = verify_directory(directory)
        assert any(f"{shard}: record {position // stride} is damaged" in problem for problem in problems), position
        assert any("another SHA-256" in problem for problem in problems)


def test_all_problems_are_reported_together(directory: Path) -> None:
    shards = sorted(directory.glob("train-*.tfrecord"))
    assert len(shards) > 2
    content = shards[0].read_bytes()
    stride = RecordLayout(32).stride
    shards[0].write_bytes(content[: stride + 50] + b"\xff" + content[stride + 51 :])
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    shards[2].unlink()
    (directory / "train-00000-of-00009.tfrecord").write_bytes(content)
    problems = "\n".join(verify_directory(directory))
    for expected in (
        f"{shards[0]}: record 1 is damaged", f"{shards[0]} has another SHA-256",
        f"{shards[1]} has ", f"{shards[2]} is missing", "train-00000-of-00009.tfrecord is not in the manifest",
    ):  # fmt: skip
        assert expected in problems


KMERS = [5, 5, 5, 5, 5]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ([CLS, *KMERS, SEP, *[69] * 25], "outside of the vocabulary"),
        ([CLS, 5, 5, 5, 6, 5, SEP], "do not overlap"),
        ([CLS, 5, 5, 5, 5, SEP], "fewer than 5"),
        ([CLS, SEP], "no row"),
        ([*KMERS, SEP], "no row"),
        ([CLS, *KMERS, *KMERS], "no row"),
        ([CLS, *KMERS, SEP, PAD, CLS, *KMERS, SEP], "no row"),
        ([CLS, *KMERS, SEP, *KMERS, SEP], "no row"),
        ([CLS, *KMERS, 1, 5, SEP], "no row"),
        ([CLS, *KMERS, 4, 5, SEP], "no row"),
        ([], "no row"),
    ],
)
def test_rows_that_are_none_are_found_though_their_checksums_hold(
    directory: Path, row: list[int], problem: str
) -> None:
    shard = sorted(directory.glob("heldout-*"))[-1]
    content = shard.read_bytes()
    stride = RecordLayout(32).stride
    padded = np.array([row + [PAD] * (32 - len(row))], np.uint16)
    shard.write_bytes(content[:-stride] + encode_rows(padded).tobytes())
    problems = verify_directory(directory)
    number = len(content) // stride - 1
    assert any(f"record {number} is no row" in p and problem in p for p in problems)


@pytest.mark.parametrize("what", ["sequences", "kmers"])
def test_counts_are_compared(directory: Path, what: str) -> None:
    path = directory / FILE_NAME
    manifest = json.loads(path.read_text())
    manifest["splits"]["train"][what] += 1
    path.write_text(json.dumps(manifest))
    (problem,) = verify_directory(directory)
    assert what in problem


def test_a_shard_of_another_run_is_found(directory: Path, tmp_path: Path) -> None:
    prepare_genome(
        GenomeJob(
            (tmp_path / "short.fa",),
            tmp_path / "b",
            k=3,
            seed=1,
            row_length=32,
            rows_per_shard=12,
            heldout_fraction=0.3,
        )
    )
    first = sorted(directory.glob("train-*"))[0]
    first.write_bytes((tmp_path / "b" / first.name).read_bytes())
    assert any("another run" in problem for problem in verify_directory(directory))
