"""One metric by set and method, means of groups of sets, and their plot."""

from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.io.peak_index import PeakFile
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult
from dnabert_jax.tasks.suites.by_set import draw_pairs, experiments_of, metric_table, write_metric
from dnabert_jax.tasks.suites.report import write_report

TABLES = {
    "finetuned": {"tf/a": {"mcc": 0.5}, "tf/b": {"mcc": 0.25}, "tf/c": {"mcc": 0.75}, "tf/d": {"mcc": 0.5}},
    "kmer": {"tf/a": {"mcc": 0.25}, "tf/b": {"mcc": 0.5}, "tf/c": {"mcc": 0.25}, "tf/d": {"roc_auc": 0.5}},
    "cnn": {"tf/a": {"roc_auc": 0.75}},
    "theirs/paper": {"tf/a": {"mcc": 0.75}, "tf/b": {"mcc": 0.25}, "tf/c": {"mcc": 0.5}, "other": {"mcc": 0.5}},
}
INDEX = {
    "a": PeakFile("a.narrowPeak.gz", "K562", "CTCF", lab="Broad"),
    "b": PeakFile("b.narrowPeak.gz", "A549", "CTCF", "DEX_100nM"),
    "c": PeakFile("c.narrowPeak.gz", "A549", "MAX"),
    "not here": PeakFile("x.narrowPeak.gz", "A549", "MYC"),
}
SETS = list(TABLES["finetuned"])


def cells(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_rows_are_sets_and_the_last_is_the_mean_of_those_that_all_have(tmp_path: Path) -> None:
    write_metric(metric_table(TABLES, SETS, "mcc"), {}, tmp_path)
    assert cells(tmp_path / "by-set/mcc.tsv") == [
        ["name", "finetuned", "kmer", "theirs/paper"],
        ["tf/a", "0.5", "0.25", "0.75"],
        ["tf/b", "0.25", "0.5", "0.25"],
        ["tf/c", "0.75", "0.25", "0.5"],
        ["tf/d", "0.5", "", ""],
        ["mean of 3 sets", "0.5", f"{1 / 3}", "0.5"],
    ]
    lines = (tmp_path / "by-set/mcc.md").read_text().splitlines()
    assert [line.split(" | ")[1:3] for line in lines[2:4]] == [["0.5000", "0.2500"], ["0.2500", "0.5000"]]
    assert not list(tmp_path.glob("by-factor*"))


def test_cells_and_factors_are_columns_and_groups(tmp_path: Path) -> None:
    write_metric(metric_table(TABLES, SETS, "mcc"), experiments_of(SETS, INDEX), tmp_path)
    assert [row[:5] for row in cells(tmp_path / "by-set/mcc.tsv")] == [
        ["name", "cell", "factor", "treatment", "finetuned"],
        ["tf/a", "K562", "CTCF", "", "0.5"],
        ["tf/b", "A549", "CTCF", "DEX_100nM", "0.25"],
        ["tf/c", "A549", "MAX", "", "0.75"],
        ["tf/d", "", "", "", "0.5"],
        ["mean of 3 sets", "", "", "", "0.5"],
    ]
    assert cells(tmp_path / "by-factor/mcc.tsv") == [
        ["factor", "sets", "finetuned", "kmer", "theirs/paper"],
        ["CTCF", "2", "0.375", "0.375", "0.5"],
        ["MAX", "1", "0.75", "0.25", "0.5"],
    ]
    assert [row[:3] for row in cells(tmp_path / "by-cell/mcc.tsv")[1:]] == [["A549", "2", "0.5"], ["K562", "1", "0.5"]]


def test_the_plot_of_pairs_keeps_its_text_and_its_bytes(tmp_path: Path) -> None:
    tables = {**TABLES, "a$b": {"tf/a": {"mcc": 0.5}}}
    pictures = []
    for name in ("once", "again"):
        draw_pairs(metric_table(tables, SETS, "mcc"), "finetuned", tmp_path / f"{name}.png")
        pictures.append([(tmp_path / f"{name}.{kind}").read_bytes() for kind in ("png", "svg", "pdf")])
    assert pictures[0] == pictures[1]
    _, svg, pdf = pictures[0]
    for text in ("2 above", "1 below", "0 above", "3 sets", "MCC, theirs/paper", "1 set, 1 equal", "MCC, a$b"):
        assert f">{text}</".encode() in svg
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    draw_pairs(metric_table({"finetuned": TABLES["finetuned"]}, SETS, "mcc"), "finetuned", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize("index", [None, INDEX])
def test_a_report_has_what_is_known_of_sets_and_shows_their_names(
    tmp_path: Path, index: dict[str, PeakFile] | None
) -> None:
    task = TaskConfig("single_label_classification", ("0", "1"))
    metrics = measure(task, np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), resamples=0)
    results = [Result(name, "m", task, {}, (SeedResult(0, 1.0, metrics, True),)) for name in ("tf/a", "tf/x|_y*")]
    failures = {"finetuned/x|*z*": "row 1."}
    text, names = write_report({"finetuned": results}, failures, ("mcc",), tmp_path, {"kmer|": TABLES["kmer"]}, index)
    head, first, second = cells(tmp_path / "finetuned.tsv")
    assert head[:6] == ["name", "cell", "factor", "treatment", "lab", "model"] if index else ["name", "model"]
    if index:
        assert (first[:6], second[:6]) == (["tf/a", "K562", "CTCF", "", "Broad", "m"], ["tf/x|_y*", *[""] * 4, "m"])
    assert ("by-cell/" in names, "by-factor/" in names, "| CTCF | 1 |" in text) == (bool(index),) * 3
    assert "by-set/" in names
    for escaped in (r"tf/x\|\_y\*", r"x\|\*z\*", r"kmer\|"):
        assert escaped in text
    for line in text.splitlines():
        assert line.startswith("|") or "|" not in line.replace(r"\|", "")
