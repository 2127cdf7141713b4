"""The 690 ENCODE sets in the layouts in which they circulate."""

import gzip
from pathlib import Path

import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io.tables import open_table
from dnabert_jax.tasks.datasets.labelled import LabelledData, read_labelled
from dnabert_jax.tasks.datasets.layout import is_data_set
from dnabert_jax.tasks.datasets.splits import carve, count_duplicates
from dnabert_jax.tasks.suites.suite import find_sets
from tests.test_pretrained import random_dna

NAME = "wgEncodeAwgTfbsBroadDnd41CtcfUniPk"


def line(number: int, shuffled: bool = False, bases: int = 11) -> str:
    name = f">chr{number % 7 + 1}:{1000 * number}-{1000 * number + 10}{'_shuf' * shuffled}"
    return f"{name} {random_dna(bases, 2 * number + shuffled)} {int(not shuffled)}\n"


def write(directory: Path, end: str = "") -> Path:
    """40 positives and their shuffles; of the last 10, either is in the test half."""
    directory.mkdir(parents=True)
    train = [line(number, shuffled) for number in range(30) for shuffled in (False, True)]
    split = [line(number, number % 2 > 0) for number in range(30, 40)], [line(n, n % 2 == 0) for n in range(30, 40)]
    for name, lines in (("train", train + split[0]), ("test", split[1])):
        text = "".join(lines).encode()
        (directory / f"{name}.data{end}").write_bytes(gzip.compress(text) if end else text)
    return directory


def read(source: Path) -> LabelledData:
    return read_labelled(source, 3)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_set_is_read_and_shuffles_of_the_other_half_are_counted(tmp_path: Path, end: str) -> None:
    directory = write(tmp_path / "suite" / NAME, end)
    data = read(directory)
    assert (data.task.labels, {split: len(rows) for split, rows in data.splits.items()}) == (
        ("0", "1"), {"train": 70, "test": 10},
    )  # fmt: skip
    assert data.splits["test"].labels.tolist() == [number % 2 for number in range(10)]
    duplicates = count_duplicates(data)
    assert (duplicates.between["train", "test"], duplicates.of_one_locus["train", "test"]) == (0, 10)
    carved = count_duplicates(carve(data, "validation", 0.2))
    assert carved.of_one_locus["train", "validation"] == 0, "a positive and its shuffle stay together"
    assert is_data_set(directory)
    assert [each.name for each in find_sets(tmp_path / "suite")] == [NAME]
    table = open_table(directory / f"test.data{end}")
    first = next(table.batches(["name", "sequence"])).to_pylist()[0]
    assert first == {"name": ">chr3:30000-30010_shuf", "sequence": random_dna(11, 61)}


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (">chr1:5-15 ACGTACGTACG\n", r"71 .*train\.data.*ACGTACGTACG"),
        (">chr1:5-15 ACGTACGTACG 2\n", r"71 .*train\.data.*'2'"),
        (line(50, bases=12), r"71 .*train\.data.* 12 .* 11\b"),
    ],
)
def test_what_a_set_cannot_have_is_named_with_its_row(tmp_path: Path, wrong: str, what: str) -> None:
    directory = write(tmp_path / NAME)
    with (directory / "train.data").open("a") as file:
        file.write(wrong)
    with pytest.raises(InputError, match=what):
        read(directory)
    (directory / "train.data").write_text("")
    with pytest.raises(InputError, match=r"train\.data "):
        read(directory)


def test_the_folds_of_deepbind_are_splits(tmp_path: Path) -> None:
    rows = [f"{'ABC'[number % 3]}\tseq_{number}\t{random_dna(20, number)}\t{number % 2}\n" for number in range(60)]
    path = tmp_path / "CTCF_GM12878.seq.gz"
    path.write_bytes(gzip.compress(("FoldID\tEventID\tseq\tBound\n" + "".join(rows)).encode()))
    data = read(path)
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 40, "test": 20}
    assert data.splits["test"].rows.tolist() == [number + 1 for number in range(60) if number % 3 == 1]
