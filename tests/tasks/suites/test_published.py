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
        ("tf\tmcc\na\t1\n", "'name'"),
        ("name\tscore\na\t1\n", "score"),
        ("name\tmcc\na\t1\na\t0.5\n", "'a'"),
        ("name\tmcc\na\tn/a\n", r"a, mcc: 'n/a'"),
        ("name\tmcc\na\tnan\n", "a, mcc: 'nan'"),
        ("set\tMCC\na\t0.5\nCTCF\t69.1\n", r"CTCF, MCC: .*69\.1\b.* 0\.691\b"),
        ("set\taccuracy\nCTCF\t91\n", r"CTCF, accuracy: .*91\b"),
        ("set\tAUC\nCTCF\t-0.2\n", r"CTCF, AUC: .*-0\.2\b"),
        ("set\tMCC\nCTCF\t-1.01\n", r"CTCF, MCC: .*-1\.01\b"),
        ("set\tr2\nCTCF\t1.2\n", r"CTCF, r2: .*1\.2\b"),
        ("set\tAUC\tauroc\na\t0.5\t0.5\n", r"AUC.*auroc"),
    ],
)
def test_tables_that_cannot_be_read_are_named_with_the_value(text: str, message: str, write: Write) -> None:
    with pytest.raises(InputError, match=rf"table\.tsv.*{message}"):
        read_table(write("table.tsv", text))


@pytest.mark.parametrize(
    "head", ["name,accuracy,roc_auc,mcc,f1", "Set,ACC,AUC,MCC,F1-score", "Dataset,acc,ROC-AUC,Mcc,F1"]
)
@pytest.mark.parametrize("mark", [",", "\t"])
def test_usual_headings_in_any_case(head: str, mark: str, write: Write) -> None:
    path = write("table", f"{head},year,loss,r2\na,0.9,0.95,-0.8,0.85,2021,7,-3\nb,,1,,,2021,,\n".replace(",", mark))
    assert read_table(path) == {
        "a": {"accuracy": 0.9, "roc_auc": 0.95, "mcc": -0.8, "f1": 0.85, "loss": 7.0, "r2": -3.0},
        "b": {"roc_auc": 1.0},
    }


def test_sets_are_found_by_name_or_by_its_last_part(write: Write) -> None:
    sets = ["sets/CTCF", "tf/0", "mouse/0", "MAX", "a/x", "b/x"]
    path = write("table.csv", "set,mcc\nCTCF,0.1\nmouse/0,0.2\n0,0.3\npaper/MAX,0.4\na/x,0.5\nx,0.6\n")
    mcc = {name: row["mcc"] for name, row in read_published(path, sets).items()}
    assert mcc == {"sets/CTCF": 0.1, "mouse/0": 0.2, "0": 0.3, "MAX": 0.4, "a/x": 0.5, "x": 0.6}
    with pytest.raises(InputError, match=r"table\.csv .*'CTCF'.*'tf/1'"):
        read_published(path, ["tf/1", "tf/2"])
