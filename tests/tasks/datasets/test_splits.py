"""No sequence stays in two splits; a carved validation split has each class's share and leaves the test rows alone."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import base_codes, decode_bases, reverse_complement
from dnabert_jax.tasks.datasets.labelled import LabelledData, LabelledSplit, Loci
from dnabert_jax.tasks.datasets.labels import TextColumn
from dnabert_jax.tasks.datasets.sequences import Sequences
from dnabert_jax.tasks.datasets.splits import carve, count_duplicates, drop_duplicates, limit_training

CLASSES = TaskConfig("single_label_classification", ("0", "1", "2"))


def split(rows: list[str], labels: object) -> LabelledSplit:
    codes = [base_codes(row.encode()) for row in rows]
    sequences = Sequences.of((row, np.array([len(row)])) for row in codes)
    return LabelledSplit(sequences, np.asarray(labels), np.arange(1, len(rows) + 1), "x.csv")


def disjoint(data: LabelledData) -> bool:
    """Whether no sequence, or its reverse complement, is in two splits."""
    keys = [
        {min(codes.tobytes(), reverse_complement(codes).tobytes()) for codes in part.sequences}
        for part in data.splits.values()
    ]
    return sum(map(len, keys)) == len(set.union(*keys))


def random_rows(count: int, seed: int = 0) -> list[str]:
    return ["".join(row) for row in np.random.default_rng(seed).choice(list("ACGT"), (count, 20))]


def labelled(rows: list[str], labels: object, **others: LabelledSplit) -> LabelledData:
    """Rows to train on, of three classes, and other splits."""
    return LabelledData(CLASSES, {"train": split(rows, np.array(labels, np.int32)), **others})  # type: ignore[dict-item]


OVERLAPPING = labelled(
    ["AAAC", "aaac", "CCCC", "GGGA", "TTTA", "ACGA"],
    [0, 1, 0, 1, 0, 0],
    validation=split(["CCCC", "GTTT", "TGGG"], np.array([0, 1, 1], np.int32)),
    test=split(["TTTA", "TTTA", "TGGG", "ATTT"], np.array([0, 0, 1, 1], np.int32)),
)


def test_duplicates_are_counted_and_dropped_never_from_test() -> None:
    notes = count_duplicates(OVERLAPPING).notes
    counts = [(*re.findall("train|validation|test", note), int(note[:-1].split(": ")[1])) for note in notes]
    assert counts == [
        ("validation", "train", 1), ("test", "train", 2), ("test", "validation", 1),
        ("train", 1), ("test", 1), ("train", 2),
    ]  # fmt: skip
    dropped = drop_duplicates(OVERLAPPING)
    for name, rows in (("train", ["AAAC", "GGGA", "ACGA"]), ("validation", ["CCCC", "GTTT"])):
        assert [decode_bases(codes) for codes in dropped.splits[name].sequences] == rows  # type: ignore[index]
    assert dropped.splits["test"] is OVERLAPPING.splits["test"]
    assert [note[:6] for note in dropped.notes] == ["3 of 6", "1 of 3"]
    assert not any("too" in note for note in count_duplicates(dropped).notes[2:])


def test_a_training_split_of_which_too_little_is_left_is_refused() -> None:
    part = OVERLAPPING.splits["test"]
    with pytest.raises(InputError, match=r"train .*x\.csv"):
        drop_duplicates(LabelledData(CLASSES, {"train": part, "test": part}))
    with pytest.raises(InputError, match=r"x\.csv .*'1'"):
        drop_duplicates(labelled(["AAAC", "GGGA", "ACGA"], [0, 1, 1], test=split(["AAAC"], np.array([0], np.int32))))
    for fraction in (0.1, 0.3, 0.0, 1.0):
        with pytest.raises(InputError, match=rf"\b{fraction:g}\b"):
            carve(labelled(random_rows(4), [0, 0, 1, 1]), "validation", fraction)


def test_a_carved_split_keeps_the_shares_of_classes() -> None:
    labels = np.random.default_rng(0).choice(3, 500, p=[0.7, 0.25, 0.05])
    data = labelled(random_rows(500), labels, test=OVERLAPPING.splits["test"])
    carved = carve(data, "validation", 0.1, seed=3)
    assert list(carved.splits) == ["train", "validation", "test"]
    assert carved.splits["test"] is data.splits["test"]
    held_out, rest = carved.splits["validation"], carved.splits["train"]
    assert sorted([*held_out.rows, *rest.rows]) == list(range(1, 501))
    assert np.abs(np.bincount(held_out.labels) - np.bincount(labels) / 10).max() <= 1
    assert f"{len(held_out)} of 500" in carved.notes[0]
    assert carve(data, "validation", 0.1, seed=3).splits["validation"].rows.tolist() == held_out.rows.tolist()
    assert carve(data, "validation", 0.1, seed=4).splits["validation"].rows.tolist() != held_out.rows.tolist()
    assert carve(carved, "validation") is carved
    limited = limit_training(data, 100, seed=3).splits["train"]
    assert np.abs(np.bincount(limited.labels) - np.bincount(labels) / 5).max() <= 1


def test_a_class_never_leaves_training() -> None:
    data = labelled(random_rows(101), [0] * 50 + [1] * 50 + [2])
    for seed, fraction in itertools.product(range(5), (0.1, 0.5, 0.9)):
        assert set(carve(data, "validation", fraction, seed).splits["train"].labels) == {0, 1, 2}


def test_one_sequence_stays_on_one_side() -> None:
    rows = random_rows(60)
    other = [decode_bases(reverse_complement(base_codes(row.encode()))) for row in rows]
    carved = carve(labelled([*rows, *rows, *other], np.tile([0, 1], 90)), "validation", 0.3)
    assert 30 < len(carved.splits["validation"]) < 80
    assert disjoint(carved)


def test_targets_and_rare_labels_are_spread() -> None:
    targets = np.random.default_rng(1).normal(size=(400, 1)).astype(np.float32)
    data = LabelledData(TaskConfig("regression", ("y",)), {"train": split(random_rows(400), targets)})
    held_out = carve(data, "validation", 0.25).splits["validation"].labels
    quantiles = np.quantile(held_out, [0.1, 0.5, 0.9]), np.quantile(targets, [0.1, 0.5, 0.9])
    assert np.allclose(*quantiles, atol=0.1)
    several = (np.random.default_rng(1).random((400, 2)) < [0.9, 0.04]).astype(np.uint8)
    task = TaskConfig("multi_label_classification", ("a", "b"))
    for seed in range(5):
        data = LabelledData(task, {"train": split(random_rows(400), several)})
        held_out = carve(data, "validation", 0.25, seed).splits["validation"].labels
        assert abs(held_out[:, 1].sum() - several[:, 1].sum() / 4) <= 1


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
    carved = carve(carve(located(places, rows), "test", 0.25), "validation", 0.15)
    assert list(carved.splits) == ["train", "validation", "test"]
    contigs = [{places[row - 1][0] for row in part.rows} for part in carved.splits.values()]
    assert sum(map(len, contigs)) == len(set.union(*contigs)) == 8
    assert all(contig in carved.notes[0] for contig in contigs[2])
    assert abs(len(carved.splits["test"]) - 150) <= 150 / 4
    assert disjoint(carved)


def test_whole_loci_are_held_out_on_few_chromosomes() -> None:
    draw = np.random.default_rng(5)
    places = [(f"chr{draw.integers(1, 3)}", int(start)) for start in draw.integers(0, 10**6, 300)]
    rows = random_rows(300)
    rows[7] = rows[290]
    carved = carve(located(places, rows), "test", 0.2)
    assert abs(len(carved.splits["test"]) - 60) <= 15
    train, test = ([places[row - 1] for row in carved.splits[name].rows] for name in ("train", "test"))
    assert all(a != b or abs(start - end) > 1020 for a, start in train for b, end in test)
    assert disjoint(carved)
    touching = carve(located([("chr1", 20 * number) for number in range(100)]), "test", 0.2)
    assert 18 <= len(touching.splits["test"]) <= 22
    assert "overlap" in touching.notes[0]
