"""`prepare verify` finds whatever is wrong, and nothing where nothing is."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax import storage
from dnabert_jax.data.manifest import FILE_NAME
from dnabert_jax.data.tfrecord import RecordLayout, encode_rows
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.data_prep.verify import verify_directory
from dnabert_jax.errors import InputError, StoreError
from dnabert_jax.outputs import MARK
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP
from tests.random_models import random_dna

STRIDE = RecordLayout(32).stride


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two directories of the same sequence, with different seeds: `rows`, and `other`."""
    parent = tmp_path_factory.mktemp("sound")
    (parent / "short.fa").write_text(f">a\n{random_dna(700)}")
    settings = {"k": 3, "row_length": 32, "rows_per_shard": 12, "heldout_fraction": 0.3}
    for seed, name in enumerate(("rows", "other")):
        prepare_genome(GenomeJob((parent / "short.fa",), parent / name, seed=seed, **settings))
    return parent


@pytest.fixture
def directory(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound / "rows", tmp_path / "rows"))


def test_a_sound_directory_has_no_problem(directory: Path, tmp_path: Path) -> None:
    assert list(verify_directory(directory)) == []
    prepare_genome(GenomeJob((HELDOUT_FASTA,), tmp_path / "more", rows="single", reverse_complement=True))
    assert list(verify_directory(tmp_path / "more")) == []


def test_every_byte_of_every_shard_counts(directory: Path) -> None:
    shard = sorted(directory.glob("heldout-*"))[-1]
    whole = shard.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        shard.write_bytes(damaged)
        problems = list(verify_directory(directory))
        assert any(f"{shard}: record {position // STRIDE} is damaged" in problem for problem in problems), position
        assert any("another SHA-256" in problem for problem in problems)


def test_all_problems_are_reported_together(directory: Path) -> None:
    shards = sorted(directory.glob("train-*.tfrecord"))
    assert len(shards) > 2
    content = shards[0].read_bytes()
    shards[0].write_bytes(content[: STRIDE + 50] + b"\xff" + content[STRIDE + 51 :])
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
        ([CLS, 5, 5, 5, 6, 5, SEP], "do not fit together"),
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
    padded = np.array([row + [PAD] * (32 - len(row))], np.uint16)
    shard.write_bytes(content[:-STRIDE] + encode_rows(padded).tobytes())
    problems = list(verify_directory(directory))
    number = len(content) // STRIDE - 1
    assert any(f"record {number} is no row" in p and problem in p for p in problems)


def edit(change: Callable[[dict], object]) -> Callable[[Path, Path], None]:
    """What changes the manifest of a directory."""

    def edited(directory: Path, _: Path) -> None:
        manifest = json.loads((directory / FILE_NAME).read_text())
        change(manifest)
        (directory / FILE_NAME).write_text(json.dumps(manifest, indent=2) + "\n")

    return edited


def file(name: str, content: str | None = "") -> Callable[[Path, Path], None]:
    """What writes a file of a directory, or removes it."""
    return lambda directory, _: (
        (directory / name).unlink() if content is None else (directory / name).write_text(content)
    )


FIRST = "train-00000"


@pytest.mark.parametrize(
    ("spoil", "name", "problem"),
    [
        (edit(lambda manifest: manifest.update(seed=9)), "metadata.json", "is not what the manifest calls for"),
        (file("features.json", "garbage"), "features.json", "is not what the manifest calls for"),
        (file("dataset_info.json", None), "dataset_info.json", "is not what the manifest calls for"),
        (file("metadata.json", '{"k": 5}'), "metadata.json", "is not what the manifest calls for"),
        *((file(name), name, "is not in the manifest") for name in ("a.partial", "note", MARK, "x.array_record")),
        (lambda directory, other: shutil.copy(next(other.glob(f"{FIRST}-*")), directory), FIRST, "has another SHA-256"),
        *(
            (edit(lambda manifest, what=what: manifest["splits"]["train"].update({what: 7})), "", f"{what} where the")
            for what in ("sequences", "kmers")
        ),
    ],
)
def test_what_does_not_belong_together_is_found(
    directory: Path, sound: Path, spoil: Callable[[Path, Path], object], name: str, problem: str
) -> None:
    spoil(directory, sound / "other")
    assert any(str(directory / name) in found and problem in found for found in verify_directory(directory))


def test_many_problems_are_told_in_few_lines(tmp_path: Path) -> None:
    (tmp_path / "longer.fa").write_text(f">a\n{random_dna(9000)}")
    prepare_genome(GenomeJob((tmp_path / "longer.fa",), tmp_path / "more", k=3, row_length=32, heldout_fraction=0.0))
    path = tmp_path / "more" / FILE_NAME
    rows = json.loads(path.read_text())["splits"]["train"]["rows"]
    path.write_text(path.read_text().replace('"k": 3', '"k": 2'))
    problems = list(verify_directory(tmp_path / "more"))
    assert rows > 150
    assert sum("is no row" in problem for problem in problems) == 100
    assert any(f"{rows - 100} more records are wrong" in problem for problem in problems)


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
        (lambda manifest: manifest["splits"]["train"].update(rows=1), "other numbers of rows in the shards of train"),
        (lambda manifest: manifest["splits"]["train"]["shards"][0].update(sha256=None), "a shard without SHA-256"),
        (lambda manifest: manifest["splits"]["train"]["shards"][0].update(name="../a"), "a shard outside of the dir"),
        (lambda manifest: manifest["splits"]["train"]["shards"].append(manifest["splits"]["train"]["shards"][0]),
         "a shard twice"),
        (lambda manifest: manifest.update(format="dnabert-jax rows 9"), "has the format 'dnabert-jax rows 9'"),
        (lambda manifest: manifest.update(k="3"), 'field "k"'),
        (lambda manifest: manifest.update(splits=[]), "splits"),
        (lambda manifest: manifest.update(colour="red"), "colour"),
        (lambda manifest: manifest.clear(), "cannot be used"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_is_refused(
    directory: Path, tmp_path: Path, change: Callable[[dict], object], message: str
) -> None:
    edit(change)(directory, tmp_path)
    with pytest.raises(InputError, match=message):
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
