"""The table of a suite, its averages, and the test against a baseline, by brute force."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult, over_seeds, result_markdown
from dnabert_jax.tasks.suites.published import read_table
from dnabert_jax.tasks.suites.report import write_report
from dnabert_jax.tasks.suites.summary import (
    compare,
    comparison_markdown,
    draw_boxes,
    suite_table,
    summarise,
    summary_markdown,
    write_suite,
)

BINARY = TaskConfig("single_label_classification", ("no", "yes"))
CLASSES = TaskConfig("single_label_classification", ("none", "donor", "acceptor"))
SEVERAL = TaskConfig("multi_label_classification", ("CTCF", "MAX", "MYC"))
Example = Callable[..., tuple[np.ndarray, np.ndarray]]

OURS = {f"set{i}": {"mcc": value} for i, value in enumerate([0.9, 0.8, 0.75, 0.6, 0.5, 0.42, 0.4])}
BASELINE = {f"set{i}": {"mcc": value} for i, value in enumerate([0.7, 0.79, 0.8, 0.45, 0.2, 0.42, 0.1])}


def result(name: str, task: TaskConfig, example: Example, seeds: tuple[int, ...]) -> Result:
    found = tuple(SeedResult(seed, 1.5, measure(task, *example(task, seed=seed), resamples=0)) for seed in seeds)
    return Result(name, "tiny", task, {"train": 100, "validation": 10, "test": 60}, found)


@pytest.fixture
def results(example: Example) -> list[Result]:
    return [
        result("splice", CLASSES, example, (0, 1)),
        result("CTCF", BINARY, example, (3,)),
        result("all", SEVERAL, example, (0, 1)),
    ]


def test_a_table_is_read_back(tmp_path: Path, results: list[Result]) -> None:
    write_suite(results, tmp_path / "suite.tsv")
    assert read_table(tmp_path / "suite.tsv") == suite_table(results)
    head, *rows = (line.split("\t") for line in (tmp_path / "suite.tsv").read_text().splitlines())
    cells = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["name"] for row in cells] == ["CTCF", "all", "splice"]
    splice = cells[2]
    assert [splice[key] for key in ("train", "validation", "test", "seeds", "seconds")] == [
        "100",
        "10",
        "60",
        "0 1",
        "3.0",
    ]
    spread = over_seeds(results[0])["mcc"]
    assert (float(splice["mcc"]), float(splice["mcc_sd"])) == (spread.mean, spread.deviation)
    assert (splice["f1"], splice["roc_auc_micro"], cells[0]["mcc_sd"]) == ("", "", "")
    assert not any("/" in column for column in head)


def test_an_undefined_metric_is_an_empty_cell(tmp_path: Path, example: Example) -> None:
    scores, _ = example(BINARY)
    metrics = measure(BINARY, scores, np.zeros(60, int), resamples=0)
    one = Result("one", "tiny", BINARY, {"test": 60}, (SeedResult(0, 1.0, metrics),))
    write_suite([one], tmp_path / "suite.tsv")
    assert set(read_table(tmp_path / "suite.tsv")["one"]) == {"loss", "accuracy"}


def test_averages_over_sets() -> None:
    table = {"a": {"mcc": 0.1, "accuracy": 0.5}, "b": {"mcc": 0.2}, "c": {"mcc": 0.6}, "d": {"accuracy": 0.7}}
    found = summarise(table)
    assert set(found) == {"accuracy", "mcc"}
    assert (found["mcc"].mean, found["mcc"].median) == pytest.approx((0.3, 0.2))
    assert (found["mcc"].sets, found["mcc"].left_out) == (3, ("d",))
    assert found["accuracy"].left_out == ("b", "c")
    assert "| mcc | 0.3000 | 0.2000 | 3 | 1 |" in summary_markdown(found)


def signed_rank_test(gains: np.ndarray) -> float:
    """Returns the two-sided p-value by trying every sign of every rank."""
    gains = gains[gains != 0]
    size = np.abs(gains).round(12)
    ranks = np.array([(size < s).sum() + ((size == s).sum() + 1) / 2 for s in size])
    positive = ranks[gains > 0].sum()
    sums = np.array([ranks[list(signs)].sum() for signs in itertools.product([False, True], repeat=len(gains))])
    return min(1, 2 * min(np.mean(sums >= positive), np.mean(sums <= positive)))


def test_the_wilcoxon_test_by_brute_force() -> None:
    pairs = np.array([OURS[name]["mcc"] - BASELINE[name]["mcc"] for name in OURS])
    found = compare(OURS, BASELINE, "mcc")
    assert found.p_value == pytest.approx(signed_rank_test(pairs))
    assert (found.sets, found.better, found.worse, found.equal) == (7, 5, 1, 1)
    assert found.median_difference == pytest.approx(np.median(pairs))
    assert (found.direction, found.favours) == ("higher", "ours")
    six, five = (compare({name: OURS[name] for name in list(OURS)[:count]}, BASELINE, "mcc") for count in (6, 5))
    assert six.p_value is not None
    assert five.p_value is None, "it could not be below 0.05"
    swapped = compare(BASELINE, OURS, "mcc")
    assert swapped.favours == "baseline"
    assert swapped.median_difference == -found.median_difference


def test_lower_is_better_for_losses() -> None:
    ours, baseline = ({name: {"loss": row["mcc"]} for name, row in table.items()} for table in (OURS, BASELINE))
    found = compare(ours, baseline, "loss")
    assert (found.direction, found.favours, found.better, found.worse) == ("lower", "baseline", 1, 5)
    assert found.median_difference > 0


def test_what_is_no_pair_is_left_out_and_named() -> None:
    ours = {**OURS, "only ours": {"mcc": 0.5}, "undefined": {"accuracy": 0.5}}
    baseline = {**BASELINE, "only theirs": {"mcc": 0.5}, "undefined": {"mcc": 0.5}}
    found = compare(ours, baseline, "mcc")
    assert found.sets == 7
    assert found.left_out == {
        "only ours": "not in the baseline",
        "only theirs": "not in ours",
        "undefined": "undefined in ours",
    }
    text = comparison_markdown([found], "probe", "a|b")
    assert "  - left out: only ours, not in the baseline" in text
    assert "probe is better on 5 of 7 sets, worse on 1, equal on 1" in text
    assert "in favour of probe" in text


def test_equal_tables_have_no_p_value() -> None:
    found = compare(OURS, OURS, "mcc")
    assert (found.p_value, found.favours, found.equal) == (None, "neither", 7)
    assert "no set differs" in comparison_markdown([found], "finetuned", "kmer")


def test_nothing_to_compare() -> None:
    with pytest.raises(InputError, match="No data set has roc_auc in both"):
        compare(OURS, BASELINE, "roc_auc")
    with pytest.raises(InputError, match="no metric"):
        compare(OURS, BASELINE, "speed")


def test_boxes_are_drawn_for_the_metrics_that_are_there(tmp_path: Path) -> None:
    draw_boxes({"$$": OURS, "6-mers": BASELINE}, tmp_path / "one.png")
    ours = {name: {**row, "accuracy": row["mcc"] / 2 + 0.5} for name, row in OURS.items()}
    draw_boxes({"tiny": ours, "6-mers": BASELINE}, tmp_path / "two.png")
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert two.shape[1] > one.shape[1] > 200
    assert len({tuple(pixel) for row in two[::5, ::5, :3] for pixel in row.tolist()}) > 10
    draw_boxes({"tiny": {"a": {"loss": 0.1}}}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_collapsed_models_and_failures_are_named_once(tmp_path: Path, example: Example) -> None:
    metrics = measure(BINARY, *example(BINARY), resamples=0)
    seeds = (SeedResult(0, 1.0, metrics, collapsed=True), SeedResult(1, 1.0, metrics))
    result = Result("tf/0", "full fine-tuning", BINARY, {"train": 3}, seeds)
    failures = {"finetuned/bad": "no rows.", "kmer/bad": "no rows.", "kmer/worse": "one class."}
    text, names = write_report({"finetuned": [result]}, failures, ("mcc",), tmp_path, {})
    assert set(names) == {path.name + "/" * path.is_dir() for path in tmp_path.iterdir()}
    assert "- finetuned: 1 of 2 models collapsed to one class, so that their figures mean little: tf/0" in text
    assert "- bad (finetuned, kmer): no rows." in text
    assert "- worse (kmer): one class." in text
    assert "collapsed" in (tmp_path / "finetuned.tsv").read_text().splitlines()[0].split("\t")
    assert "Collapsed to one class, so that figures mean little: seed 0." in result_markdown(result)
    assert "those of the class 'yes'" in result_markdown(result)
