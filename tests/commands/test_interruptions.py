"""What ends a run before its time: SIGTERM, SIGKILL, a full disk, the end of another process. It goes on after each."""

import os
import random
import re
import shlex
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.telemetry.run_log import read_log
from dnabert_jax.training.saved_model import read_saved_model
from tests.commands.conftest import error_of, wait_for

SMALL_FLAGS = [
    "--preset", "tiny", "--global-batch", "8", "--evaluation-rows", "8", "--evaluate-every", "1000", "--log-every", "1",
    "--model.max-positions", "64", "--model.num-layers", "1", "--model.hidden-size", "16", "--model.num-heads", "8",
    "--model.intermediate-size", "16", "--model.dropout", "0.1", "--model.attention-dropout", "0.1",
]  # fmt: skip


def pretrain(data: Path, out: Path, steps: int, checkpoint_every: int) -> list[str]:
    return [
        "pretrain", "--data", str(data), "--out", str(out), "--steps", str(steps),
        "--checkpoint-every", str(checkpoint_every), *SMALL_FLAGS,
    ]  # fmt: skip


def log_steps(run: Path) -> list[int]:
    return [line["step"] for line in read_log(run)]


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
    commands: Any, rows: Path, tmp_path: Path, fails: Callable[..., str], number: signal.Signals, processes: int
) -> None:
    """SIGTERM twice to each process; where one of several is told, tests/training/test_several_processes.py goes on."""
    out = tmp_path / "run"
    started = commands.start_several(pretrain(rows, out, 1600, 1000), processes, devices=processes)
    wait_for(lambda: log_steps(out))
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
    assert log_steps(out) == list(range(1, step + 1))
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    command = shlex.split(re.search(r"Go on with[^:]*: dnabert-jax (.*)", first)[1])
    if processes > 1:
        assert "--distributed" in command
    if processes > 1 or number == signal.SIGINT:
        return

    status, printed = commands.start([*command, "--steps", str(step + 3)], devices=1).wait()
    assert status == 0
    assert f"resumed at step {step:,}" in printed
    assert commands.start(pretrain(rows, tmp_path / "whole", step + 3, 1000), devices=1).wait()[0] == 0
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
    print(f"{kills} killed, {unfinished} of them while they wrote a checkpoint, at step {saved_steps(out)[-1]}")
    assert unfinished
    resumed = commands.start([*pretrain(rows, out, steps, 1000), "--resume"], devices=1)
    assert resumed.wait()[0] == 0
    whole = commands.start(pretrain(rows, tmp_path / "whole", steps, 1000), devices=1)
    assert whole.wait()[0] == 0
    assert_same_end(out, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "devices"), [(0, 2), (1, 2), pytest.param(1, 4, marks=pytest.mark.by_hand)])
def test_the_end_of_one_process_ends_the_other_and_one_alone_goes_on(
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
    status, printed = commands.start([*pretrain(rows, out, step + 4, 4), "--resume"], devices=1).wait()
    assert status == 0
    assert f"resumed at step {step}" in printed


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_stays(commands: Any, rows: Path, tmp_path: Path) -> None:
    """A process that may write no file as large as a checkpoint's."""
    out = tmp_path / "run"
    wider = ["--model.hidden-size", "64"]
    assert commands.start([*pretrain(rows, out, 4, 4), *wider], devices=1).wait()[0] == 0
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


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--processes 2", "--distributed"),
        ("--distributed --processes 2", "--coordinator, --processes and --process"),
        ("--distributed --coordinator here --processes 2 --process 0", "here"),
        ("--distributed --coordinator a:1 --processes 2 --process 2", "--process 2"),
        ("--distributed --join-timeout 0", "--join-timeout is 0"),
    ],
)
def test_flags_of_processes_that_make_no_sense_together(
    rows: Path, tmp_path: Path, fails: Callable[..., str], flags: str, named: str
) -> None:
    assert named in fails(*pretrain(rows, tmp_path / "run", 4, 4), *flags.split(), within=tmp_path)
