"""What labels mean is found from the training rows, unless it is told; what does not fit is named with its row."""

from typing import Any

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.tasks.datasets.labels import LabelScheme, TextColumn, infer_scheme

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def column(*rows: str) -> TextColumn:
    values, index = np.unique(np.array(rows), return_inverse=True)
    return TextColumn(tuple(values.tolist()), index.astype(np.int32))


def columns(*rows: str, **several: list[str]) -> dict[str, TextColumn]:
    return {"label": column(*rows)} if rows else {name: column(*own) for name, own in several.items()}


def where(row: int) -> str:
    return f"Row {row + 1} of x.csv"


def scheme(*rows: str, **settings: Any) -> LabelScheme:
    return infer_scheme(columns(*rows), "x.csv", **settings)


@pytest.mark.parametrize(
    ("rows", "settings", "problem", "labels", "expected"),
    [
        (["1", "0", "1"], {}, SINGLE, ("0", "1"), [1, 0, 1]),
        (["1.0", "0", "01"], {}, SINGLE, ("0", "1"), [1, 0, 1]),
        (["-1", "1"], {}, SINGLE, ("-1", "1"), [0, 1]),
        (["10", "9", "11"], {}, SINGLE, ("9", "10", "11"), [1, 0, 2]),
        (["donor", "acceptor", "none"], {}, SINGLE, ("acceptor", "donor", "none"), [1, 0, 2]),
        (["donor", "acceptor"], {"labels": ("none", "donor", "acceptor")}, SINGLE, None, [1, 2]),
        (["2", "0"], {"labels": ("none", "donor", "acceptor")}, SINGLE, None, [2, 0]),
        (["weak, distal", "strong"], {}, SINGLE, ("strong", "weak, distal"), [1, 0]),
        (["a;b", "c"], {"problem": SINGLE}, SINGLE, ("a;b", "c"), [0, 1]),
        (["0", "1"], {"problem": REGRESSION}, REGRESSION, ("label",), [[0.0], [1.0]]),
        (["0.5", "-1e3"], {}, REGRESSION, ("label",), [[0.5], [-1000.0]]),
        (["0.5;1", "2; 3"], {}, REGRESSION, ("0", "1"), [[0.5, 1], [2, 3]]),
        (["0,1,1", "1,0,0"], {}, MULTI, ("0", "1", "2"), [[0, 1, 1], [1, 0, 0]]),
        (["0,1", "1,0"], {"labels": ("x", "y")}, MULTI, None, [[0, 1], [1, 0]]),
        (["CTCF; MYC", "", "MYC;"], {}, MULTI, ("CTCF", "MYC"), [[1, 1], [0, 0], [0, 1]]),
        (["CTCF MYC", "MYC"], {"separator": " "}, MULTI, ("CTCF", "MYC"), [[1, 1], [0, 1]]),
        (["CTCF", "MYC"], {"problem": MULTI}, MULTI, ("CTCF", "MYC"), [[1, 0], [0, 1]]),
        (["1", "0"], {"problem": MULTI}, MULTI, ("label",), [[1], [0]]),
    ],
)
def test_one_column(rows: list[str], settings: dict[str, Any], problem: str, labels: Any, expected: Any) -> None:
    found = scheme(*rows, **settings)
    assert found.task.problem == problem
    assert found.task.labels == (labels or settings["labels"])
    encoded = found.encode(columns(*rows), where)
    assert encoded.tolist() == expected
    assert encoded.dtype == {SINGLE: np.int32, MULTI: np.uint8, REGRESSION: np.float32}[problem]


def test_several_columns_are_labels_or_targets() -> None:
    both = columns(CTCF=["1", "0"], MYC=["1", "1"])
    found = infer_scheme(both, "x.csv")
    assert (found.task.problem, found.task.labels) == (MULTI, ("CTCF", "MYC"))
    assert found.encode(both, where).tolist() == [[1, 1], [0, 1]]
    targets = columns(a=["1", "0"], b=["1", "2.5"])
    found = infer_scheme(targets, "x.csv")
    assert (found.task.problem, found.task.labels) == (REGRESSION, ("a", "b"))
    assert found.encode(targets, where).tolist() == [[1, 1], [0, 2.5]]
    assert infer_scheme(both, "x.csv", problem=REGRESSION, labels=("p", "q")).task.labels == ("p", "q")


@pytest.mark.parametrize(
    ("train", "settings", "other", "message"),
    [
        (["0", "1"], {}, "2", "Row 2 of x.csv has the label '2', which is none of 0, 1"),
        (["0", "1"], {}, "", "Row 2 of x.csv has no label"),
        (["0", "1"], {}, "NaN", r"Row 2 of x.csv has no label \('NaN'\)"),
        (["0", "2"], {"labels": ("a", "b", "c")}, "3", "Row 2 of x.csv has the label '3', outside the range 0 to 2"),
        (["a", "b"], {}, "c", "Row 2 of x.csv has the label 'c', which is none of a, b"),
        (["0.5", "1"], {}, "nan", r"Row 2 of x.csv has no label \('nan'\)"),
        (["0.5", "1"], {}, "-inf", "Row 2 of x.csv has the label '-inf', which is no finite number"),
        (["0.5", "1"], {}, "1e39", "Row 2 of x.csv has the label '1e39', which is no finite number"),
        (["0.5", "1"], {}, "high", "Row 2 of x.csv has the label 'high', which is no finite number"),
        (["0,1", "1,0"], {}, "0,1,1", r"Row 2 of x.csv has 3 labels \('0,1,1'\) where 2 are expected"),
        (["0,1", "1,0"], {}, "", r"Row 2 of x.csv has 0 labels"),
        (["0,1", "1,0"], {}, "0,", r"Row 2 of x.csv has no label"),
        (["0,1", "1,0"], {}, "0,2", "Row 2 of x.csv has the label '2': of several labels, each is 0 or 1"),
        (["a;b", "b"], {}, "b;d", "Row 2 of x.csv has the label 'd', which is none of a, b"),
    ],
)
def test_labels_that_do_not_fit_are_named_with_their_row(
    train: list[str], settings: dict[str, Any], other: str, message: str
) -> None:
    found = scheme(*train, **settings)
    with pytest.raises(InputError, match=message):
        found.encode(columns(train[0], other), where)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ({"label": ["1", "1"]}, {}, "x.csv has one class only, '1'"),
        ({"label": ["", "NA"]}, {}, "no labels in column 'label' of x.csv"),
        ({"a": ["1", "0"], "b": ["1", "0"]}, {"problem": SINGLE}, "one column, not a, b"),
        ({"a": ["1", "0"], "b": ["1", "0"]}, {"labels": ("x",)}, "1 labels are named .* columns a, b"),
    ],
)
def test_labels_that_are_no_task_are_refused(labels: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        infer_scheme(columns(**labels), "x.csv", **settings)
