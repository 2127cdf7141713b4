"""One data set in every layout is read as the same; bad data are one sentence."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.tables import open_table
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.tasks.datasets.labelled import Columns, LabelledData, read_labelled
from dnabert_jax.tasks.datasets.layout import DataOptions, is_data_set, set_name
from dnabert_jax.tasks.datasets.splits import carve, count_duplicates
from dnabert_jax.tasks.datasets.unlabelled import table_sequences
from dnabert_jax.tasks.suites.suite import find_sets
from tests.random_models import random_dna
from tests.tasks.conftest import dna

GOOD = [["ACGTACGT", 0], ["CCGTACGT", 1]]
HEADER = ["sequence", "label"]
SIZES = {"train": 20, "validation": 6, "test": 8}
Rows = dict[str, list[tuple[str, int]]]


ROWS: Rows = {
    split: [(sequence, row % 2) for row, sequence in enumerate(dna(size, seed=seed))]
    for seed, (split, size) in enumerate(SIZES.items())
}


def read(source: Path, **settings: Any) -> LabelledData:
    return read_labelled(source, KmerTokenizer(6), **settings)


def check(data: LabelledData, rows: Rows, *splits: str) -> None:
    assert list(data.splits) == list(splits)
    assert data.task.labels == ("0", "1")
    for split in splits:
        part = data.splits[split]  # type: ignore[index]
        assert [codes.tolist() for codes in part.sequences] == [base_codes(s.encode()).tolist() for s, _ in rows[split]]
        assert part.labels.tolist() == [label for _, label in rows[split]]


def test_files_of_splits_and_the_dev_file_of_dnabert_that_is_the_test_set(write: Callable[..., Path]) -> None:
    for name, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        path = write(f"gue/{name}.csv", HEADER, *ROWS[split])
        kmers = [(split_kmers(sequence, 6), label) for sequence, label in ROWS[split]]
        write(f"6/{name}.tsv", HEADER, *kmers)
    data = read(path.parent)
    check(data, ROWS, "train", "validation", "test")
    assert data.notes == ()
    path = path.parents[1] / "6/dev.tsv"
    path.with_name("test.tsv").unlink()
    data = read(path.parent)
    check(data, ROWS, "train", "validation")
    assert "dev.tsv" in data.notes[0]
    data = read(path.parent, options=DataOptions(dev="test"))
    check(data, ROWS | {"test": ROWS["validation"]}, "train", "test")
    assert data.notes == ()
    path.rename(path.with_name("val.tsv"))
    assert read(path.parent).notes == ()
    with pytest.raises(InputError, match=r"Row 1 of .*train.tsv.* 6 .* 5\b"):
        read_labelled(path.parent, KmerTokenizer(5))


def test_a_table_with_a_split_column_and_one_without(write: Callable[..., Path]) -> None:
    path = write("x.csv", ["reads", "y"], *ROWS["train"])
    check(read(path, columns=Columns(sequence="reads", labels=("y",))), ROWS, "train")
    lines = [(name, "chr1", row, *value) for name, values in ROWS.items() for row, value in enumerate(values)]
    lines = [lines[place] for place in np.random.default_rng(0).permutation(len(lines))]
    path = write("x.tsv", ["split", "chrom", "start", "seq", "label"], *lines)
    data = read(path)
    shuffled: Rows = {split: [line[3:] for line in lines if line[0] == split] for split in SIZES}
    check(data, shuffled, "train", "validation", "test")
    for split, part in data.splits.items():
        assert part.rows.tolist() == [number for number, line in enumerate(lines, 1) if line[0] == split]
        assert part.where(2) == f"Row {part.rows[2]} of {path}"
        assert part.select(np.array([3, 1])).rows.tolist() == part.rows[[3, 1]].tolist()


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (["#chrom", "chromStart", "chromEnd"], "{}|{}|{}"),
        (["chr", "start"], "{}|{}"),
        (["name"], "{}:{}-{}"),
        (["id"], "peak 1::{}:{}-{}(+)"),
    ],
)
def test_loci_are_read_from_columns_or_names(header: list[str], form: str, write: Callable[..., Path]) -> None:
    places = [("chr2", "1000", "1008"), ("chr1", "5", "13")]
    fields = [form.format(*place).split("|") for place in places]
    lines = [[*place, *row] for place, row in zip(fields, GOOD, strict=True)]
    loci = read(write("x.tsv", [*header, *HEADER], *lines)).splits["train"].loci
    assert loci is not None
    contigs = [loci.contigs.values[number] for number in loci.contigs.index]
    assert list(zip(contigs, loci.starts, loci.ends, strict=True)) == [("chr2", 1000, 1008), ("chr1", 5, 13)]
    lines[1][len(header) - 1] = "none"
    assert read(write("x.tsv", [*header, *HEADER], *lines)).splits["train"].loci is None


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("kind", [np.int64, np.float32, np.bool_])
def test_the_690_sets_of_the_original(column: bool, kind: type, tmp_path: Path) -> None:
    for split in ("train", "test"):
        folder = tmp_path / split
        folder.mkdir()
        sequences = np.array([sequence.encode() for sequence, _ in ROWS[split]])
        targets = np.array([label for _, label in ROWS[split]], kind)
        np.save(folder / "sequences_alph.npy", sequences[:, None] if column else sequences)
        np.save(folder / "targets.npy", targets[:, None] if column else targets)
    check(read(tmp_path), ROWS, "train", "test")


def test_arrays_that_could_run_code_or_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    sequences, targets = folder / "sequences_alph.npy", folder / "targets.npy"
    texts = np.array(["ACGTACGT"] * 3)
    for first, second, message in (
        (texts.astype(object), None, r"sequences_alph\.npy .*allow_pickle"),
        (texts, None, r"targets\.npy "),
        (texts, [0, 1], r"targets\.npy .*int64.*\(2,\).* 3 "),
        (texts, [0.0, 1.0, np.nan], r"Row 3 of .*train .*'nan'"),
        (np.zeros((3, 101, 4)), [0.0, 1.0, 1.0], r"sequences_alph\.npy .*float64.*\(3, 101, 4\)"),
        (np.array([["A", "C"]] * 3), [0.0, 1.0, 1.0], r"sequences_alph\.npy .*<U1.*\(3, 2\)"),
    ):
        np.save(sequences, first, allow_pickle=True)
        if second is not None:
            np.save(targets, np.array(second))
        with pytest.raises(InputError, match=message):
            read(tmp_path)
    sequences.write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"sequences_alph\.npy"):
        read(tmp_path)


def test_uncertain_letters_and_outputs_that_never_change_are_noted(write: Callable[..., Path]) -> None:
    path = write("x.csv", ["sequence", "a", "b"], ["ACGTNA", 0, 1], ["ACGTAC", 1, 1])
    constant, ambiguous = read(path, columns=Columns(labels=("a", "b"))).notes
    assert constant.endswith(" b.")
    assert ambiguous.startswith("1 of 2 ")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train.csv": [HEADER, *GOOD], "dev.csv": [HEADER]}, r"validation .*dev\.csv"),
        ({"x.csv": [["split", *HEADER]]}, r"x\.csv"),
        ({"dev.csv": [HEADER, *GOOD]}, "train .*validation"),
        ({"train.csv": [HEADER, *GOOD], "dev.csv": [HEADER, *GOOD[:1]]}, r"dev\.csv .*'0'"),
        ({"train.csv": [HEADER, *GOOD[:1]]}, r"train\.csv .*'0'"),
        ({"train.csv": [HEADER, *GOOD], "dev.csv": [HEADER, *GOOD, ["ACGTACGT", 2]]}, r"Row 3 of .*dev\.csv .*'2'"),
        ({"train.csv": [HEADER, ["ACGTACGT", 2.5], ["ACGTACGA", 2.5]]}, r"train .*train\.csv .* 2\.5 .*'label'"),
        ({"train.csv": [HEADER, *[["ACGTACGT", "0;1"]] * 2]}, r"train .*train\.csv .* 0 .*'0'"),
        ({"train.csv": [HEADER, *GOOD], "train.tsv": [HEADER, *GOOD]}, "train.csv and train.tsv"),
        ({"train.csv": [HEADER, *GOOD], "dev.csv": [HEADER], "val.csv": [HEADER]}, "dev.csv and val.csv"),
        ({"a.csv": [HEADER, *GOOD], "b.tsv": [HEADER, *GOOD]}, r"a\.csv, b\.tsv"),
        ({"train-00000-of-00003.csv": [HEADER, *GOOD], "train-00002-of-00003.csv": [HEADER, *GOOD]}, "00001"),
        ({"train-00000-of-00001.csv": [HEADER, *GOOD], "train.csv": [HEADER, *GOOD]}, r"train-.*and train\.csv"),
        ({"train.csv": [HEADER, *GOOD, ["ACGTACGT", "None"]]}, r"Row 3 of .*train.csv .*'None'.*--literal-labels"),
        ({"train.csv": [["sequence", "y"], *GOOD]}, r"label .*sequence, y\b.*--labels"),
        ({"train.csv": [["reads", "label"], *GOOD]}, r"sequence .*reads, label\b.*--sequence"),
        ({"train.csv": [HEADER, ["ACGTA", 0]]}, r"Row 1 of .*train.csv .* 5 .* 6"),
        ({"x.csv": [[*HEADER, "split"], [*GOOD[0], "train"], [*GOOD[1], "fold1"]]}, r"Row 2 of .*x\.csv .*'fold1'"),
    ],
)
def test_bad_data_are_one_sentence(files: dict[str, Any], message: str, write: Callable[..., Path]) -> None:
    for name, lines in files.items():
        path = write(f"data/{name}", *lines)
    with pytest.raises(InputError, match=message) as caught:
        read(path.parent)
    assert str(caught.value).endswith(".")


def test_what_is_not_there_and_a_column_that_is_two_things_are_refused(write: Callable[..., Path]) -> None:
    path = write("x.csv", HEADER, *GOOD)
    with pytest.raises(InputError, match=r"x\.csv .*label, label"):
        read(path, columns=Columns(sequence="label", labels=("label",)))
    with pytest.raises(InputError, match="nothing"):
        read(path.with_name("nothing"))


def test_shards_of_a_table_are_one(write: Callable[..., Path]) -> None:
    first, second = ROWS["train"][::2], ROWS["train"][1::2]
    write("x/data/train-00000-of-00002.csv", HEADER, *first)
    path = write("x/data/train-00001-of-00002.csv", HEADER, *second)
    write("x/data/validation-00000-of-00001-0123456789abcdef.csv", HEADER, *ROWS["validation"])
    source = path.parent.parent
    for name in (".DS_Store", "._train-00000-of-00002.csv", "Thumbs.db"):
        (path.parent / name).write_bytes(b"\0\1")
    data = read(source)
    check(data, ROWS | {"train": first + second}, "train", "validation")
    assert data.splits["train"].where(19) == f"Row 10 of {path}"
    write("x/data/train-00001-of-00002.csv", HEADER, *second, ["ACGTACGT", "?"])
    with pytest.raises(InputError, match=r"Row 11 of .*train-00001-of-00002.csv .*'\?'"):
        read(source)


def test_the_table_in_the_directory_of_a_set(write: Callable[..., Path]) -> None:
    lines = [(split, *row) for split, of_split in ROWS.items() for row in of_split]
    path = write("promoters/examples.tsv", ["split", "sequence", "label"], *lines)
    (path.parent / "label.labels.txt").write_text("0\n1\n")
    (path.parent / "promoters-train.array_record-00000-of-00001").write_bytes(b"")
    check(read(path.parent), ROWS, "train", "validation", "test")
    assert (set_name(path.parent), set_name(path)) == ("promoters", "promoters")


NAME = "wgEncodeAwgTfbsBroadDnd41CtcfUniPk"


def line(number: int, shuffled: bool = False, bases: int = 11) -> str:
    name = f">chr{number % 7 + 1}:{1000 * number}-{1000 * number + 10}{'_shuf' * shuffled}"
    return f"{name} {random_dna(bases, 2 * number + shuffled)} {int(not shuffled)}\n"


def write_set(directory: Path, end: str = "") -> Path:
    """40 positives and their shuffles; of the last 10, either is in the test half."""
    directory.mkdir(parents=True)
    train = [line(number, shuffled) for number in range(30) for shuffled in (False, True)]
    train += [line(number, number % 2 > 0) for number in range(30, 40)]
    test = [line(number, number % 2 == 0) for number in range(30, 40)]
    for name, lines in (("train", train), ("test", test)):
        text = "".join(lines).encode()
        (directory / f"{name}.data{end}").write_bytes(gzip.compress(text) if end else text)
    return directory


def sizes(data: LabelledData) -> dict[str, int]:
    return {split: len(part) for split, part in data.splits.items()}


@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_set_is_read_and_shuffles_of_the_other_half_are_counted(tmp_path: Path, end: str) -> None:
    directory = write_set(tmp_path / "suite" / NAME, end)
    data = read(directory)
    assert (data.task.labels, sizes(data)) == (("0", "1"), {"train": 70, "test": 10})
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
    path = write_set(tmp_path / NAME) / f"{name}.data"
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
    data = read(write_folds(tmp_path / "CTCF_GM12878.seq.gz", "ABC"))
    assert sizes(data) == {"train": 40, "test": 20}
    assert data.splits["test"].rows.tolist() == [number + 1 for number in range(60) if number % 3 == 1]


def test_two_files_of_deepbind_are_one_set_whose_test_half_may_lack_labels(tmp_path: Path) -> None:
    some_lack = ("\t0", "\t1", "", "\t", "\tnan")
    test = write_folds(tmp_path / "A_B.seq", "B", lambda number: some_lack[number % 5])
    halves = write_folds(tmp_path / "A_AC.seq.gz", "AC"), test
    for source in (*halves, tmp_path):
        data = read(source)
        assert sizes(data) == {"train": 60, "test": 24}
        assert data.splits["test"].rows.tolist() == [number + 1 for number in range(60) if number % 5 < 2]
        (note,) = data.notes
        assert "36" in note
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
    write_set(tmp_path / "encode" / NAME)
    write_set(tmp_path / "mixed")
    (tmp_path / "mixed" / "train.csv").write_text("sequence,label\nACGT,0\n")
    (write_set(tmp_path / "halves") / "test.data").unlink()
    (tmp_path / "halves" / "test.csv").write_text("sequence,label\nACGT,0\n")
    write_folds(write_set(tmp_path / "beside") / "A.seq.gz", "ABC")
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
