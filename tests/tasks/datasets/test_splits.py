"""No sequence stays in two splits; a carved validation split has each class's share and leaves the test rows alone."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import base_codes, reverse_complement
from dnabert_jax.tasks.datasets.labelled import LabelledData, LabelledSplit
from dnabert_jax.tasks.datasets.labels import TextColumn
from dnabert_jax.tasks.datasets.rows import Loci
from dnabert_jax.tasks.datasets.sequences import Sequences
from dnabert_jax.tasks.datasets.splits import carve, count_duplicates, drop_duplicates

CLASSES = TaskConfig("single_label_classification", ("0", "1", "2"))


def split(rows: list[str], labels: object) -> LabelledSplit:
    codes = [base_codes(row.encode()) for row in rows]
    sequences = Sequences.of((own, np.array([len(own)])) for own in codes)
    return LabelledSplit(sequences, np.asarray(labels), np.arange(1, len(rows) + 1), "x.csv")


def texts(part: LabelledSplit) -> list[bytes]:
    return [codes.tobytes() for codes in part.sequences]


# AAAC and GTTT are each other's reverse complement.
OVERLAPPING = LabelledData(
    CLASSES,
    {
        "train": split(["AAAC", "aaac", "CCCC", "GGGA", "TTTA", "ACGA"], np.array([0, 1, 0, 1, 0, 0], np.int32)),
        "validation": split(["CCCC", "GTTT", "TGGG"], np.array([0, 1, 1], np.int32)),
        "test": split(["TTTA", "TTTA", "TGGG", "ATTT"], np.array([0, 0, 1, 1], np.int32)),
    },
)


def test_duplicates_are_counted() -> None:
    found = count_duplicates(OVERLAPPING)
    assert found.within == {"train": 1, "validation": 0, "test": 1}
    assert found.between == {("train", "validation"): 1, ("train", "test"): 2, ("validation", "test"): 1}
    assert found.contradicting == {"train": 2, "validation": 0, "test": 0}
    assert found.sentences()[0] == "Rows of validation with a sequence that is in train too: 1."
    both = count_duplicates(OVERLAPPING, reverse_complements=True)
    assert both.between == {("train", "validation"): 2, ("train", "test"): 2, ("validation", "test"): 1}
    assert "itself or as its reverse complement is in train" in both.sentences()[0]


@pytest.mark.parametrize(
    ("reverse_complements", "train", "validation"),
    [(False, ["AAAC", "GGGA", "ACGA"], ["CCCC", "GTTT"]), (True, ["GGGA", "ACGA"], ["CCCC", "GTTT"])],
)
def test_duplicates_are_dropped_never_from_test(
    reverse_complements: bool, train: list[str], validation: list[str]
) -> None:
    found = drop_duplicates(OVERLAPPING, reverse_complements)
    assert texts(found.splits["train"]) == [base_codes(row.encode()).tobytes() for row in train]
    assert texts(found.splits["validation"]) == [base_codes(row.encode()).tobytes() for row in validation]
    assert found.splits["test"] is OVERLAPPING.splits["test"]
    assert found.notes == (
        f"{6 - len(train)} of 6 rows of train were dropped as duplicates.",
        "1 of 3 rows of validation were dropped as duplicates.",
    )
    assert not any(count_duplicates(found, reverse_complements).between.values())


def test_a_split_that_is_all_in_another_is_refused() -> None:
    part = OVERLAPPING.splits["test"]
    with pytest.raises(InputError, match=r"All rows of the train split of x.csv"):
        drop_duplicates(LabelledData(CLASSES, {"train": part, "test": part}))


def test_training_rows_of_one_class_are_refused_when_others_are_dropped() -> None:
    train = split(["AAAC", "GGGA", "ACGA"], np.array([0, 1, 1], np.int32))
    data = LabelledData(CLASSES, {"train": train, "test": split(["AAAC"], np.array([0], np.int32))})
    with pytest.raises(InputError, match=r"training rows of x\.csv that are left are all of the class"):
        drop_duplicates(data)


def random_rows(count: int, seed: int = 0) -> list[str]:
    return ["".join(row) for row in np.random.default_rng(seed).choice(list("ACGT"), (count, 20))]


def test_a_carved_split_keeps_the_shares_of_classes() -> None:
    labels = np.random.default_rng(0).choice(3, 500, p=[0.7, 0.25, 0.05]).astype(np.int32)
    data = LabelledData(CLASSES, {"train": split(random_rows(500), labels), "test": OVERLAPPING.splits["test"]})
    found = carve(data, "validation", 0.1, seed=3)
    assert list(found.splits) == ["train", "validation", "test"]
    assert found.splits["test"] is data.splits["test"]
    held_out, rest = found.splits["validation"], found.splits["train"]
    assert sorted([*held_out.rows, *rest.rows]) == list(range(1, 501))
    for label, count in Counter(labels.tolist()).items():
        assert abs((held_out.labels == label).sum() - count / 10) <= 1
    assert "no validation split" in found.notes[0]
    assert f"{len(held_out)} of 500" in found.notes[0]
    assert carve(data, "validation", 0.1, seed=3).splits["validation"].rows.tolist() == held_out.rows.tolist()
    assert carve(data, "validation", 0.1, seed=4).splits["validation"].rows.tolist() != held_out.rows.tolist()
    assert carve(found, "validation") is found


def test_a_class_never_leaves_training() -> None:
    labels = np.array([0] * 50 + [1] * 50 + [2], np.int32)
    for seed in range(5):
        for fraction in (0.1, 0.5, 0.9):
            data = LabelledData(CLASSES, {"train": split(random_rows(101), labels)})
            assert set(carve(data, "validation", fraction, seed).splits["train"].labels) == {0, 1, 2}


def test_one_sequence_stays_on_one_side() -> None:
    rows = random_rows(60)
    other = ["".join("ATCG"[code] for code in reverse_complement(base_codes(row.encode()))) for row in rows]
    data = LabelledData(CLASSES, {"train": split([*rows, *rows, *other], np.tile([0, 1], 90).astype(np.int32))})
    found = carve(data, "validation", 0.3)
    assert 30 < len(found.splits["validation"]) < 80
    assert not count_duplicates(found, reverse_complements=True).between["train", "validation"]


def test_targets_and_rare_labels_are_spread() -> None:
    targets = np.random.default_rng(1).normal(size=(400, 1)).astype(np.float32)
    task = TaskConfig("regression", ("y",))
    found = carve(LabelledData(task, {"train": split(random_rows(400), targets)}), "validation", 0.25)
    assert np.allclose(
        np.quantile(found.splits["validation"].labels, [0.1, 0.5, 0.9]), np.quantile(targets, [0.1, 0.5, 0.9]), atol=0.1
    )
    several = (np.random.default_rng(1).random((400, 2)) < [0.9, 0.04]).astype(np.uint8)
    task = TaskConfig("multi_label_classification", ("a", "b"))
    for seed in range(5):
        found = carve(LabelledData(task, {"train": split(random_rows(400), several)}), "validation", 0.25, seed)
        assert abs(found.splits["validation"].labels[:, 1].sum() - several[:, 1].sum() / 4) <= 1


def located(places: list[tuple[str, int]], rows: list[str] | None = None) -> LabelledData:
    """Rows of 20 bases at these places, of three classes."""
    names, index = np.unique([contig for contig, _ in places], return_inverse=True)
    starts = np.array([start for _, start in places])
    loci = Loci(TextColumn(tuple(names.tolist()), index.astype(np.int32)), starts, starts + 20)
    part = split(rows or random_rows(len(places)), np.arange(len(places), dtype=np.int32) % 3)
    return LabelledData(CLASSES, {"train": dataclasses.replace(part, loci=loci)})


def test_whole_chromosomes_are_held_out_where_there_are_enough() -> None:
    draw = np.random.default_rng(5)
    places = [(f"chr{draw.integers(1, 9)}", int(start)) for start in draw.integers(0, 10**6, 600)]
    rows = random_rows(600)
    rows[:100] = rows[100:200]  # mostly on other chromosomes
    found = carve(carve(located(places, rows), "test", 0.25), "validation", 0.15)
    assert list(found.splits) == ["train", "validation", "test"]
    contigs = [{places[row - 1][0] for row in part.rows} for part in found.splits.values()]
    assert sum(map(len, contigs)) == len(set.union(*contigs)) == 8
    assert all(contig in found.notes[0] for contig in contigs[2])
    assert abs(len(found.splits["test"]) - 150) <= 150 / 4
    duplicates = count_duplicates(found, reverse_complements=True).between
    assert not duplicates["train", "test"]
    assert not duplicates["train", "validation"]
    assert not duplicates["validation", "test"]


def test_whole_loci_are_held_out_on_few_chromosomes() -> None:
    draw = np.random.default_rng(5)
    places = [(f"chr{draw.integers(1, 3)}", int(start)) for start in draw.integers(0, 10**6, 300)]
    rows = random_rows(300)
    rows[7] = rows[290]
    found = carve(located(places, rows), "test", 0.2)
    assert abs(len(found.splits["test"]) - 60) <= 15
    train, test = ([places[row - 1] for row in found.splits[name].rows] for name in ("train", "test"))
    assert all(a != b or abs(start - end) > 1020 for a, start in train for b, end in test)
    assert not count_duplicates(found).between["train", "test"]
    touching = located([("chr1", 20 * number) for number in range(100)])
    assert 18 <= len(carve(touching, "test", 0.2).splits["test"]) <= 22
    assert "overlap" in carve(touching, "test", 0.2).notes[0]


@pytest.mark.parametrize(
    ("fraction", "message"), [(0.1, "too few"), (0.0, "between 0 and 1"), (1.0, "between 0 and 1")]
)
def test_too_few_rows_are_refused(fraction: float, message: str) -> None:
    data = LabelledData(CLASSES, {"train": split(random_rows(4), np.array([0, 0, 1, 1], np.int32))})
    with pytest.raises(InputError, match=message):
        carve(data, "validation", fraction)
