"""`prepare verify` finds whatever is wrong, and nothing where nothing is."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from data_prep.verify import verify_directory
from dnabert_jax import storage
from dnabert_jax.data.manifest import FILE_NAME
from dnabert_jax.data.tfrecord import RecordLayout, encode_rows
from dnabert_jax.errors import InputError, StoreError
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    fasta = tmp_path / "short.fa"
    fasta.write_text(">a\n" + "".join(np.random.default_rng(0).choice(list("ACGT"), 700)))
    prepare_genome(GenomeJob((fasta,), tmp_path / "rows", k=3, row_length=32, rows_per_shard=12, heldout_fraction=0.3))
    return tmp_path / "rows"


def test_a_sound_directory_has_no_problem(directory: Path, tmp_path: Path) -> None:
    assert list(verify_directory(directory)) == []
    prepare_genome(GenomeJob((HELDOUT_FASTA,), tmp_path / "more", rows="single", reverse_complement=True))
    assert list(verify_directory(tmp_path / "more")) == []


def test_every_byte_of_every_shard_counts(directory: Path) -> None:
    stride = RecordLayout(32).stride
    shard = sorted(directory.glob("heldout-*"))[-1]
    whole = shard.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        shard.write_bytes(damaged)
        problems = list(verify_directory(directory))
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
    assert "the split train has" not in problems, "what is missing is not counted against the rest"


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
    problems = list(verify_directory(directory))
    number = len(content) // stride - 1
    assert any(f"record {number} is no row" in p and problem in p for p in problems)


@pytest.mark.parametrize("what", ["sequences", "kmers"])
def test_counts_are_compared(directory: Path, what: str) -> None:
    path = directory / FILE_NAME
    manifest = json.loads(path.read_text())
    manifest["splits"]["train"][what] += 1
    path.write_text(json.dumps(manifest))
    problem, _ = verify_directory(directory)
    assert what in problem


def test_a_manifest_that_was_edited_is_found(directory: Path) -> None:
    path = directory / FILE_NAME
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 9'))
    (problem,) = verify_directory(directory)
    assert f"{directory / 'metadata.json'} is not what the manifest calls for" in problem


def test_many_problems_are_told_in_few_lines(directory: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "longer.fa"
    fasta.write_text(">a\n" + "".join(np.random.default_rng(0).choice(list("ACGT"), 9000)))
    prepare_genome(GenomeJob((fasta,), tmp_path / "more", k=3, row_length=32, heldout_fraction=0.0))
    path = tmp_path / "more" / FILE_NAME
    rows = json.loads(path.read_text())["splits"]["train"]["rows"]
    path.write_text(path.read_text().replace('"k": 3', '"k": 2'))
    problems = list(verify_directory(tmp_path / "more"))
    assert rows > 150
    assert sum("is no row" in problem for problem in problems) == 100
    assert any(f"{rows - 100} more records are wrong" in problem for problem in problems)


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


def test_the_metadata_for_tfds_belong_to_the_data(directory: Path) -> None:
    (directory / "features.json").write_text("garbage")
    (directory / "dataset_info.json").unlink()
    (directory / "metadata.json").write_text('{"k": 5}')
    problems = list(verify_directory(directory))
    assert len(problems) == 3
    for name in ("features.json", "dataset_info.json", "metadata.json"):
        assert any(f"{directory / name} is not what the manifest calls for" in problem for problem in problems)


@pytest.mark.parametrize("name", ["train-00000.partial", "note", ".being-written-by-dnabert-jax", "x.array_record"])
def test_a_file_that_does_not_belong_there_is_reported(directory: Path, name: str) -> None:
    (directory / name).write_text("")
    (problem,) = verify_directory(directory)
    assert f"{directory / name} is not in the manifest" in problem


def test_files_that_browsers_and_file_systems_leave_are_not_looked_at(directory: Path) -> None:
    for name in (".DS_Store", "._train-00000-of-00001.tfrecord", "Thumbs.db", "desktop.ini", ".nfs0001", "__MACOSX/x"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("x")
    assert list(verify_directory(directory)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest["splits"].pop("train"), "no split 'train'"),
        (lambda manifest: manifest.update(row_length=-5), "a row length of -5"),
        (lambda manifest: manifest["splits"]["train"]["shards"][0].update(sha256=None), "a shard without SHA-256"),
        (lambda manifest: manifest["splits"]["train"]["shards"][0].update(name="../a"), "a shard outside of the dir"),
        (
            lambda manifest: manifest["splits"]["train"]["shards"][0].update(
                name=manifest["splits"]["train"]["shards"][1]["name"]
            ),
            "a shard twice",
        ),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(directory: Path, change: Callable[[dict], object], message: str) -> None:
    manifest = json.loads((directory / FILE_NAME).read_text())
    change(manifest)
    (directory / FILE_NAME).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"is damaged: it has {message}"):
        list(verify_directory(directory))


def test_a_store_that_fails_is_no_damage(store: type, directory: Path) -> None:
    for path in directory.iterdir():
        storage.upload(path, f"store://bucket/rows/{path.name}")
    assert list(verify_directory("store://bucket/rows")) == []
    store.trouble["cat_file"] = itertools.chain([None, None], itertools.repeat(OSError("unavailable")))
    problems = []
    with pytest.raises(StoreError):
        problems.extend(verify_directory("store://bucket/rows"))
    assert problems == []
