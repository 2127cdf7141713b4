"""What labels mean is found from the training rows, unless it is told; what does not fit is named with its row."""

import re
from typing import Any

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.tasks.datasets.labels import LabelScheme, TextColumn, infer_scheme, positive_of
from dnabert_jax.tasks.datasets.layout import DataOptions

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def column(*rows: str) -> TextColumn:
    values, index = np.unique(np.array(rows), return_inverse=True)
    return TextColumn(tuple(values.tolist()), index.astype(np.int32))


def columns(*rows: str, **several: list[str]) -> dict[str, TextColumn]:
    return {"label": column(*rows)} if rows else {name: column(*values) for name, values in several.items()}


def infer(labels: dict[str, TextColumn], delimiter: str = "", **options: Any) -> LabelScheme:
    return infer_scheme(labels, "x.csv", DataOptions(**options), delimiter)


def scheme(*rows: str, **settings: Any) -> LabelScheme:
    return infer(columns(*rows), **settings)


def encode(inferred: LabelScheme, labels: dict[str, TextColumn]) -> np.ndarray:
    return inferred.encode(labels, lambda row: f"Row {row + 1} of x.csv")


@pytest.mark.parametrize(
    ("rows", "settings", "problem", "labels", "expected"),
    [
        (["1", "-1", "1"], {}, SINGLE, ("-1", "1"), [1, 0, 1]),
        (["10", "9", "11"], {}, SINGLE, ("9", "10", "11"), [1, 0, 2]),
        (["weak, distal", "strong"], {}, SINGLE, ("strong", "weak, distal"), [1, 0]),
        (["a;b", "c"], {"problem": SINGLE}, SINGLE, ("a;b", "c"), [0, 1]),
        (["0", "1"], {"problem": REGRESSION}, REGRESSION, ("label",), [[0.0], [1.0]]),
        (["0.5", "-1e3"], {}, REGRESSION, ("label",), [[0.5], [-1000.0]]),
        (["0.5;1", "2; 3"], {}, REGRESSION, ("0", "1"), [[0.5, 1], [2, 3]]),
        (["0,1,1", "1,0,0"], {}, MULTI, ("0", "1", "2"), [[0, 1, 1], [1, 0, 0]]),
        (["CTCF; MYC", "", "MYC;"], {}, MULTI, ("CTCF", "MYC"), [[1, 1], [0, 0], [0, 1]]),
        (["CTCF", "MYC"], {"problem": MULTI}, MULTI, ("CTCF", "MYC"), [[1, 0], [0, 1]]),
        (["1", "0"], {"problem": MULTI}, MULTI, ("label",), [[1], [0]]),
        (["1_1", "11", "1_2", "2"], {}, SINGLE, ("2", "11", "1_1", "1_2"), [2, 1, 3, 0]),
        (["1e2", "100", "2e1"], {}, SINGLE, ("100", "1e2", "2e1"), [1, 0, 2]),
        (["\uff11", "1", "2"], {}, SINGLE, ("1", "2", "\uff11"), [2, 0, 1]),
        (["inf", "infinity", "nan2"], {}, SINGLE, ("inf", "infinity", "nan2"), [0, 1, 2]),
        (["1.0", "01", "2.0"], {}, SINGLE, ("1", "2"), [0, 0, 1]),
        (["1.0.1", "1.1.0"], {}, SINGLE, ("1.0.1", "1.1.0"), [0, 1]),
        (["123456789012345678901", "123456789012345678902"], {}, SINGLE, None, [0, 1]),
        (["1e-05", "1e2", "100"], {}, REGRESSION, ("label",), [[np.float32(1e-5)], [100.0], [100.0]]),
        (["1e+16", "1.0"], {}, REGRESSION, ("label",), [[np.float32(1e16)], [1.0]]),
        (["0,584", "-1,5", "2"], {"delimiter": ";"}, REGRESSION, ("label",), [[np.float32(0.584)], [-1.5], [2.0]]),
        (["1,2E-05", "0,5"], {"delimiter": "\t"}, REGRESSION, ("label",), [[np.float32(1.2e-5)], [0.5]]),
        (["1,0", "2,0", "10"], {"delimiter": "\t"}, SINGLE, ("1", "2", "10"), [0, 1, 2]),
        (["0,1", "1,0"], {"delimiter": "\t"}, MULTI, ("0", "1"), [[0, 1], [1, 0]]),
        (["0.5,1.5", "2,3"], {"delimiter": "\t"}, REGRESSION, ("0", "1"), [[0.5, 1.5], [2, 3]]),
        (["1,2", "CTCF,3"], {"delimiter": "\t"}, MULTI, ("1", "2", "3", "CTCF"), [[1, 1, 0, 0], [0, 0, 1, 1]]),
        (["CTCF,NA", "CTCF"], {"literal_labels": True}, MULTI, ("CTCF", "NA"), [[1, 1], [1, 0]]),
    ],
)
def test_one_column(rows: list[str], settings: dict[str, Any], problem: str, labels: Any, expected: Any) -> None:
    inferred = scheme(*rows, **settings)
    assert (inferred.task.problem, inferred.task.labels) == (problem, labels or tuple(rows))
    encoded = encode(inferred, columns(*rows))
    assert encoded.tolist() == expected
    assert encoded.dtype == {SINGLE: np.int32, MULTI: np.uint8, REGRESSION: np.float32}[problem]


def test_several_columns_are_labels_or_targets() -> None:
    for problem, second, expected in ((MULTI, "1", [[1, 1], [0, 1]]), (REGRESSION, "2.5", [[1, 1], [0, 2.5]])):
        both = columns(a=["1", "0"], b=["1", second])
        inferred = infer(both)
        assert (inferred.task.problem, inferred.task.labels) == (problem, ("a", "b"))
        assert encode(inferred, both).tolist() == expected


@pytest.mark.parametrize(
    ("train", "settings", "other", "values"),
    [
        (["0", "1"], {}, "", []),
        (["a", "b"], {}, "c", ["'c'", "a, b"]),
        (["0.5", "1"], {}, "-inf", ["'-inf'"]),
        (["0.5", "1"], {}, "1e39", ["'1e39'"]),
        (["0.5", "1"], {}, "1_1", ["'1_1'"]),
        (["0,1", "1,0"], {}, "0,1,1", ["'0,1,1'", "3 labels", "2 are"]),
        (["0,1", "1,0"], {}, "", []),
        (["0,1", "1,0"], {}, "0,2", ["'2'"]),
        (["0,5", "1,5"], {"delimiter": ";"}, "1,336,000", ["'1,336,000'"]),
        (["a;b", "b"], {}, "b;NA", ["'NA'"]),
        (["a;b", "b"], {}, "b;d", ["'d'", "a, b"]),
    ],
)
def test_labels_that_do_not_fit_are_named_with_their_row(
    train: list[str], settings: dict[str, Any], other: str, values: list[str]
) -> None:
    with pytest.raises(InputError, match=r"Row 2 of x\.csv") as caught:
        encode(scheme(*train, **settings), columns(train[0], other))
    assert all(value in str(caught.value) for value in values)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ({"label": ["1", "1"]}, {}, r"x\.csv .*'1'"),
        ({"label": ["", ""]}, {}, r"'label' of x\.csv"),
        ({"label": ["1,336", "2,001"]}, {"delimiter": ","}, "'1,336'"),
        ({"label": ["1,336", "12", "1,000,000"]}, {"delimiter": "\t"}, "'1,000,000'"),
        ({"label": ["0,584", "1"]}, {}, "'0,584'"),
        ({"a": ["1", "0"], "b": ["1", "0"]}, {"problem": SINGLE}, r"\ba, b\b"),
    ],
)
def test_labels_that_are_no_task_are_refused(labels: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        infer(columns(**labels), **settings)


@pytest.mark.parametrize("missing", ["None", "#N/A", "<NA>", "-", "?", ".", "NA", "n/a", "NaN", "null"])
def test_a_missing_label_is_named_with_its_row(missing: str) -> None:
    rows = ["0.5", "1", missing, missing]
    for labels in (columns(*rows), columns(other=["0.5", "1", "2", "3"], label=rows), columns("a;b", "b", missing)):
        with pytest.raises(InputError, match=rf"Row 3 of x.csv .*{re.escape(repr(missing))}"):
            encode(infer(labels), labels)
    labels = columns("nano", missing)
    assert encode(infer(labels, literal_labels=True), labels).tolist() in ([0, 1], [1, 0])
    assert encode(scheme("+", "-"), columns("-", "+")).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("number", "odd"), [(".125", "inf"), *((",5", odd) for odd in ("<0,1", "0,5%", "1.5", "1.234,5", "1,000,000", "x"))]
)
def test_a_few_that_are_not_numbers_are_neither_classes_nor_several_targets(number: str, odd: str) -> None:
    rows = [f"{whole}{number}" for whole in range(20)]
    one, two = columns(*rows, odd), columns(a=[*rows, odd], b=[*rows, rows[1]])
    for train, labels in ((columns(*rows), one), (one, one), (two, two)):
        with pytest.raises(InputError, match=rf"21 .*x\.csv.*'{odd}'"):
            encode(infer(train, delimiter=";"), labels)


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_whole_numbers_do_not_make_commas_decimal(delimiter: str) -> None:
    rows = [*map(str, range(20)), "3,weak"]
    inferred = scheme(*rows, delimiter=delimiter)
    assert inferred.task.labels == (*rows[:-1], "weak")
    assert encode(inferred, columns(*rows)).sum(axis=1).tolist() == [1] * 20 + [2]


def test_marks_of_thousands_are_not_several_targets() -> None:
    rows = ["834,5", "1.034,5", "1.200,25", "990"]
    for labels in (columns(*rows), columns(*rows[1:3] * 2)):
        with pytest.raises(InputError, match=r"[12] .*x\.csv.*'1\.034,5'"):
            encode(infer(labels, delimiter=";"), labels)
    with pytest.raises(InputError, match=r"'1\.034,5'"):
        scheme(*rows, delimiter=",")


def test_spellings_that_are_one_class_are_said() -> None:
    assert scheme("1", "0").notes == ()
    (note,) = scheme("1", "1.0", "0").notes
    assert "1, 1.0" in note
    (note,) = scheme("0,584", "1,5", delimiter=";").notes
    assert "0.584" in note


@pytest.mark.parametrize(
    "names",
    [
        "1 0", "1 -1", "bound unbound", "bound background", "Enhancer non-enhancer", "promoter none",
        "positive negative", "pos neg", "TRUE FALSE", "yes no", "active inactive", "site no_site",
        "accessible not_accessible", "peak control", "+ -", "high low", "positive unlabeled",
    ],
)  # fmt: skip
def test_the_positive_class_is_known_by_the_names_in_any_order(names: str) -> None:
    positive, other = names.split()
    assert positive_of([positive, other]) == positive_of([other, positive]) == positive
    for unknown in (("donor", "acceptor"), ("1", "2"), ("none", "background"), ("human", "mouse"), ("yes",)):
        assert positive_of(unknown) == ""


@pytest.mark.parametrize(
    ("names", "positive", "labels", "asked"),
    [
        (["bound", "unbound"], "unbound", ("bound", "unbound"), False),
        (["bound", "unbound"], "donor", ("unbound", "bound"), False),
        (["donor", "acceptor"], "", ("acceptor", "donor"), True),
        (["donor", "acceptor"], "acceptor", ("donor", "acceptor"), False),
        (["donor", "acceptor", "neither"], "donor", ("acceptor", "donor", "neither"), False),
    ],
)
def test_the_positive_class_is_the_second_label(
    names: list[str], positive: str, labels: tuple[str, ...], asked: bool
) -> None:
    inferred = scheme(*names, positive=positive)
    assert inferred.task.labels == labels
    assert encode(inferred, columns(*names)).tolist() == [labels.index(name) for name in names]
    assert ("--positive" in "".join(inferred.notes)) == asked
