"""Which of two classes is the positive one, and that it is the second label."""

from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.tasks.datasets.labelled import LabelledData, read_labelled
from dnabert_jax.tasks.datasets.labels import positive_of
from dnabert_jax.tasks.datasets.positive import with_positive


@pytest.mark.parametrize(
    ("positive", "other"),
    [
        ("1", "0"),
        ("1", "-1"),
        ("bound", "unbound"),
        ("bound", "background"),
        ("Enhancer", "non-enhancer"),
        ("promoter", "none"),
        ("positive", "negative"),
        ("pos", "neg"),
        ("TRUE", "FALSE"),
        ("yes", "no"),
        ("active", "inactive"),
        ("site", "no site"),
        ("accessible", "not_accessible"),
        ("peak", "control"),
    ],
)
def test_the_positive_class_is_known_by_the_names_in_any_order(positive: str, other: str) -> None:
    assert positive_of([positive, other]) == positive_of([other, positive]) == positive


@pytest.mark.parametrize(
    "names", [("donor", "acceptor"), ("1", "2"), ("none", "background"), ("human", "mouse"), ("yes",)]
)
def test_names_that_do_not_say(names: tuple[str, ...]) -> None:
    assert positive_of(names) == ""


def data(tmp_path: Path, *labels: str) -> LabelledData:
    rows = [f"ACGTACGTA{'ACGT'[number % 4]}\t{label}\ttrain" for number, label in enumerate(labels * 4)]
    (tmp_path / "table.tsv").write_text("\n".join(["sequence\tlabel\tsplit", *rows]) + "\n")
    return read_labelled(tmp_path / "table.tsv", 3)


def test_the_positive_class_is_the_second_label(tmp_path: Path) -> None:
    read = data(tmp_path, "bound", "unbound", "unbound")
    assert read.task.labels == ("unbound", "bound")
    assert read.splits["train"].labels.tolist() == [1, 0, 0] * 4
    assert with_positive(read) is read
    other = with_positive(read, "unbound")
    assert other.task.labels == ("bound", "unbound")
    np.testing.assert_array_equal(other.splits["train"].labels, 1 - read.splits["train"].labels)


def test_a_class_is_asked_for_where_names_do_not_say(tmp_path: Path) -> None:
    read = data(tmp_path, "donor", "acceptor")
    asked = with_positive(read)
    assert asked.task.labels == ("acceptor", "donor")
    assert "--positive" in asked.notes[-1]
    assert with_positive(read, "donor").task.labels == ("acceptor", "donor")
    with pytest.raises(InputError, match="--positive is 'exon'"):
        with_positive(read, "exon")
    several = data(tmp_path, "donor", "acceptor", "none")
    assert with_positive(several) is several
    with pytest.raises(InputError, match="--positive donor"):
        with_positive(several, "donor")
