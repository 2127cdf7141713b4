"""One data set in every layout is read as the same; bad data are one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.tasks.datasets.labelled import Columns, LabelledData, read_labelled
from dnabert_jax.tasks.datasets.layout import DataOptions, set_name

GOOD = [["ACGTACGT", 0], ["CCGTACGT", 1]]
HEADER = ["sequence", "label"]
SIZES = {"train": 20, "validation": 6, "test": 8}
Rows = dict[str, list[tuple[str, int]]]


@pytest.fixture
def rows(dna: Callable[..., list[str]]) -> Rows:
    return {
        split: [(sequence, row % 2) for row, sequence in enumerate(dna(size, seed=seed))]
        for seed, (split, size) in enumerate(SIZES.items())
    }


def check(data: LabelledData, rows: Rows, *splits: str) -> None:
    assert list(data.splits) == list(splits)
    assert data.task.labels == ("0", "1")
    for split in splits:
        part = data.splits[split]  # type: ignore[index]
        assert [codes.tolist() for codes in part.sequences] == [base_codes(s.encode()).tolist() for s, _ in rows[split]]
        assert part.labels.tolist() == [label for _, label in rows[split]]


def test_files_of_splits_and_the_dev_file_of_dnabert_that_is_the_test_set(
    rows: Rows, write: Callable[..., Path]
) -> None:
    for name, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        path = write(f"gue/{name}.csv", HEADER, *rows[split])
    data = read_labelled(path.parent, KmerTokenizer(6))
    check(data, rows, "train", "validation", "test")
    assert data.notes == ()
    for name, split in (("train", "train"), ("dev", "validation")):
        kmers = [(split_kmers(sequence, 6), label) for sequence, label in rows[split]]
        path = write(f"6/{name}.tsv", HEADER, *kmers)
    data = read_labelled(path.parent, KmerTokenizer(6))
    check(data, rows, "train", "validation")
    assert "dev.tsv" in data.notes[0]
    data = read_labelled(path.parent, KmerTokenizer(6), options=DataOptions(dev="test"))
    check(data, rows | {"test": rows["validation"]}, "train", "test")
    assert data.notes == ()
    path.rename(path.with_name("val.tsv"))
    assert read_labelled(path.parent, KmerTokenizer(6)).notes == ()
    with pytest.raises(InputError, match=r"Row 1 of .*train.tsv.* 6 .* 5\b"):
        read_labelled(path.parent, KmerTokenizer(5))


def test_a_table_with_a_split_column(rows: Rows, write: Callable[..., Path]) -> None:
    lines = [(name, "chr1", row, *value) for name, values in rows.items() for row, value in enumerate(values)]
    lines = [lines[place] for place in np.random.default_rng(0).permutation(len(lines))]
    path = write("x.tsv", ["split", "chrom", "start", "seq", "label"], *lines)
    data = read_labelled(path, KmerTokenizer(6))
    shuffled: Rows = {split: [line[3:] for line in lines if line[0] == split] for split in SIZES}
    check(data, shuffled, "train", "validation", "test")
    for split, part in data.splits.items():
        assert part.rows.tolist() == [number for number, line in enumerate(lines, 1) if line[0] == split]
        assert part.where(2) == f"Row {part.rows[2]} of {path}"
        assert part.select(np.array([3, 1])).rows.tolist() == part.rows[[3, 1]].tolist()


def test_a_table_without_splits_is_for_training(rows: Rows, write: Callable[..., Path]) -> None:
    path = write("x.csv", ["reads", "y"], *rows["train"])
    check(read_labelled(path, KmerTokenizer(6), Columns(sequence="reads", labels=("y",))), rows, "train")


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
    loci = read_labelled(write("x.tsv", [*header, *HEADER], *lines), KmerTokenizer(6)).splits["train"].loci
    assert loci is not None
    contigs = [loci.contigs.values[number] for number in loci.contigs.index]
    assert list(zip(contigs, loci.starts, loci.ends, strict=True)) == [("chr2", 1000, 1008), ("chr1", 5, 13)]
    lines[1][len(header) - 1] = "none"
    assert read_labelled(write("x.tsv", [*header, *HEADER], *lines), KmerTokenizer(6)).splits["train"].loci is None


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("kind", [np.int64, np.float32, np.bool_])
def test_the_690_sets_of_the_original(column: bool, kind: type, rows: Rows, tmp_path: Path) -> None:
    for split in ("train", "test"):
        folder = tmp_path / split
        folder.mkdir()
        sequences = np.array([sequence.encode() for sequence, _ in rows[split]])
        targets = np.array([label for _, label in rows[split]], kind)
        np.save(folder / "sequences_alph.npy", sequences[:, None] if column else sequences)
        np.save(folder / "targets.npy", targets[:, None] if column else targets)
    check(read_labelled(tmp_path, KmerTokenizer(6)), rows, "train", "test")


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
            read_labelled(tmp_path, KmerTokenizer(6))
    sequences.write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"sequences_alph\.npy"):
        read_labelled(tmp_path, KmerTokenizer(6))


def test_uncertain_letters_and_outputs_that_never_change_are_noted(write: Callable[..., Path]) -> None:
    path = write("x.csv", ["sequence", "a", "b"], ["ACGTNA", 0, 1], ["ACGTAC", 1, 1])
    constant, ambiguous = read_labelled(path, KmerTokenizer(6), Columns(labels=("a", "b"))).notes
    assert constant.endswith(" b.")
    assert ambiguous.startswith("1 of 2 ")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train.csv": [HEADER, *GOOD], "dev.csv": [HEADER]}, r"validation .*dev\.csv"),
        ({"train.csv": [HEADER]}, r"train .*train\.csv"),
        ({"x.csv": [["split", *HEADER]]}, r"x\.csv"),
        ({"dev.csv": [HEADER, *GOOD]}, "train .*validation"),
        ({"train.csv": [HEADER, *GOOD], "dev.csv": [HEADER, *GOOD[:1]]}, r"dev\.csv .*'0'"),
        ({"train.csv": [HEADER, *GOOD[:1]]}, r"train\.csv .*'0'"),
        ({"train.csv": [HEADER, *GOOD], "dev.csv": [HEADER, *GOOD, ["ACGTACGT", 2]]}, r"Row 3 of .*dev\.csv .*'2'"),
        (
            {"train.csv": [HEADER, ["ACGTACGT", 0.5], ["ACGTACGT", 1]], "dev.csv": [HEADER, *[["AACGTA", 2.5]] * 2]},
            r"validation .*dev\.csv .* 2\.5 .*'label'",
        ),
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
        read_labelled(path.parent, KmerTokenizer(6))
    assert str(caught.value).endswith(".")


def test_what_is_not_there_and_a_column_that_is_two_things_are_refused(write: Callable[..., Path]) -> None:
    path = write("x.csv", HEADER, *GOOD)
    with pytest.raises(InputError, match=r"x\.csv .*label, label"):
        read_labelled(path, KmerTokenizer(6), Columns(sequence="label", labels=("label",)))
    with pytest.raises(InputError, match="nothing"):
        read_labelled(path.with_name("nothing"), KmerTokenizer(6))


def test_shards_of_a_table_are_one(rows: Rows, write: Callable[..., Path]) -> None:
    for number in range(2):
        path = write(f"x/data/train-{number:05}-of-00002.csv", ["sequence", "label"], *rows["train"][number::2])
    write("x/data/validation-00000-of-00001-0123456789abcdef.csv", ["sequence", "label"], *rows["validation"])
    source = path.parent.parent
    for name in (".DS_Store", "._train-00000-of-00002.csv", "Thumbs.db"):
        (path.parent / name).write_bytes(b"\0\1")
    data = read_labelled(source, KmerTokenizer(6))
    check(data, rows | {"train": rows["train"][::2] + rows["train"][1::2]}, "train", "validation")
    assert data.splits["train"].where(len(rows["train"]) - 1) == f"Row {len(rows['train']) // 2} of {path}"
    write("x/data/train-00001-of-00002.csv", ["sequence", "label"], *rows["train"][1::2], ["ACGTACGT", "?"])
    with pytest.raises(InputError, match=rf"Row {len(rows['train']) // 2 + 1} of .*train-00001-of-00002.csv .*'\?'"):
        read_labelled(source, KmerTokenizer(6))


def test_the_table_in_the_directory_of_a_set(rows: Rows, write: Callable[..., Path]) -> None:
    lines = [(split, *row) for split, own in rows.items() for row in own]
    path = write("promoters/examples.tsv", ["split", "sequence", "label"], *lines)
    (path.parent / "label.labels.txt").write_text("0\n1\n")
    (path.parent / "promoters-train.array_record-00000-of-00001").write_bytes(b"")
    check(read_labelled(path.parent, KmerTokenizer(6)), rows, "train", "validation", "test")
    assert (set_name(path.parent), set_name(path)) == ("promoters", "promoters")
