"""`dnabert-jax evaluate`: many sets at once are each what `finetune` makes of them, whatever befalls the others."""

import json
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

import dnabert_jax.tasks.suites.run
from dnabert_jax.commands.cli import run
from dnabert_jax.tasks.measures.results import Result
from dnabert_jax.typed_json import read_json
from tests.commands.conftest import Capture, Fails, Patch, wait_for
from tests.tasks.conftest import write_table

Command = Callable[..., list[str]]
SETTINGS = ["--seeds", "2", "--epochs", "2", "--batch-size", "16", "--peak-learning-rate", "3e-3", "--restarts", "0"]
SIZES = {"a": 64, "b": 48, "tf/c": 40}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sets, and one of which all labels are alike."""
    directory = tmp_path_factory.mktemp("suites") / "suite"
    (directory / "tf").mkdir(parents=True)
    draw = random.Random(0)  # noqa: S311
    for name, count in SIZES.items():
        row = lambda number: ("".join(draw.choices(("CG", "AT")[number % 2], k=30)), number % 2)  # noqa: E731
        write_table(directory / f"{name}.csv", (count, 16, 32), row)
    write_table(directory / "bad.csv", (20, 16, 32), lambda _: ("CGGC", 0))
    return directory


@pytest.fixture(scope="module")
def command(encoder: Path, suite: Path) -> Callable[..., list[str]]:
    def make(out: Path, *flags: str) -> list[str]:
        files = ["--data", suite, "--model", encoder, "--out", out]
        return ["evaluate", "tfbs690", *map(str, files), *SETTINGS, *flags]

    return make


@pytest.fixture(scope="module")
def evaluated(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "results"
    assert run(command(out, "--together", "4", "--methods", "finetuned", "random", "kmer", "--keep-models")) == 0
    return out


def without_seconds(path: Path) -> dict[str, object]:
    result = json.loads(path.read_text())
    assert result.pop("date")
    for seed in result["seeds"]:
        seed.pop("seconds")
        for metric in seed["metrics"]["values"].values():
            metric.update({key: round(value, 5) for key, value in metric.items() if isinstance(value, float)})
    return result


def test_a_set_of_a_suite_is_the_set_alone(evaluated: Path, suite: Path, encoder: Path, tmp_path: Path) -> None:
    files = ["--model", encoder, "--data", suite / "b.csv", "--out", tmp_path / "b"]
    assert run(["finetune", *map(str, files), *SETTINGS]) == 0
    assert without_seconds(evaluated / "finetuned/b.json") == without_seconds(tmp_path / "b/result.json")


def test_each_set_has_a_result_of_each_method_and_a_bad_one_stops_no_other(evaluated: Path) -> None:
    for method in ("finetuned", "random", "kmer"):
        for name, count in SIZES.items():
            result = read_json(Result, evaluated / method / f"{name}.json")
            assert result.sizes == {"train": count, "validation": 16, "test": 32}
            assert len(result.seeds) == (1 if method == "kmer" else 2)
        table = (evaluated / f"{method}.tsv").read_text().splitlines()
        assert [line.split("\t")[0] for line in table] == ["name", *SIZES]
    assert read_json(Result, evaluated / "kmer/a.json").seeds[0].metrics.values["accuracy"].value == 1.0
    assert (evaluated / "boxes.png").stat().st_size > 10_000
    assert (evaluated / "models/tf/c/model.json").is_file()
    reason = json.loads((evaluated / "failures/finetuned/bad.json").read_text())["reason"]
    assert "bad.csv" in reason
    summary = (evaluated / "summary.md").read_text()
    assert "epochs 2, batch_size 16, peak_learning_rate 0.003, restarts 0" in summary
    assert f"bad (finetuned, kmer, random): {reason}" in summary


def test_a_set_for_which_memory_lacks_stops_no_other(command: Command, tmp_path: Path, monkeypatch: Patch) -> None:
    """In lockstep with others it fails for all; each by itself, for itself."""
    finetune_sets = dnabert_jax.tasks.suites.run.finetune_sets

    def short_of_memory(model: Any, sets: dict[str, Any], *others: Any, **named: Any) -> Any:
        if len(sets) > 1 or "tf/c" in sets:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 2048 bytes.")
        return finetune_sets(model, sets, *others, **named)

    monkeypatch.setattr("dnabert_jax.tasks.suites.run.finetune_sets", short_of_memory)
    out = tmp_path / "results"
    assert run(command(out, "--together", "4")) == 0
    assert {path.name for path in (out / "finetuned").rglob("*.json")} == {"a.json", "b.json"}
    reason = json.loads((out / "failures/finetuned/tf/c.json").read_text())["reason"]
    assert re.search("2048 bytes.*--batch-size", reason)


def test_a_learning_curve_of_one_set_by_probes(suite: Path, encoder: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    out = tmp_path / "curve"
    command = ["evaluate", "suite", "--data", str(suite / "b.csv"), "--model", str(encoder), "--out", str(out)]
    command += ["--learning-curve", "all", "24"]
    assert run([*command, "--methods", "probe"]) == 0
    # Vectors are kept: another method computes none.
    monkeypatch.delattr("dnabert_jax.tasks.suites.run.embedded_set")
    assert run([*command, "--methods", "probe", "probe-forest"]) == 0
    table = [line.split("\t") for line in (out / "learning-curve.tsv").read_text().splitlines()]
    assert [row[:2] for row in table] == [["name", "training_rows"], ["b", "24"], ["b", str(SIZES["b"])]]
    assert table[0][2:] == ["probe", "probe-forest"]
    for rows, line in (("24", table[1]), ("all", table[2])):
        for method, cell in zip(table[0][2:], line[2:], strict=True):
            result = read_json(Result, out / f"rows-{rows}/{method}/b.json")
            assert float(cell) == result.seeds[0].metrics.values["roc_auc"].value


def test_what_is_done_is_not_done_again_and_is_compared_with_another_system(
    evaluated: Path, command: Command, tmp_path: Path, capsys: Capture
) -> None:
    """The table of another system may be called like ours, as the finetuned.tsv of another evaluation is."""
    table = tmp_path / "before/finetuned.tsv"
    table.parent.mkdir()
    table.write_text("name\tmcc\na\t-1\nb\t-1\ntf/c\t-1\nother\t0\n")
    done = {path: path.stat().st_mtime_ns for path in evaluated.rglob("*.json") if "failures" not in path.parts}
    assert run(command(evaluated, "--together", "4", "--compare", str(table))) == 0
    assert {path: path.stat().st_mtime_ns for path in done} == done
    out = capsys.readouterr().out
    for values in ("against before/finetuned", "on 3 of 3 sets", "other, not in"):
        assert values in out


def test_processes_that_share_a_suite_and_one_that_is_killed(
    command: Command, evaluated: Path, commands: Any, tmp_path: Path, capsys: Capture
) -> None:
    """The first is killed as soon as it has a result; what it leaves is finished by the same command."""
    out = tmp_path / "results"
    assert run(command(out, "--processes", "9", "--process", "8")) == 0
    assert "still to come: 4" in capsys.readouterr().out, "it has no set"
    flags = ["--together", "1", "--processes", "2"]
    started = commands.start(command(out, *flags, "--process", "0"), devices=1)
    wait_for(lambda: list(out.glob("finetuned/**/*.json")), 120)
    started.process.kill()
    assert started.wait()[0] == -signal.SIGKILL, started.log.read_text()
    assert 0 < len(list(out.glob("finetuned/**/*.json"))) < len(SIZES)
    assert not list(out.rglob("*.partial"))
    for process in ("0", "1"):
        assert run(command(out, *flags, "--process", process)) == 0
    for name in SIZES:
        assert without_seconds(out / f"finetuned/{name}.json") == without_seconds(evaluated / f"finetuned/{name}.json")


def test_bad_input_is_one_sentence(evaluated: Path, suite: Path, command: Command, fails: Fails) -> None:
    for flags, value in (
        ("--seeds 0", "seeds is 0"),
        ("--processes 2 --process 2", "process is 2"),
        ("--data nowhere", "nowhere"),
        ("--preset best", "'best'"),
        ("--epochs 3", "its epochs is 2, now it is 3"),
        ("--compare nothing.tsv", "nothing.tsv"),
        (f"--out {suite}/results", f"{suite}/results"),
        ("--methods kmer kmer", "kmer kmer"),
        ("--learning-curve 10 ten", "'ten'"),
        ("--limit 9 --learning-curve 10", "--limit"),
    ):
        # Of a flag that is given twice, the last counts.
        assert value in fails(*command(evaluated, *flags.split()))
    assert "tfbs690|gue|mouse" in fails("evaluate", "imagenet")
