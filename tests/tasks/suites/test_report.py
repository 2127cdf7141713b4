"""A report has one metric by set and method, averages, tests, learning curves and plots; published tables are read."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.io.peak_index import PeakFile
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult, over_seeds
from dnabert_jax.tasks.suites.published import read_published, read_table
from dnabert_jax.tasks.suites.report import (
    MetricTable,
    comparison,
    draw_pairs,
    suite_table,
    write_learning_curve,
    write_report,
    write_suite,
)
from tests.tasks.conftest import BINARY, CLASSES, SEVERAL, example, result

NUMBERS = TaskConfig("regression", ("expression",))

THEIRS = {f"tf/{name}": {"mcc": value} for name, value in (("a", 0.75), ("b", 0.25), ("c", 0.5), ("x", 0.5))}
INDEX = {
    "a": PeakFile("a.narrowPeak.gz", "K562", "CTCF", lab="Broad"),
    "b": PeakFile("b.narrowPeak.gz", "A549", "CTCF", "DEX_100nM"),
    "c": PeakFile("c.narrowPeak.gz", "A549", "MAX"),
    "not here": PeakFile("x.narrowPeak.gz", "A549", "MYC"),
}


def cells(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def ranked(name: str, right: int, rows: int = 3, collapsed: Sequence[bool] = (False,)) -> Result:
    """Of ten examples, so many positives have a higher score than all negatives, and the others a lower one."""
    scores = np.array([*np.linspace(0.4, 0.6, 5), *[0.9] * right, *[0.1] * (5 - right)])
    metrics = measure(BINARY, np.stack([1 - scores, scores], axis=1), np.array([0] * 5 + [1] * 5), resamples=0)
    seeds = tuple(SeedResult(seed, 1.0, metrics, collapse) for seed, collapse in enumerate(collapsed))
    return Result(name, "m", BINARY, {"train": rows}, seeds)


def test_a_table_is_read_back(tmp_path: Path) -> None:
    sets = ("splice", CLASSES, (0, 1)), ("CTCF", BINARY, (3,)), ("all", SEVERAL, (0, 1))
    results = [result(task, seeds, 0, name) for name, task, seeds in sets]
    undefined = measure(BINARY, example(BINARY)[0], np.zeros(60, int), resamples=0)
    results.append(Result("one", "tiny", BINARY, {"test": 60}, (SeedResult(0, 1.0, undefined),)))
    write_suite(results, tmp_path / "suite.tsv", {})
    table = read_table(tmp_path / "suite.tsv")
    assert table == suite_table(results)
    assert set(table["one"]) == {"loss", "accuracy"}
    head, *lines = cells(tmp_path / "suite.tsv")
    rows = {line[0]: dict(zip(head, line, strict=True)) for line in lines}
    assert list(rows) == ["CTCF", "all", "one", "splice"]
    splice, spread = rows["splice"], over_seeds(results[0])["mcc"]
    named = [splice[key] for key in ("train", "validation", "test", "seeds", "seconds")]
    assert named == ["1000", "100", "60", "0 1", "5.0"]
    assert (float(splice["mcc"]), float(splice["mcc_sd"])) == (spread.mean, spread.deviation)
    assert (splice["f1"], splice["roc_auc_micro"], rows["CTCF"]["mcc_sd"]) == ("", "", "")


@pytest.mark.parametrize("index", [None, INDEX])
def test_a_report_of_all_tables(tmp_path: Path, index: dict[str, PeakFile] | None) -> None:
    numbers = measure(NUMBERS, np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [3.0]]), resamples=0)
    results = {
        "finetuned": [
            *(ranked(f"tf/{name}", right) for name, right in zip("abc", (4, 2, 5), strict=True)),
            ranked("tf/x|_y*", 3, collapsed=(True, False)),
            Result("tf/mpra", "m", NUMBERS, {"train": 3}, (SeedResult(0, 1.0, numbers),)),
        ],
        "kmer": [ranked(f"tf/{name}", right) for name, right in zip("abc", (2, 4, 1), strict=True)],
    }
    failures = {"finetuned/x|*z*": "row 1.", "kmer/x|*z*": "row 1.", "kmer/worse": "one class."}
    metrics = ("roc_auc", "accuracy")
    text, names = write_report(results, failures, metrics, tmp_path, {"paper|": THEIRS}, index)
    assert set(names) == {path.name + "/" * path.is_dir() for path in tmp_path.iterdir()}
    assert {"boxes.png", "pairs.png", "finetuned.tsv", "kmer.tsv"} <= set(names)
    for line in text.splitlines():
        assert line.startswith("|") or "|" not in line.replace(r"\|", "")
    rows = "| roc_auc | 0.7000 | 0.7000 | 4 | 1 |", "| r2 | 0.7857 | 0.7857 | 1 | 4 |"
    escaped = r"tf/x\|\_y\*", r"x\|\*z\* (finetuned, kmer): row 1.", "worse (kmer): one class.", r"against paper\|"
    assert all(part in text for part in (*rows, *escaped, "1 of 6 models"))
    known = [["K562", "CTCF", ""], ["A549", "CTCF", "DEX_100nM"], ["A549", "MAX", ""], [""] * 3, [""] * 3]
    known = known if index else [[]] * 5
    assert cells(tmp_path / "by-set/roc_auc.tsv") == [
        ["name", *(["cell", "factor", "treatment"] if index else []), "finetuned", "kmer"],
        ["tf/a", *known[0], "0.8", "0.4"],
        ["tf/b", *known[1], "0.4", "0.8"],
        ["tf/c", *known[2], "1.0", "0.2"],
        ["tf/x|_y*", *known[3], "0.6", ""],
        ["mean of 3 sets", *known[4], str(np.mean([0.8, 0.4, 1.0])), str(np.mean([0.4, 0.8, 0.2]))],
    ]
    assert "| tf/a |" in (tmp_path / "by-set/roc_auc.md").read_text()
    head, first, *_ = cells(tmp_path / "finetuned.tsv")
    if not index:
        assert head[:2] == ["name", "model"]
        assert not list(tmp_path.glob("by-factor*"))
        return
    assert head[:6] == ["name", "cell", "factor", "treatment", "lab", "model"]
    assert first[:6] == ["tf/a", "K562", "CTCF", "", "Broad", "m"]
    factors = cells(tmp_path / "by-factor/roc_auc.tsv")
    assert [row[:2] for row in factors] == [["factor", "sets"], ["CTCF", "2"], ["MAX", "1"]]
    assert [float(cell) for row in factors[1:] for cell in row[2:]] == pytest.approx([0.6, 0.6, 1.0, 0.2])
    assert [row[:2] for row in cells(tmp_path / "by-cell/roc_auc.tsv")[1:]] == [["A549", "2"], ["K562", "1"]]
    assert "| CTCF | 2 |" in text


def test_the_plot_of_pairs_keeps_its_text_and_its_bytes(tmp_path: Path) -> None:
    tables = {
        "finetuned": {"a": {"mcc": 0.5}, "b": {"mcc": 0.25}, "c": {"mcc": 0.75}, "d": {"mcc": 0.5}},
        "theirs/paper": {"a": {"mcc": 0.25}, "b": {"mcc": 0.5}, "c": {"mcc": 0.25}},
        "a$b": {"a": {"mcc": 0.5}},
    }
    pictures = []
    for name in ("once", "again"):
        draw_pairs(MetricTable.of(tables, "abcd", "mcc"), "finetuned", tmp_path / f"{name}.png")
        pictures.append([(tmp_path / f"{name}.{kind}").read_bytes() for kind in ("png", "svg", "pdf")])
    assert pictures[0] == pictures[1]
    _, svg, pdf = pictures[0]
    for text in ("2 above", "1 below", "0 above", "3 sets", "MCC, theirs/paper", "1 set, 1 equal", "MCC, a$b"):
        assert f">{text}</".encode() in svg
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    draw_pairs(MetricTable.of({"finetuned": tables["finetuned"]}, "abcd", "mcc"), "finetuned", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def table(values: Sequence[float], metric: str = "mcc") -> dict[str, dict[str, float]]:
    return {f"set{number}": {metric: value} for number, value in enumerate(values)}


OURS, BASELINE = [0.9, 0.8, 0.75, 0.6, 0.5, 0.42, 0.4], [0.7, 0.79, 0.8, 0.45, 0.2, 0.42, 0.1]


@pytest.mark.parametrize(
    ("ours", "theirs", "metric", "values"),
    [
        # Of 64 signs of the six differences, 3 go as far on either side.
        (OURS, BASELINE, "mcc", ("higher", "5 of 7", "worse on 1", "equal on 1", "+0.1500", "p = 0.0938 ", "of probe")),
        (BASELINE, OURS, "mcc", ("higher", "1 of 7", "worse on 5", "equal on 1", "-0.1500", r"of a\|b")),
        (OURS, BASELINE, "loss", ("lower", "1 of 7", "worse on 5", "equal on 1", "+0.1500", r"of a\|b")),
        (OURS[:6], BASELINE[:6], "mcc", ("4 of 6", "p = ")),
        (OURS[:5], BASELINE[:5], "mcc", ("4 of 5", "no p-value")),
        (OURS, OURS, "mcc", ("0 of 7", "equal on 7", "+0.0000", "no set differs")),
    ],
)
def test_pairs_are_compared_by_wilcoxons_test(
    ours: list[float], theirs: list[float], metric: str, values: tuple[str, ...]
) -> None:
    (line,) = comparison(table(ours, metric), table(theirs, metric), metric, "probe", "a|b")
    assert all(value in line for value in values), line


def test_what_is_no_pair_is_left_out_and_named() -> None:
    ours = {**table(OURS), "only ours": {"mcc": 0.5}, "undefined": {"accuracy": 0.5}}
    theirs = {**table(BASELINE), "only theirs": {"mcc": 0.5}, "undefined": {"mcc": 0.5}}
    first, *left_out = comparison(ours, theirs, "mcc", "probe", "kmer")
    assert "5 of 7" in first
    names = "only ours", "only theirs", "undefined"
    assert all(name in line for line, name in zip(left_out, names, strict=True))
    assert comparison(ours, theirs, "roc_auc", "probe", "kmer") == []


def test_means_of_a_learning_curve_are_over_what_is_there_throughout(tmp_path: Path) -> None:
    curve = {
        "10": {"probe": [ranked("a", 1, 10), ranked("b", 2, 10)], "kmer": [ranked("a", 3, 10)]},
        "all": {
            "probe": [ranked("a", 4, 300), ranked("b", 5, 20), ranked("c", 5, 50)],
            "kmer": [ranked("a", 5, 300), ranked("b", 0, 20)],
            "cnn": [ranked("a", 5, 300)],
        },
    }
    text, names = write_learning_curve(curve, "roc_auc", tmp_path)
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")] == [
        ["training rows asked for", "median", "probe", "kmer"],
        ["---", "---:", "---:", "---:"],
        ["10", "10", "0.2000", "0.6000"],
        ["all", "300", "0.8000", "1.0000"],
    ]
    assert "cnn" in text
    assert cells(tmp_path / "learning-curve.tsv") == [
        ["name", "training_rows", "probe", "kmer", "cnn"],
        ["a", "10", "0.2", "0.6", ""],
        ["a", "300", "0.8", "1.0", "1.0"],
        ["b", "10", "0.4", "", ""],
        ["b", "20", "1.0", "0.0", ""],
        ["c", "50", "1.0", "", ""],
    ]
    assert set(names) == {f"learning-curve.{ending}" for ending in ("md", "tsv", "png", "svg", "pdf")}
    assert all((tmp_path / name).stat().st_size > 5_000 for name in names if name[-3:] in ("png", "svg", "pdf"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tf\tmcc\na\t1\n", "'name'"),
        ("name\tscore\na\t1\n", "score"),
        ("name\tmcc\na\t1\na\t0.5\n", "'a'"),
        ("name\tmcc\na\tn/a\n", r"a, mcc: 'n/a'"),
        ("set\tMCC\na\t0.5\nCTCF\t69.1\n", r"CTCF, MCC: .*69\.1\b.* 0\.691\b"),
        ("set\tAUC\nCTCF\t-0.2\n", r"CTCF, AUC: .*-0\.2\b"),
        ("set\tr2\nCTCF\t1.2\n", r"CTCF, r2: .*1\.2\b"),
        ("set\tAUC\tauroc\na\t0.5\t0.5\n", r"AUC.*auroc"),
    ],
)
def test_tables_that_cannot_be_read_are_named_with_the_value(
    text: str, message: str, write: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=rf"table\.tsv.*{message}"):
        read_table(write("table.tsv", text))


@pytest.mark.parametrize(
    "head", ["name,accuracy,roc_auc,mcc,f1", "Set,ACC,AUC,MCC,F1-score", "Dataset,acc,ROC-AUC,Mcc,F1"]
)
@pytest.mark.parametrize("mark", [",", "\t"])
def test_usual_headings_in_any_case(head: str, mark: str, write: Callable[..., Path]) -> None:
    path = write("table", f"{head},year,loss,r2\na,0.9,0.95,-0.8,0.85,2021,7,-3\nb,,1,,,2021,,\n".replace(",", mark))
    assert read_table(path) == {
        "a": {"accuracy": 0.9, "roc_auc": 0.95, "mcc": -0.8, "f1": 0.85, "loss": 7.0, "r2": -3.0},
        "b": {"roc_auc": 1.0},
    }


def test_sets_are_found_by_name_or_by_its_last_part(write: Callable[..., Path]) -> None:
    sets = ["sets/CTCF", "tf/0", "mouse/0", "MAX", "a/x", "b/x"]
    path = write("table.csv", "set,mcc\nCTCF,0.1\nmouse/0,0.2\n0,0.3\npaper/MAX,0.4\na/x,0.5\nx,0.6\n")
    mcc = {name: row["mcc"] for name, row in read_published(path, sets).items()}
    assert mcc == {"sets/CTCF": 0.1, "mouse/0": 0.2, "0": 0.3, "MAX": 0.4, "a/x": 0.5, "x": 0.6}
    with pytest.raises(InputError, match=r"table\.csv .*'CTCF'.*'tf/1'"):
        read_published(path, ["tf/1", "tf/2"])
