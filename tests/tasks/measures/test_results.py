"""Results are read back as they were, and the table says what the metrics say."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.measures.metrics import measure, metric_keys
from dnabert_jax.tasks.measures.results import Result, SeedResult, over_seeds, result_markdown, write_result
from dnabert_jax.typed_json import read_json

BINARY = TaskConfig("single_label_classification", ("no", "yes"))
SEVERAL = TaskConfig("multi_label_classification", ("a|b", "MAX", "MYC"))
NUMBERS = TaskConfig("regression", ("liver", "skin"))
Example = Callable[..., tuple[np.ndarray, np.ndarray]]


def result(task: TaskConfig, example: Example, seeds: tuple[int, ...] = (1, 2, 5), resamples: int = 20) -> Result:
    found = tuple(
        SeedResult(seed, 2.5, measure(task, *example(task, seed=seed), resamples=resamples)) for seed in seeds
    )
    return Result("CTCF_A549", "tiny", task, {"train": 1000, "validation": 100, "test": 60}, found)


def table(markdown: str) -> dict[str, list[str]]:
    rows = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("task", [BINARY, SEVERAL, NUMBERS])
def test_json_is_read_back(task: TaskConfig, tmp_path: Path, example: Example) -> None:
    written = result(task, example)
    write_result(written, tmp_path / "result.json")
    assert read_json(Result, tmp_path / "result.json") == written
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_undefined_metrics_are_null_in_json_and_explained_in_markdown(tmp_path: Path, example: Example) -> None:
    scores, labels = example(BINARY)
    metrics = measure(BINARY, scores, np.zeros_like(labels), resamples=20)
    written = Result("one", "tiny", BINARY, {"test": 60}, (SeedResult(0, 1.0, metrics),))
    write_result(written, tmp_path / "one.json")
    assert '"value": null' in (tmp_path / "one.json").read_text()
    assert read_json(Result, tmp_path / "one.json") == written
    text = result_markdown(written)
    assert table(text)["roc_auc"] == ["—"]
    assert "- roc_auc: no example is 'yes'." in text


def test_mean_and_spread_over_seeds(example: Example) -> None:
    written = result(BINARY, example)
    values = [seed.metrics.values["mcc"].value for seed in written.seeds]
    mean = sum(values) / 3
    spread = over_seeds(written)["mcc"]
    assert spread.mean == pytest.approx(mean)
    assert spread.deviation == pytest.approx((sum((value - mean) ** 2 for value in values) / 2) ** 0.5)
    assert spread.defined == 3


def test_a_seed_where_a_metric_is_undefined_is_left_out_of_the_mean(example: Example) -> None:
    written = result(BINARY, example)
    gap = measure(BINARY, example(BINARY)[0], np.zeros(60, int), resamples=0)
    changed = dataclasses.replace(written, seeds=(*written.seeds[:2], SeedResult(5, 1.0, gap)))
    values = [seed.metrics.values["mcc"].value for seed in written.seeds[:2]]
    assert over_seeds(changed)["mcc"].mean == pytest.approx(np.mean(values))
    assert over_seeds(changed)["mcc"].defined == 2
    alone = over_seeds(dataclasses.replace(written, seeds=changed.seeds[1:]))["mcc"]
    assert (alone.mean, alone.deviation, alone.defined) == (values[1], None, 1)
    nowhere = over_seeds(dataclasses.replace(written, seeds=changed.seeds[2:]))["mcc"]
    assert (nowhere.mean, nowhere.deviation, nowhere.defined) == (None, None, 0)


def test_the_table_has_the_figures(example: Example) -> None:
    written = result(BINARY, example)
    text = result_markdown(written)
    rows = table(text)
    assert rows["metric"] == ["mean", "sd", "seed 1", "seed 2", "seed 5"]
    assert [*rows] == ["metric", "---", *metric_keys(BINARY)]
    spread, metric = over_seeds(written)["roc_auc"], written.seeds[1].metrics.values["roc_auc"]
    assert rows["roc_auc"][:2] == [f"{spread.mean:.4f}", f"{spread.deviation:.4f}"]
    assert rows["roc_auc"][3] == f"{metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"
    assert "Examples: train 1,000, validation 100, test 60. 8 seconds." in text
    assert "95% bootstrap intervals of 20 resamples" in text


def test_the_table_of_one_seed_without_intervals(example: Example) -> None:
    text = result_markdown(result(SEVERAL, example, seeds=(7,), resamples=0))
    assert table(text)["metric"] == ["seed 7"]
    assert "[" not in text
    assert "bootstrap" not in text
    assert "| mcc/a\\|b | " in text


def test_results_that_contradict_themselves(example: Example) -> None:
    written = result(BINARY, example)
    with pytest.raises(InputError, match="has no seed"):
        dataclasses.replace(written, seeds=())
    with pytest.raises(InputError, match="has not the metrics of its task"):
        dataclasses.replace(written, task=NUMBERS)
