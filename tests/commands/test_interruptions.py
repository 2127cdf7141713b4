"""What ends a run or a fine-tuning early: SIGTERM, SIGKILL, a full disk, another process. It goes on after each."""

import json
import os
import random
import re
import shlex
import signal
import socket
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.telemetry.run_log import read_log
from dnabert_jax.training.saved_model import read_saved_model
from tests.commands.conftest import SMALL_RUN, Fails, error_of, wait_for, write_encoder
from tests.tasks.conftest import write_table

FINETUNED = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16, max_positions=32)

SMALL_FLAGS = [
    *SMALL_RUN, "--evaluate-every", "1000", "--log-every", "1", "--model.max-positions", "64",
    "--model.dropout", "0.1", "--model.attention-dropout", "0.1",
]  # fmt: skip


def pretrain(data: Path, out: Path, steps: int, checkpoint_every: int) -> list[str]:
    return [
        "pretrain", "--data", str(data), "--out", str(out), "--steps", str(steps),
        "--checkpoint-every", str(checkpoint_every), *SMALL_FLAGS,
    ]  # fmt: skip


def printed_by(commands: Any, arguments: list[str]) -> str:
    """The output of a command that must succeed."""
    status, printed = commands.start(arguments, devices=1).wait()
    assert status == 0, printed
    return printed


def saved_steps(run: Path) -> list[int]:
    return sorted(int(path.name) for path in run.glob("checkpoints/*") if path.name.isdigit())


def assert_same_end(run: Path, other: Path) -> None:
    ours, theirs = read_saved_model(run), read_saved_model(other)
    assert ours.step == theirs.step
    assert jax.tree.all(jax.tree.map(np.array_equal, ours.parameters, theirs.parameters))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a held-out part, whose evaluation would have to be compiled in every process."""
    out = tmp_path_factory.mktemp("rows") / "rows"
    prepare_genome(GenomeJob((HELDOUT_FASTA,), out, k=3, row_length=64, heldout_fraction=0.0))
    return out


@pytest.mark.slow
@pytest.mark.parametrize(("number", "processes"), [(signal.SIGTERM, 1), (signal.SIGTERM, 2), (signal.SIGINT, 1)])
def test_sigterm_and_ctrl_c_save_one_step_and_say_how_to_go_on(
    commands: Any, rows: Path, tmp_path: Path, fails: Fails, number: signal.Signals, processes: int
) -> None:
    """SIGTERM twice to each process; where one of several is told, tests/training/test_several_processes.py goes on."""
    out = tmp_path / "run"
    started = commands.start_several(pretrain(rows, out, 1600, 1000), processes, devices=processes)
    wait_for(lambda: read_log(out))
    assert str(out) in fails(*pretrain(rows, out, 1600, 1000), "--resume"), "a second job on the run"
    for process in started * (2 if number == signal.SIGTERM else 1):
        os.kill(process.process.pid, number)
    ended = [process.wait() for process in started]
    assert [status for status, _ in ended] == [0 if number == signal.SIGTERM else 130] * processes
    first, *others = (printed for _, printed in ended)
    assert "Traceback" not in first
    step = int(re.search(r"after step ([\d,]+) of 1,600", first)[1].replace(",", ""))
    assert not any("Stopped" in printed or "pretrain:" in printed for printed in others)
    assert saved_steps(out) == [step]
    assert [line["step"] for line in read_log(out)] == list(range(1, step + 1))
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    command = shlex.split(re.search(r"Go on with[^:]*: dnabert-jax (.*)", first)[1])
    assert ("--distributed" in command) == (processes > 1)
    if processes > 1 or number == signal.SIGINT:
        return
    assert f"resumed at step {step:,}" in printed_by(commands, [*command, "--steps", str(step + 3)])
    printed_by(commands, pretrain(rows, tmp_path / "whole", step + 3, 1000))
    assert_same_end(out, tmp_path / "whole")
    assert [line["loss"] for line in read_log(out)] == [line["loss"] for line in read_log(tmp_path / "whole")]


@pytest.mark.slow
def test_a_run_killed_many_times_ends_as_an_undisturbed_one(commands: Any, rows: Path, tmp_path: Path) -> None:
    """SIGKILL at a random moment since the start, and at one while a checkpoint is written, in turn.

    KILLS in the environment may say another number.
    """
    kills = int(os.environ.get("KILLS", "4"))
    steps, most_steps_between = 15 * kills, 20
    moment = random.Random(0)  # noqa: S311
    out = tmp_path / "run"
    unfinished = killed = 0
    for number in range(kills):
        before = saved_steps(out)
        started = commands.start([*pretrain(rows, out, steps, 1), "--keep-checkpoints", "2", "--resume"], devices=1)
        if number % 2:
            wait_for(lambda: saved_steps(out) > before and list(out.glob("checkpoints/*tmp*")))  # noqa: B023
            if number > 1:  # The first is killed at once, so that some checkpoint surely stays unfinished.
                time.sleep(moment.uniform(0, 0.05))
        else:
            end, latest = time.monotonic() + moment.uniform(0, 3), max(before, default=0)
            wait_for(lambda: time.monotonic() > end or max(saved_steps(out), default=0) > latest + most_steps_between)  # noqa: B023
        started.process.kill()
        killed += started.wait()[0] == -signal.SIGKILL
        unfinished += bool(list(out.glob("checkpoints/*tmp*")))
    assert killed == kills, "some ended before they were killed"
    assert unfinished
    printed_by(commands, [*pretrain(rows, out, steps, 1000), "--resume"])
    printed_by(commands, pretrain(rows, tmp_path / "whole", steps, 1000))
    assert_same_end(out, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "devices"), [(0, 2), (1, 2), pytest.param(1, 4, marks=pytest.mark.by_hand)])
def test_one_process_ends_the_other_and_goes_on_alone(
    commands: Any, rows: Path, tmp_path: Path, killed: int, devices: int
) -> None:
    out = tmp_path / "run"
    started = commands.start_several(pretrain(rows, out, 1600, 4), 2, devices)
    wait_for(lambda: saved_steps(out))
    started[killed].process.kill()
    status, printed = started[1 - killed].wait()
    # The end of process 0 is noted by JAX, and so is any while devices of one process wait for one another: it aborts.
    if status != -signal.SIGABRT:
        assert (killed, status) == (1, 1)
        assert error_of(printed)
    if (killed, devices) == (1, 2):
        return  # It goes on as after the other two.
    step = saved_steps(out)[-1]
    assert f"resumed at step {step}" in printed_by(commands, [*pretrain(rows, out, step + 4, 4), "--resume"])


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_stays(commands: Any, rows: Path, tmp_path: Path) -> None:
    """A process that may write no file as large as a checkpoint's."""
    out = tmp_path / "run"
    wider = ["--model.hidden-size", "64"]
    printed_by(commands, [*pretrain(rows, out, 4, 4), *wider])
    resume = [*pretrain(rows, out, 12, 4), *wider, "--resume"]
    status, printed = commands.start(resume, devices=1, largest_file=12_000).wait()
    assert status == 1
    assert "--resume" in error_of(printed)
    assert saved_steps(out) == [4]


def test_processes_that_do_not_all_come_end_with_a_sentence(commands: Any, rows: Path, tmp_path: Path) -> None:
    join = ["--distributed", "--processes", "2", "--join-timeout", "1", "--coordinator"]
    train = pretrain(rows, tmp_path / "run", 4, 4)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lines = [[*join, f"127.0.0.1:{port}", "--process", "0"], [*join, "127.0.0.1:1", "--process", "1"]]
        started = [commands.start([*train, *line]) for line in (*lines, ["--distributed"])]
        ended = [process.wait() for process in started]
    assert [status for status, _ in ended] == [1, 1, 1]
    for (_, printed), named in zip(ended, ("joined", "127.0.0.1:1", "--coordinator"), strict=True):
        assert named in error_of(printed)
    assert not (tmp_path / "run").exists()


def test_flags_of_processes_that_make_no_sense_together(tmp_path: Path, fails: Fails) -> None:
    for flags, named in (
        ("--processes 2", "--distributed"),
        ("--distributed --processes 2", "--coordinator, --processes and --process"),
        ("--distributed --coordinator here --processes 2 --process 0", "here"),
        ("--distributed --coordinator a:1 --processes 2 --process 2", "--process 2"),
        ("--distributed --join-timeout 0", "--join-timeout is 0"),
    ):
        assert named in fails(*pretrain(tmp_path, tmp_path / "run", 4, 4), *flags.split(), within=tmp_path)


@pytest.fixture(scope="module")
def finetune(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A command without --out that trains two seeds for 8 epochs of 20 steps."""
    directory = tmp_path_factory.mktemp("inputs")
    write_encoder(directory / "model", FINETUNED)
    draw = random.Random(0)  # noqa: S311
    write_table(directory / "table.csv", (160, 32, 32), lambda n: ("".join(draw.choices("ACGT", k=20)), n % 2))
    paths = ["--model", str(directory / "model"), "--data", str(directory / "table.csv")]
    return ["finetune", *paths, "--seeds", "2", "--epochs", "8", "--batch-size", "8", "--restarts", "0"]


@pytest.fixture(scope="module")
def whole(commands: Any, finetune: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes of it undisturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    printed_by(commands, [*finetune, "--out", str(out)])
    return out


def epochs_saved(out: Path) -> list[int]:
    return saved_steps(out.with_name(out.name + ".unfinished") / "attempt-1")


def assert_same_figures(out: Path, other: Path) -> None:
    assert_same_end(out, other)
    results = [json.loads((directory / "result.json").read_text()) for directory in (out, other)]
    for result in results:
        assert result.pop("date")
        for seed in result["seeds"]:
            assert seed.pop("seconds") > 0
    assert results[0] == results[1]
    assert read_log(out) == read_log(other)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in other.iterdir())
    assert not list(out.parent.glob("*.unfinished"))


@pytest.mark.parametrize("signals", [{signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}, {signal.SIGTERM: 0}])
def test_a_fine_tuning_that_is_ended_goes_on(
    commands: Any, finetune: list[str], whole: Path, tmp_path: Path, fails: Fails, signals: dict[int, int]
) -> None:
    """Killed between epochs, else interrupted; or stopped after any step, which says how to go on."""
    out = tmp_path / "run"
    begin = [*finetune, "--out", str(out)]
    for number, status in signals.items():
        before = epochs_saved(out)
        started = commands.start([*begin, "--resume"], devices=1)
        wait_for(lambda: epochs_saved(out) not in ([], before))  # noqa: B023
        os.kill(started.process.pid, number)
        ended, printed = started.wait()
        assert ended == status
    step = max(epochs_saved(out))
    assert 20 <= step < 160
    assert step % 20 == 0 or f"after step {step}," in printed
    assert not out.exists()
    assert run(begin) == 2
    assert "epochs 8" in fails(*begin, "--resume", "--epochs", "9")
    assert "--resume" in printed
    go_on = re.search("Go on with: dnabert-jax (.*)", printed)
    assert bool(go_on) == (number == signal.SIGTERM)
    printed = printed_by(commands, shlex.split(go_on[1]) if go_on else [*begin, "--resume"])
    assert f"step {step}" in printed
    assert re.search(f"epoch 8: .* {read_log(whole)[-1]['loss']:.4f}, .* roc_auc", printed)
    assert_same_figures(out, whole)
