"""The log outlives the process that wrote it, in both of its forms."""

import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from dnabert_jax.errors import InputError
from dnabert_jax.telemetry.run_log import LOG_FILE, RunLog, read_log


def events(directory: Path) -> set[tuple[str, int, float]]:
    """Tag, step and value of every scalar, read from the TFRecord framing of the event files."""
    found = set()
    for path in (directory / "tensorboard").iterdir():
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            found |= {(value.tag, event.step, value.simple_value) for value in event.summary.value}
            content = content[16 + length :]
    return found


def test_lines_and_events_tell_the_same(tmp_path: Path) -> None:
    with RunLog(tmp_path, 0) as log:
        log.write(1, "training", {"loss": 4.0, "accuracy": 0.5})
        log.write(1, "evaluation", {"loss": 3.0})
    assert read_log(tmp_path) == [
        {"step": 1, "kind": "training", "loss": 4.0, "accuracy": 0.5},
        {"step": 1, "kind": "evaluation", "loss": 3.0},
    ]
    assert events(tmp_path) == {("training/loss", 1, 4.0), ("training/accuracy", 1, 0.5), ("evaluation/loss", 1, 3.0)}


def test_a_resumed_log_has_every_step_once_though_the_process_was_killed(tmp_path: Path) -> None:
    killed = RunLog(tmp_path, 0)
    for step in (1, 2, 3):
        killed.write(step, "training", {"loss": float(step)})
    # Killed here: the events were not flushed, and half a line was written.
    with (tmp_path / LOG_FILE).open("a") as file:
        file.write('{"step": 4, "ki')
    with RunLog(tmp_path, resumed_from=2) as resumed:
        resumed.write(3, "training", {"loss": 30.0})
    assert [(line["step"], line["loss"]) for line in read_log(tmp_path)] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert events(tmp_path) == {("training/loss", 1, 1.0), ("training/loss", 2, 2.0), ("training/loss", 3, 30.0)}


def test_a_damaged_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_bytes(b"\xff\x00\n")
    with pytest.raises(InputError, match=r"log\.jsonl is damaged"):
        RunLog(tmp_path, 0)
