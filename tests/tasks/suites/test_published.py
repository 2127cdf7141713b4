"""Tables of published figures are read as papers print them, and sets are found in them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.tasks.suites.published import read_published, read_table

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tf\tmcc\na\t1\n", "needs a column 'name'"),
        ("name\tscore\na\t1\n", "needs a column 'name'"),
        ("", r"table\.tsv is empty"),
        ("name\tmcc\na\t1\na\t0.5\n", "the set 'a' twice"),
        ("name\tmcc\na\tn/a\n", r"table.tsv, a, mcc: 'n/a'"),
        ("name\tmcc\na\tnan\n", "a, mcc: 'nan'"),
    ],
)
def test_tables_that_cannot_be_read(text: str, message: str, write: Write) -> None:
    path = write("table.tsv", text)
    with pytest.raises(InputError, match=message):
        read_table(path)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table\.tsv does not exist"):
        read_table(tmp_path / "table.tsv")


@pytest.mark.parametrize(
    "head", ["name,accuracy,roc_auc,mcc,f1", "Set,ACC,AUC,MCC,F1-score", "Dataset,acc,ROC-AUC,Mcc,F1"]
)
@pytest.mark.parametrize("mark", [",", "\t"])
def test_usual_headings_in_any_case(head: str, mark: str, write: Write) -> None:
    path = write("table", f"{head},year\na,0.9,0.95,-0.8,0.85,2021\nb,,1,,,2021\n".replace(",", mark))
    assert read_table(path) == {
        "a": {"accuracy": 0.9, "roc_auc": 0.95, "mcc": -0.8, "f1": 0.85},
        "b": {"roc_auc": 1.0},
    }


@pytest.mark.parametrize(
    ("column", "value"), [("MCC", "69.1"), ("accuracy", "91"), ("AUC", "-0.2"), ("MCC", "-1.01"), ("r2", "1.2")]
)
def test_values_that_a_metric_cannot_have_are_named(column: str, value: str, write: Write) -> None:
    path = write("table.csv", f"set,{column}\na,0.5\nCTCF,{value}\n")
    with pytest.raises(InputError, match=rf"table\.csv, CTCF, {column}: .*{value}\b"):
        read_table(path)


def test_metrics_without_limits_are_read(write: Write) -> None:
    path = write("table.csv", "set,loss,r2\na,7,-3\n")
    assert read_table(path) == {"a": {"loss": 7.0, "r2": -3.0}}


def test_two_columns_of_one_metric_are_refused(write: Write) -> None:
    with pytest.raises(InputError, match=r"table\.csv .*AUC.*auroc"):
        read_table(write("table.csv", "set,AUC,auroc\na,0.5,0.5\n"))


def test_sets_are_found_by_name_or_by_its_last_part(write: Write) -> None:
    sets = ["sets/CTCF", "tf/0", "mouse/0", "MAX", "a/x", "b/x"]
    path = write("table.csv", "set,mcc\nCTCF,0.1\nmouse/0,0.2\n0,0.3\npaper/MAX,0.4\na/x,0.5\nx,0.6\n")
    mcc = {name: row["mcc"] for name, row in read_published(path, sets).items()}
    assert mcc == {"sets/CTCF": 0.1, "mouse/0": 0.2, "0": 0.3, "MAX": 0.4, "a/x": 0.5, "x": 0.6}


def test_a_table_without_a_set_of_the_suite_is_refused(write: Write) -> None:
    path = write("table.csv", "set,mcc\nCTCF,0.1\n")
    with pytest.raises(InputError, match=r"table\.csv .*'CTCF'.*'tf/0'"):
        read_published(path, ["tf/0", "tf/1"])
