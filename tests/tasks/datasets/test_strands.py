"""Labels that depend on the strand are told from those that do not."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from Bio.Seq import reverse_complement

from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.tasks.datasets.labelled import LabelledData, read_labelled
from dnabert_jax.tasks.datasets.strands import differs_between_strands
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.encoding import task_to_learn
from tests.tasks.conftest import write_table

Plant = Callable[[str, int], str]


def word_on_one_strand(text: str, number: int) -> str:
    place = 5 + number % 60
    return f"{text[:place]}GGGCGG{text[place + 6 :]}"


def word_on_both_strands(text: str, number: int) -> str:
    planted = word_on_one_strand(text, number)
    return reverse_complement(planted) if np.random.default_rng(number).random() < 0.5 else planted


def donor(text: str, _: int) -> str:
    return f"{text[:40]}GT{text[42:]}"


def data(path: Path, plant: Plant, labels: Sequence[str], rows: int) -> LabelledData:
    texts = ["".join(row) for row in np.random.default_rng(0).choice(list("ACGT"), (rows, 82))]

    def row(number: int) -> tuple[str, str]:
        label = labels[number % len(labels)]
        return plant(texts[number], number) if label == labels[-1] else texts[number], label

    return read_labelled(write_table(path, (rows, 0, 0), row), KmerTokenizer(3))


@pytest.mark.parametrize("labels", [("0", "1"), ("a", "b;c", "c", "b"), ("0.5", "1.5", "2.5")])
@pytest.mark.parametrize(
    ("plant", "differs"),
    [(lambda text, _: text, False), (word_on_both_strands, False), (word_on_one_strand, True), (donor, True)],
)
def test_a_word_on_one_strand_alone_makes_the_strands_differ(
    tmp_path: Path, plant: Plant, differs: bool, labels: Sequence[str]
) -> None:
    rows = data(tmp_path / "rows.csv", plant, labels, 1200)
    assert differs_between_strands(rows.splits["train"]) == differs
    for strands, expected in (("auto", "forward" if differs else "both"), ("both", "both"), ("forward", "forward")):
        assert task_to_learn(rows, FinetuneConfig(strands=strands)).strands == expected


def test_few_sequences_and_sequences_of_any_length_can_be_told(tmp_path: Path) -> None:
    few = data(tmp_path / "few.csv", donor, ("0", "1"), 80).splits["train"]
    assert differs_between_strands(few)
    lengths = few.sequences.lengths.copy()
    lengths[::3] = 3
    short = dataclasses.replace(few, sequences=dataclasses.replace(few.sequences, lengths=lengths))
    assert differs_between_strands(short) in (True, False)
