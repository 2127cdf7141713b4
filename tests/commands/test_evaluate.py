"""`dnabert-jax evaluate`: many sets at once are each what `finetune` makes of them, whatever befalls the others."""

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

import dnabert_jax.tasks.suites.run
from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig
from dnabert_jax.tasks.measures.results import Result
from dnabert_jax.typed_json import read_json
from tests.commands.conftest import write_encoder

CONFIG = ModelConfig(k=3, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64, max_positions=40)
SETTINGS = ["--seeds", "2", "--epochs", "2", "--batch-size", "16", "--peak-learning-rate", "3e-3", "--restarts", "0"]
SIZES = {"a": 64, "b": 48, "tf/c": 40}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / "model", CONFIG)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sets in two layouts, and one of which all labels are alike."""
    directory = tmp_path_factory.mktemp("suites") / "suite"
    draw = random.Random(0)  # noqa: S311
    for name, count in {**SIZES, "bad": 20}.items():
        rows: dict[str, list[tuple[str, int]]] = {}
        for split, size in (("train", count), ("dev", 16), ("test", 32)):
            labels = [0 if name == "bad" else number % 2 for number in range(size)]
            rows[split] = [("".join(draw.choices("AT" if label else "CG", k=30)), label) for label in labels]
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "b":
            path.mkdir()
            for split, lines in rows.items():
                text = "".join(f"{sequence},{label}\n" for sequence, label in lines)
                (path / f"{split}.csv").write_text("sequence,label\n" + text)
        else:
            text = "".join(f"{split}\t{row[0]}\t{row[1]}\n" for split, lines in rows.items() for row in lines)
            path.with_name(f"{path.name}.tsv").write_text("split\tseq\tlabel\n" + text)
    return directory


@pytest.fixture(scope="module")
def command(model: Path, suite: Path) -> Callable[..., list[str]]:
    def make(out: Path, *flags: str) -> list[str]:
        files = ["--data", suite, "--model", model, "--out", out]
        return ["evaluate", "tfbs690", *map(str, files), *SETTINGS, *flags]

    return make


@pytest.fixture(scope="module")
def evaluated(command: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "results"
    flags = ["--together", "4", "--methods", "finetuned", "random", "kmer", "--keep-models"]
    assert run(command(out, *flags)) == 0
    return out


def without_seconds(path: Path) -> dict[str, object]:
    result = json.loads(path.read_text())
    assert result.pop("date")
    for seed in result["seeds"]:
        seed.pop("seconds")
        for metric in seed["metrics"]["values"].values():
            metric.update({key: round(value, 5) for key, value in metric.items() if isinstance(value, float)})
    return result


def test_a_set_of_a_suite_is_the_set_alone(evaluated: Path, suite: Path, model: Path, tmp_path: Path) -> None:
    files = ["--model", model, "--data", suite / "b", "--out", tmp_path / "b"]
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
    assert "bad.tsv" in reason
    summary = (evaluated / "summary.md").read_text()
    assert "epochs 2, batch_size 16, peak_learning_rate 0.003, restarts 0" in summary
    assert f"bad (finetuned, kmer, random): {reason}" in summary


def test_a_set_for_which_memory_lacks_stops_no_other(
    command: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In lockstep with others it fails for all; each by itself, for itself."""
    finetune_sets = dnabert_jax.tasks.suites.run.finetune_sets

    def short_of_memory(model: Any, sets: dict[str, Any], *others: Any, **named: Any) -> Any:
        if len(sets) > 1 or "tf/c" in sets:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 2048 bytes.")
        return finetune_sets(model, sets, *others, **named)

    monkeypatch.setattr("dnabert_jax.tasks.suites.run.finetune_sets", short_of_memory)
    out = tmp_path / "results"
    assert run(command(out, "--together", "4")) == 0
    done = {path.relative_to(out / "finetuned").as_posix() for path in (out / "finetuned").rglob("*.json")}
    assert done == {"a.json", "b.json"}
    reason = json.loads((out / "failures/finetuned/tf/c.json").read_text())["reason"]
    assert "2048 bytes" in reason
    assert "--batch-size" in reason


def test_a_learning_curve_of_one_set_by_probes(
    suite: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "curve"
    command = ["evaluate", "suite", "--data", str(suite / "b"), "--model", str(model), "--out", str(out)]
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
    evaluated: Path, command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    command: Callable[..., list[str]], evaluated: Path, commands: Any, tmp_path: Path
) -> None:
    """The first is killed as soon as it has a result; what it leaves is finished by the same command."""
    out = tmp_path / "results"
    flags = ["--together", "1", "--processes", "2"]
    started = commands.start(command(out, *flags, "--process", "0"), devices=1)
    deadline = time.monotonic() + 120
    while not list(out.glob("finetuned/**/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    started.process.kill()
    assert started.wait()[0] == -signal.SIGKILL, started.log.read_text()
    assert 0 < len(list(out.glob("finetuned/**/*.json"))) < len(SIZES)
    assert not list(out.rglob("*.partial"))
    for process in ("0", "1"):
        assert run(command(out, *flags, "--process", process)) == 0
    for name in SIZES:
        assert without_seconds(out / f"finetuned/{name}.json") == without_seconds(evaluated / f"finetuned/{name}.json")


def test_a_process_without_a_set_says_what_is_to_come(
    command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(tmp_path / "results", "--processes", "9", "--process", "8")) == 0
    assert "still to come: 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "values"),
    [
        (["--seeds", "0"], "seeds is 0"),
        (["--processes", "2", "--process", "2"], "process is 2"),
        (["--data", "nowhere"], "nowhere"),
        (["--preset", "best"], "'best'"),
        (["--epochs", "3"], "its epochs is 2, now it is 3"),
        (["--compare", "nothing.tsv"], "nothing.tsv"),
        (["--out", "{suite}/results"], "{suite}/results"),
        (["--methods", "kmer", "kmer"], "kmer kmer"),
        (["--learning-curve", "10", "ten"], "'ten'"),
        (["--limit", "9", "--learning-curve", "10"], "--limit"),
    ],
)
def test_bad_input_is_one_sentence(
    evaluated: Path, suite: Path, command: Callable[..., list[str]], fails: Callable[..., str], flags: list[str],
    values: str,
) -> None:  # fmt: skip
    # Of a flag that is given twice, the last counts.
    assert values.format(suite=suite) in fails(*command(evaluated, *(flag.format(suite=suite) for flag in flags)))


def test_a_suite_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "imagenet"]) == 2
    assert "tfbs690|gue|mouse" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        run(["evaluate", "--help"])
    assert "dnabert-jax evaluate tfbs690" in capsys.readouterr().out
