"""A suite: which sets there are, how they are grouped, and a directory of results that takes one evaluation alone."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.storage import Location
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FinetuneConfig
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult
from dnabert_jax.tasks.suites.directory import Evaluation, SuiteResults
from dnabert_jax.tasks.suites.report import write_report
from dnabert_jax.tasks.suites.suite import SUITES, LabelledSet, find_sets, groups_of_like_size, part_of, settings_of

TASK = TaskConfig("single_label_classification", ("0", "1"))
EVALUATION = Evaluation("tfbs690", "digest", 2, FinetuneConfig())


def touch(path: Path, size: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


@pytest.fixture
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LabelledSet]:
    """A data set of a name, which is a file of one letter."""
    directory = tmp_path_factory.mktemp("sets")

    def make(name: str) -> LabelledSet:
        path = directory / f"{name}.tsv"
        if not path.exists():
            touch(path)
        return LabelledSet(name, path, 1)

    return make


def result(name: str) -> Result:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    metrics = measure(TASK, scores, np.array([0, 1, 1]), resamples=0)
    return Result(name, "full fine-tuning", TASK, {"train": 3}, (SeedResult(0, 1.0, metrics),))


def test_sets_in_every_layout(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for array in ("sequences_alph.npy", "targets.npy"):
            touch(tmp_path / "CTCF" / split / array)
    for split in ("train", "dev", "test"):
        touch(tmp_path / "prom" / "prom_300_all" / f"{split}.csv", 5)
    touch(tmp_path / "only" / "dev.csv")
    touch(tmp_path / "MAX_A549.v2.tsv.gz")
    touch(tmp_path / "more" / "MYC.parquet")
    touch(tmp_path / "promoters" / "examples.tsv.gz")
    touch(tmp_path / "promoters" / "label.labels.txt")
    for split in ("train", "validation"):
        touch(tmp_path / "hub" / "data" / f"{split}-00000-of-00001.parquet", 3)
    for other in (
        "README.txt",
        "README.md",
        ".hidden.tsv",
        ".git/x.tsv",
        "._a.tsv",
        "only/.DS_Store",
        "only/Thumbs.db",
    ):
        touch(tmp_path / other)
    found = {one.name: (one.path.relative_to(tmp_path).as_posix(), one.size) for one in find_sets(tmp_path)}
    assert found == {
        "CTCF": ("CTCF", 4),
        "hub": ("hub", 6),
        "promoters": ("promoters", 2),
        "MAX_A549.v2": ("MAX_A549.v2.tsv.gz", 1),
        "more/MYC": ("more/MYC.parquet", 1),
        "only": ("only", 1),
        "prom/prom_300_all": ("prom/prom_300_all", 15),
    }


def test_files_of_the_system_are_not_of_the_set(tmp_path: Path) -> None:
    touch(tmp_path / "only" / "dev.csv")
    (found,) = find_sets(tmp_path)
    digest = found.digest()
    touch(tmp_path / "only" / ".DS_Store")
    assert found.digest() == digest


def test_what_is_no_suite(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_sets(tmp_path / "none")
    with pytest.raises(InputError, match="holds no data sets"):
        find_sets(tmp_path)
    touch(tmp_path / "a.tsv")
    touch(tmp_path / "a.csv.gz")
    with pytest.raises(InputError, match=r"a\.csv\.gz and .*a\.tsv are data sets called a"):
        find_sets(tmp_path)


def test_one_data_set_is_a_suite_of_one(tmp_path: Path) -> None:
    touch(tmp_path / "CTCF/train.csv")
    touch(tmp_path / "MAX.tsv.gz")
    for path, name in ((tmp_path / "CTCF", "CTCF"), (tmp_path / "MAX.tsv.gz", "MAX")):
        assert [(each.name, each.path) for each in find_sets(path)] == [(name, path)]


def test_groups_are_of_like_size_and_processes_share_them_out() -> None:
    sets = [
        LabelledSet(name, Path(name), size) for name, size in zip("abcdefg", (5, 900, 1, 6, 800, 7, 5), strict=True)
    ]
    groups = groups_of_like_size(sets, 3)
    assert [[one.name for one in group] for group in groups] == [["b", "e", "f"], ["d", "a", "g"], ["c"]]
    assert groups_of_like_size(sets[::-1], 3) == groups
    # Which is whose does not depend on how many sets suit the devices of a machine.
    parts = [groups_of_like_size(part_of(sets, process, 2), 1 + process) for process in range(2)]
    assert sorted(one.name for part in parts for group in part for one in group) == list("abcdefg")


def test_settings_of_gue_are_those_of_its_scripts() -> None:
    settings = FINETUNE_PRESETS["gue"]
    found = {
        name: settings_of("gue", name, settings)
        for name in (
            "EMP/H3",
            "GUE/prom/prom_core_tata",
            "prom/prom_300_notata",
            "prom/prom_300_all",
            "mouse/0",
            "tf/4",
            "virus/covid",
            "x",
        )
    }
    assert {name: own.epochs for name, own in found.items()} == {
        "EMP/H3": 3, "GUE/prom/prom_core_tata": 10, "prom/prom_300_notata": 4, "prom/prom_300_all": 4, "mouse/0": 5,
        "tf/4": 3, "virus/covid": 9,
        "x": 3,
    }  # fmt: skip
    assert (found["mouse/0"].max_steps, found["mouse/0"].warmup_steps, found["EMP/H3"].warmup_steps) == (1000, 30, 50)
    # As in transformers, these are all steps, more than five epochs of its smaller sets have.
    assert [found["mouse/0"].total_steps(rows) for rows in (100_000, 2_000)] == [1000, 1000]
    assert found["x"] == settings
    assert settings_of("tfbs690", "tf/4", settings) == settings
    assert all(set(suite.metrics) for suite in SUITES.values())


@pytest.fixture(params=["local", "store"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return tmp_path / "results" if request.param == "local" else f"memory://{tmp_path.name}/results"


def test_results_are_found_again_and_of_other_processes_too(
    directory: Location, labelled: Callable[[str], LabelledSet]
) -> None:
    first, second = SuiteResults(directory, EVALUATION), SuiteResults(directory, EVALUATION)
    first.write("finetuned", result("tf/0"), labelled("tf/0"))
    second.write("kmer", result("tf/0"), labelled("tf/0"))
    second.fail("finetuned", "tf/1", "no train split")
    assert [one.name for one in first.read()["finetuned"]] == ["tf/0"]
    assert first.read()["kmer"][0] == result("tf/0")
    assert first.failures() == {"finetuned/tf/1": "no train split"}
    again = SuiteResults(directory, EVALUATION)
    assert again.has("finetuned", labelled("tf/0"))
    assert not again.has("finetuned", labelled("tf/1"))
    again.write("finetuned", result("tf/1"), labelled("tf/1"))
    assert again.failures() == {}


def test_what_a_process_writes_or_left_half_written_stops_no_other(
    tmp_path: Path, labelled: Callable[[str], LabelledSet]
) -> None:
    touch(tmp_path / "evaluation.json.0123.partial")
    results = SuiteResults(tmp_path, EVALUATION)
    results.fail("finetuned", "tf/0", "no train split")
    touch(tmp_path / "failures/finetuned/tf/1.json.0123.partial")
    touch(tmp_path / "finetuned/tf/1.json.0123.partial")
    assert results.failures() == {"finetuned/tf/0": "no train split"}
    assert results.read() == {}
    # Killed between the result and the removal of the failure, or written by a process that began before.
    SuiteResults(tmp_path, EVALUATION).write("finetuned", result("tf/0"), labelled("tf/0"))
    results.fail("finetuned", "tf/0", "no train split")
    assert results.failures() == {}


def test_vectors_are_computed_once_for_the_same_files(tmp_path: Path, labelled: Callable[[str], LabelledSet]) -> None:
    computed = []

    def compute() -> dict[str, np.ndarray]:
        computed.append(len(computed))
        return {"train": np.full((2, 1, 3), len(computed), np.float32)}

    one = labelled("tf/0")
    for _ in range(2):  # of this process, and of one that comes later
        vectors = SuiteResults(tmp_path / "results", EVALUATION).vectors(one, compute)
        assert vectors["train"].tolist() == [[[1.0] * 3]] * 2
    one.path.write_text("other rows")
    assert SuiteResults(tmp_path / "results", EVALUATION).vectors(one, compute)["train"].tolist() == [[[2.0] * 3]] * 2
    assert computed == [0, 1]


def test_a_summary_has_the_metrics_of_every_problem(tmp_path: Path) -> None:
    task = TaskConfig("regression", ("expression",))
    metrics = measure(task, np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [3.0]]), resamples=0)
    numbers = Result("mpra", "full fine-tuning", task, {"train": 3}, (SeedResult(0, 1.0, metrics),))
    text, _ = write_report({"finetuned": [result("a"), numbers]}, {}, SUITES["tfbs690"].metrics, tmp_path, {})
    assert "| r2 | 0.7857 | 0.7857 | 1 | 1 |" in text
    assert "| accuracy | 0.6667 | 0.6667 | 1 | 1 |" in text


def test_results_of_another_evaluation_stay_apart(directory: Location) -> None:
    SuiteResults(directory, EVALUATION)
    with pytest.raises(InputError, match="its seeds is 2, now it is 3"):
        SuiteResults(directory, dataclasses.replace(EVALUATION, seeds=3))
    with pytest.raises(InputError, match=r"\bepochs\b.* 0\b.* 7\b"):
        SuiteResults(directory, dataclasses.replace(EVALUATION, settings=FinetuneConfig(epochs=7)))


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    touch(tmp_path / "thesis.tex")
    with pytest.raises(InputError, match="something else than results"):
        SuiteResults(tmp_path, EVALUATION)


def test_results_of_other_data_are_refused(tmp_path: Path, labelled: Callable[[str], LabelledSet]) -> None:
    results, data = SuiteResults(tmp_path, EVALUATION), labelled("a")
    results.write("finetuned", result("a"), data)
    assert results.has("finetuned", data)
    data.path.write_text("changed")
    with pytest.raises(InputError, match="is no longer what the results in"):
        results.has("finetuned", data)
    assert not results.has("kmer", data)
