"""A suite: which sets there are, how they are grouped, and a directory of results that takes one evaluation alone."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FinetuneConfig
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult
from dnabert_jax.tasks.suites.run import Evaluation, SuiteResults
from dnabert_jax.tasks.suites.suite import LabelledSet, find_sets, groups_by_size, part_of, settings_of

TASK = TaskConfig("single_label_classification", ("0", "1"))
EVALUATION = Evaluation("tfbs690", "digest", 2, FinetuneConfig())


def touch(path: Path, size: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


@pytest.fixture
def data(tmp_path: Path) -> LabelledSet:
    """A data set, which is a file of one letter."""
    touch(tmp_path / "sets/0.tsv")
    return LabelledSet("tf/0", tmp_path / "sets/0.tsv", 1)


METRICS = measure(TASK, np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), resamples=0)
RESULT = Result("tf/0", "full fine-tuning", TASK, {"train": 3}, (SeedResult(0, 1.0, METRICS),))


def test_sets_in_every_layout(tmp_path: Path) -> None:
    layouts = {
        "CTCF": "CTCF/train/sequences_alph.npy CTCF/train/targets.npy CTCF/test/sequences_alph.npy",
        "MAX_A549.v2": "MAX_A549.v2.tsv.gz",
        "hub": "hub/data/train-00000-of-00001.parquet hub/data/validation-00000-of-00001.parquet",
        "more/MYC": "more/MYC.parquet",
        "only": "only/dev.csv",
        "prom/prom_300_all": "prom/prom_300_all/train.csv prom/prom_300_all/dev.csv prom/prom_300_all/test.csv",
        "promoters": "promoters/examples.tsv.gz promoters/label.labels.txt",
    }
    others = "README.txt README.md .hidden.tsv .git/x.tsv ._a.tsv only/.DS_Store only/Thumbs.db"
    for path in " ".join([*layouts.values(), others]).split():
        touch(tmp_path / path)
    sets = {data.name: data for data in find_sets(tmp_path)}
    assert {name: data.size for name, data in sets.items()} == {name: len(layouts[name].split()) for name in layouts}
    tables = {"MAX_A549.v2", "more/MYC"}
    for name, data in sets.items():
        assert data.path == tmp_path / (layouts[name] if name in tables else name)
    digest = sets["only"].digest()
    touch(tmp_path / "only" / ".DS_Store", 2)
    assert sets["only"].digest() == digest, "files of the system are not of the set"
    for name in ("CTCF", "MAX_A549.v2"):
        assert find_sets(sets[name].path) == [sets[name]], "a set is a suite of one"


def test_what_is_no_suite(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            find_sets(path)
    touch(tmp_path / "a.tsv")
    touch(tmp_path / "a.csv.gz")
    with pytest.raises(InputError, match=r"a\.csv\.gz .*a\.tsv .* a\b"):
        find_sets(tmp_path)


def test_groups_are_of_like_size_and_processes_share_them_out() -> None:
    sets = [
        LabelledSet(name, Path(name), size) for name, size in zip("abcdefg", (5, 900, 1, 6, 800, 7, 5), strict=True)
    ]
    groups = groups_by_size(sets, 3)
    assert ["".join(data.name for data in group) for group in groups] == ["bef", "dag", "c"]
    assert groups_by_size(sets[::-1], 3) == groups
    # Which is whose does not depend on how many sets suit the devices of a machine.
    parts = [groups_by_size(part_of(sets, process, 2), 1 + process) for process in range(2)]
    assert sorted(data.name for part in parts for group in part for data in group) == list("abcdefg")


def test_settings_of_gue_are_those_of_its_scripts() -> None:
    settings = FINETUNE_PRESETS["gue"]
    epochs = {"EMP/H3": 3, "GUE/prom/prom_core_tata": 10, "prom/prom_300_notata": 4, "mouse/0": 5, "virus/covid": 9}
    epochs |= {"tf/4": 3, "x": 3}
    by_set = {name: settings_of("gue", name, settings) for name in epochs}
    assert {name: changed.epochs for name, changed in by_set.items()} == epochs
    mouse = by_set["mouse/0"]
    assert (mouse.max_steps, mouse.warmup_steps, by_set["EMP/H3"].warmup_steps) == (1000, 30, 50)
    # As in transformers, these are all steps, more than five epochs of its smaller sets have.
    assert [mouse.total_steps(rows) for rows in (100_000, 2_000)] == [1000, 1000]
    assert by_set["x"] == settings_of("tfbs690", "tf/4", settings) == settings


@pytest.mark.parametrize("place", ["{}", "memory://{}"])
def test_results_are_found_again_and_of_other_processes_too(place: str, tmp_path: Path, data: LabelledSet) -> None:
    directory = place.format(tmp_path / "results")
    first, second = SuiteResults(directory, EVALUATION), SuiteResults(directory, EVALUATION)
    first.write("finetuned", RESULT, data)
    second.write("kmer", RESULT, data)
    second.fail("probe", "tf/0", "no train split")
    assert first.read() == {"finetuned": [RESULT], "kmer": [RESULT]}
    assert first.failures() == {"probe/tf/0": "no train split"}
    again = SuiteResults(directory, EVALUATION)
    assert [again.has(method, data) for method in ("finetuned", "probe")] == [True, False]
    again.write("probe", RESULT, data)
    assert again.failures() == {}


def test_what_a_process_writes_or_left_half_written_stops_no_other(tmp_path: Path, data: LabelledSet) -> None:
    out = tmp_path / "results"
    touch(out / "evaluation.json.0123.partial")
    results = SuiteResults(out, EVALUATION)
    results.fail("finetuned", "tf/0", "no train split")
    touch(out / "failures/finetuned/tf/1.json.0123.partial")
    touch(out / "finetuned/tf/1.json.0123.partial")
    assert (results.failures(), results.read()) == ({"finetuned/tf/0": "no train split"}, {})
    # Killed between the result and the removal of the failure, or written by a process that began before.
    SuiteResults(out, EVALUATION).write("finetuned", RESULT, data)
    results.fail("finetuned", "tf/0", "no train split")
    assert results.failures() == {}


def test_vectors_are_computed_once_for_the_same_files(tmp_path: Path, data: LabelledSet) -> None:
    computed = []

    def compute() -> dict[str, np.ndarray]:
        computed.append(len(computed))
        return {"train": np.full((2, 1, 3), len(computed), np.float32)}

    for content, expected in (("x", 1.0), ("x", 1.0), ("other rows", 2.0)):  # by processes one after the other
        data.path.write_text(content)
        vectors = SuiteResults(tmp_path / "results", EVALUATION).vectors(data, compute)
        assert vectors["train"].tolist() == [[[expected] * 3]] * 2
    assert computed == [0, 1]


def test_results_of_another_evaluation_or_of_other_data_stay_apart(tmp_path: Path, data: LabelledSet) -> None:
    results = SuiteResults(tmp_path / "results", EVALUATION)
    with pytest.raises(InputError, match=r"\bseeds\b.* 2\b.* 3\b"):
        SuiteResults(tmp_path / "results", dataclasses.replace(EVALUATION, seeds=3))
    results.write("finetuned", RESULT, data)
    data.path.write_text("changed")
    with pytest.raises(InputError, match=str(data.path)):
        results.has("finetuned", data)
    assert not results.has("kmer", data)
    with pytest.raises(InputError, match=str(tmp_path)):  # a directory of something else
        SuiteResults(tmp_path, EVALUATION)
