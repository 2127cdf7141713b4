"""Results are read back as they were, and the table says what the metrics say."""

import dataclasses
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from dnabert_jax.config import TaskConfig, TrainingLengths
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult, is_at_chance, over_seeds, result_markdown
from dnabert_jax.typed_json import read_json, to_json
from tests.tasks.conftest import BINARY, NUMBERS, example, result

SEVERAL = TaskConfig("multi_label_classification", ("a|b", "MAX", "MYC"))


def one_seed(task: TaskConfig, scores: np.ndarray, labels: np.ndarray, resamples: int = 20) -> Result:
    metrics = measure(task, scores, labels, resamples=resamples)
    return Result("one", "tiny", task, {"test": len(labels)}, (SeedResult(0, 1.0, metrics),))


def table(markdown: str) -> dict[str, list[str]]:
    """The first table."""
    first = markdown.partition("### Confusion")[0]
    rows = [line.strip("| ").split(" | ") for line in first.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


def test_json_is_read_back_and_undefined_metrics_are_null_and_explained_in_markdown(tmp_path: Path) -> None:
    for written in (*map(result, (BINARY, SEVERAL, NUMBERS)), one_seed(BINARY, example(BINARY)[0], np.zeros(60, int))):
        (tmp_path / "result.json").write_text(to_json(written))
        assert read_json(Result, tmp_path / "result.json") == written
    assert '"value": null' in (tmp_path / "result.json").read_text()
    text = result_markdown(written)
    assert table(text)["roc_auc"] == ["—"]
    assert f"- roc_auc: {written.seeds[0].metrics.values['roc_auc'].note}." in text


def test_what_cannot_be_told_from_guessing() -> None:
    scores, labels = example(BINARY, count=200)
    shuffled = np.random.default_rng(0).permutation(labels)
    for truth, guessing in ((labels, False), (shuffled, True), (np.zeros_like(labels), False)):
        assert is_at_chance(one_seed(BINARY, scores, truth, 100)) is guessing
    scores, labels = example(NUMBERS, count=200)
    for truth, guessing in ((labels, False), (labels[::-1], True)):
        assert is_at_chance(one_seed(NUMBERS, labels + 0.1 * (scores - labels), truth, 100)) is guessing


def test_mean_and_spread_are_over_the_seeds_where_a_metric_is_defined() -> None:
    written = result(BINARY)
    values = [seed.metrics.values["mcc"].value for seed in written.seeds]
    assert over_seeds(written)["mcc"] == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    (gap,) = one_seed(BINARY, example(BINARY)[0], np.zeros(60, int)).seeds
    seeds = (*written.seeds[:2], gap)
    spreads = [over_seeds(dataclasses.replace(written, seeds=seeds[first:]))["mcc"] for first in range(3)]
    assert spreads[0] == pytest.approx((np.mean(values[:2]), np.std(values[:2], ddof=1)))
    assert spreads[1:] == [(values[1], None), (None, None)]


def test_the_table_has_the_figures() -> None:
    written = result(BINARY)
    text = result_markdown(written)
    rows = table(text)
    assert rows["metric"] == ["mean", "sd", "seed 1", "seed 2", "seed 5"]
    assert [*rows] == ["metric", "---", *BINARY.kind.metric_keys(BINARY.labels)]
    spread, metric = over_seeds(written)["roc_auc"], written.seeds[1].metrics.values["roc_auc"]
    assert rows["roc_auc"][:2] == [f"{spread.mean:.4f}", f"{spread.deviation:.4f}"]
    assert rows["roc_auc"][3] == f"{metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"
    assert "train 1,000, validation 100, test 60" in text
    assert "95% bootstrap intervals of 20 resamples" in text


def test_results_that_contradict_themselves() -> None:
    written = result(BINARY)
    with pytest.raises(InputError, match="no seed"):
        dataclasses.replace(written, seeds=())
    with pytest.raises(InputError, match="metrics"):
        dataclasses.replace(written, task=NUMBERS)


def test_a_result_says_where_it_comes_from_and_what_is_confused_with_what() -> None:
    first, *others = result(BINARY).seeds
    written = dataclasses.replace(
        result(BINARY),
        seeds=(dataclasses.replace(first, collapsed=True), *others),
        counts={"train": (700, 300), "test": (41, 19)},
        lengths=TrainingLengths(99, 101, 103),
        base_model="models/dnabert6",
        data="tables/x.csv",
        date="2026-01-02T03:04:05+00:00",
        best=1,
    )
    text = result_markdown(written)
    for value in ("models/dnabert6", "tables/x.csv", "2026-01-02", "99", "101", "103", "| yes | 300 | 19 |"):
        assert value in text
    confusion = written.seeds[1].metrics.confusion[0]
    for name, row in zip(confusion.classes, confusion.counts, strict=True):
        assert f"| {name} | {row[0]} | {row[1]} |" in text
    assert re.search(r"ollapsed.* seed 1\.\n", text)
    assert "class 'yes'" in text


def test_names_and_labels_of_any_text_are_shown_as_they_are() -> None:
    odd = ("<b>&amp;|*no*", r"_1_ `a` ~~b~~ $x$ \[c](d) e_f #")
    task = TaskConfig("single_label_classification", odd)
    written = dataclasses.replace(result(task, resamples=0), name=odd[1], data=odd[0], counts={"test": (7, 9)})
    page = MarkdownIt().enable("table").render(result_markdown(written))
    assert page.count("$") == page.count("<span>$</span>") > 0
    shown = [html.unescape(re.sub("<[^>]*>", "", line)) for line in page.splitlines()]
    assert shown[0] == odd[1]
    assert {*odd, f"Data: {odd[0]}", *(f"predicted {label}" for label in odd)} <= {*shown}
    assert f"those of the class '{odd[1]}'." in "\n".join(shown)


def test_of_many_classes_the_largest_confusions_are_shown() -> None:
    task = TaskConfig("single_label_classification", tuple(f"c{number}" for number in range(30)))
    labels = np.repeat(np.arange(30), 5)
    predicted = labels.copy()
    predicted[:4], predicted[5:8] = 7, 9
    text = result_markdown(one_seed(task, np.eye(30)[predicted], labels, 0))
    rows = [line for line in text.partition("###")[2].splitlines() if line.startswith("| c")]
    assert rows == ["| c0 | c7 | 4 |", "| c1 | c9 | 3 |"]


def test_of_several_labels_there_are_four_counts_each() -> None:
    written = result(SEVERAL, seeds=(7,), resamples=0)
    (not_there, wrong), (missed, right) = written.seeds[0].metrics.confusion[1].counts
    text = result_markdown(written)
    assert f"| MAX | {right} | {missed} | {wrong} | {not_there} |" in text
    assert table(text)["metric"] == ["seed 7"]
    assert "| mcc/a\\|b | " in text
    assert not {"[", "bootstrap"} & {*text.split()}


def test_results_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They have the figures of a single target twice, and do not say where they come from."""
    task = TaskConfig("regression", ("liver",))
    written = result(task, seeds=(7,))
    record = json.loads(to_json(written))
    for field in ("counts", "lengths", "base_model", "data", "date", "best"):
        del record[field]
    values = record["seeds"][0]["metrics"]["values"]
    values |= {f"{key}/liver": values[key] for key in ("r2", "pearson", "spearman", "rmse")}
    (tmp_path / "result.json").write_text(json.dumps(record))
    read = read_json(Result, tmp_path / "result.json")
    assert over_seeds(read) == over_seeds(written)
    text = result_markdown(read)
    assert "liver" not in text
    assert "test split" in text.partition("| metric")[0]
