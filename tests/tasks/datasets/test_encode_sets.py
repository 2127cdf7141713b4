"""The 690 ENCODE sets in the layouts in which they circulate."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.tables import open_table
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.tasks.datasets.labelled import LabelledData, read_labelled
from dnabert_jax.tasks.datasets.layout import is_data_set, set_name
from dnabert_jax.tasks.datasets.splits import carve, count_duplicates
from dnabert_jax.tasks.datasets.unlabelled import table_sequences
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
    train += [line(number, number % 2 > 0) for number in range(30, 40)]
    test = [line(number, number % 2 == 0) for number in range(30, 40)]
    for name, lines in (("train", train), ("test", test)):
        text = "".join(lines).encode()
        (directory / f"{name}.data{end}").write_bytes(gzip.compress(text) if end else text)
    return directory


def read(source: Path) -> LabelledData:
    return read_labelled(source, KmerTokenizer(3))


@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_set_is_read_and_shuffles_of_the_other_half_are_counted(tmp_path: Path, end: str) -> None:
    directory = write(tmp_path / "suite" / NAME, end)
    data = read(directory)
    assert data.task.labels == ("0", "1")
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 70, "test": 10}
    assert data.splits["test"].labels.tolist() == [number % 2 for number in range(10)]
    (note,) = count_duplicates(data).notes
    assert note.endswith(": 10."), "rows of test that lie where a row of train does"
    train, validation, _ = (set(part.loci.names()) for part in carve(data, "validation", 0.2).splits.values())
    assert not train & validation, "a positive and its shuffle stay together"
    assert is_data_set(directory)
    assert [each.name for each in find_sets(tmp_path / "suite")] == [NAME]
    table = open_table(directory / f"test.data{end}")
    first = next(table.batches(["name", "sequence"])).to_pylist()[0]
    assert first == {"name": ">chr3:30000-30010_shuf", "sequence": random_dna(11, 61)}


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("train", b">chr1:5-15 ACGTACGTACG\n", r"71 .*train\.data.*ACGTACGTACG"),
        ("train", b">chr1:5-15 ACGTACGTACG 2\n", r"71 .*train\.data.*'2'"),
        ("train", line(50, bases=12).encode(), r"71 .*train\.data.* 12 .* 11\b"),
        ("train", b">chr1:5-15 ACGTACGTACG \n", r"71 .*train\.data.*''"),
        ("test", b"", r"test\.data "),
        ("test", line(50, bases=12).encode(), r"1 .*test\.data.* 12 .* 11\b"),
        ("test", b">chr1:5-15 ACGTACGTACG\n", r"1 .*test\.data.*ACGTACGTACG"),
        ("test", b"ACGTACGTACG 1\n" * 9, r"Row 1 .*test\.data .* 2 .* 3\b"),
        ("test", gzip.compress(line(50).encode() * 50, mtime=0)[:-9], r"test\.data .*gzip"),
    ],
)
def test_what_a_set_cannot_have_is_named_with_its_row(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    path = write(tmp_path / NAME) / f"{name}.data"
    path.write_bytes(path.read_bytes() + content if name == "train" else content)
    with pytest.raises(InputError, match=what):
        read(path.parent)


def write_folds(path: Path, folds: str, label: Callable[[int], str] = lambda number: f"\t{number % 2}") -> Path:
    """60 rows of DeepBind's; their labels come with the tab before them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{folds[n % len(folds)]}\tseq_{n}\t{random_dna(20, n)}{label(n)}\n" for n in range(60)]
    text = ("FoldID\tEventID\tseq\tBound\n" + "".join(rows)).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_the_folds_of_deepbind_are_splits(tmp_path: Path) -> None:
    path = write_folds(tmp_path / "CTCF_GM12878.seq.gz", "ABC")
    data = read(path)
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 40, "test": 20}
    assert data.splits["test"].rows.tolist() == [number + 1 for number in range(60) if number % 3 == 1]


def some_lack_labels(number: int) -> str:
    return ("\t0", "\t1", "", "\t", "\tnan")[number % 5]


def test_two_files_of_deepbind_are_one_set_whose_test_half_may_lack_labels(tmp_path: Path) -> None:
    halves = write_folds(tmp_path / "A_AC.seq.gz", "AC"), write_folds(tmp_path / "A_B.seq", "B", some_lack_labels)
    for source in (*halves, tmp_path):
        data = read(source)
        assert {split: len(part) for split, part in data.splits.items()} == {"train": 60, "test": 24}
        assert data.splits["test"].rows.tolist() == [number + 1 for number in range(60) if number % 5 < 2]
        assert len(data.notes) == 1
        assert "36" in data.notes[0]
    assert [set_name(path) for path in halves] == ["A", "A"]
    (data_set,) = find_sets(tmp_path)
    assert (data_set.name, data_set.size) == ("A", sum(path.stat().st_size for path in halves))
    digest = data_set.digest()
    write_folds(halves[1], "B")
    assert data_set.digest() != digest
    # The sequences of rows without labels are there to be predicted.
    write_folds(halves[1], "B", lambda _: "")
    _, rows = table_sequences(open_table(halves[1]), KmerTokenizer(3), LeftOut())
    assert [row.name for row in rows] == [str(number) for number in range(60)]
    with pytest.raises(InputError, match=r"A_B\.seq "):
        read(halves[0])
    write_folds(halves[1], "B")
    for label in ("\t2", "", "\tnan"):  # which training rows cannot have
        write_folds(halves[0], "AC", lambda number, label=label: label if number == 7 else f"\t{number % 2}")
        with pytest.raises(InputError, match=r"Row 8 of .*A_AC\.seq"):
            read(halves[0])


def test_a_suite_may_mix_layouts_and_a_set_may_not(tmp_path: Path) -> None:
    write(tmp_path / "encode" / NAME)
    write(tmp_path / "mixed")
    (tmp_path / "mixed" / "train.csv").write_text("sequence,label\nACGT,0\n")
    (write(tmp_path / "halves") / "test.data").unlink()
    (tmp_path / "halves" / "test.csv").write_text("sequence,label\nACGT,0\n")
    write_folds(write(tmp_path / "beside") / "A.seq.gz", "ABC")
    for name in ("whole.seq.gz", "pair_AC.seq.gz", "pair_B.seq", "twice_AC.seq", "twice_AC.seq.gz", "twice_B.seq"):
        write_folds(tmp_path / name, {"AC": "AC", "B": "B"}.get(name.partition(".")[0].rpartition("_")[2], "ABC"))
    rows = [f"{random_dna(20, number)},{number % 2}\n" for number in range(20)]
    (tmp_path / "table.csv").write_text("sequence,label\n" + "".join(rows))
    sets = {each.name: each.path for each in find_sets(tmp_path)}
    assert set(sets) == {f"encode/{NAME}", "mixed", "halves", "beside", "whole", "pair", "twice", "table"}
    for name, (first, second) in {
        "mixed": ("train.csv", "train.data"),
        "halves": ("test.csv", "train.data"),
        "beside": ("A.seq.gz", "train.data"),
        "twice": ("twice_AC.seq", "twice_AC.seq.gz"),
    }.items():
        with pytest.raises(InputError, match=rf"\b{first}\b.*\b{second}\b"):
            read(sets.pop(name))
    for path in sets.values():
        assert "train" in read(path).splits
