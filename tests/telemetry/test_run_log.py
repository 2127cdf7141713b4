"""The log outlives the process that wrote it, in both of its forms."""

import dataclasses
import time
from pathlib import Path
from typing import get_args

import grain
import pytest
from matplotlib.image import imread
from tensorboardX.proto.event_pb2 import Event

from dnabert_jax.config import ModelConfig, PretrainConfig
from dnabert_jax.errors import InputError
from dnabert_jax.parallel.chips import CHIPS
from dnabert_jax.telemetry import speed
from dnabert_jax.telemetry.run_log import LOG_FILE, RunLog, draw_loss_curve, read_log
from dnabert_jax.telemetry.speed import Profiler, step_flops
from dnabert_jax.training.loop import pretrain


def events(directory: Path) -> set[tuple[str, int, float]]:
    """Tag, step and value of every scalar of the event files."""
    files = map(str, (directory / "tensorboard").glob("events.*"))
    records = (record for file in files for record in grain.experimental.TFRecordIterDataset(file))
    read = map(Event.FromString, records)
    return {(value.tag, event.step, value.simple_value) for event in read for value in event.summary.value}


def test_lines_events_and_the_picture_tell_the_same(tmp_path: Path) -> None:
    run = tmp_path / "$$"
    run.mkdir()
    figures = {"training": {"loss": 4.0, "accuracy": 0.5}, "evaluation": {"loss": 3.0, "accuracy": 0.5}}
    with RunLog(run, 0) as log:
        for kind, values in figures.items():
            log.write(1, kind, values)
    assert read_log(run) == [{"step": 1, "kind": kind, **values} for kind, values in figures.items()]
    assert events(run) == {(f"{kind}/{name}", 1, value) for kind in figures for name, value in figures[kind].items()}
    draw_loss_curve(run, tmp_path / "loss.png")
    picture = imread(tmp_path / "loss.png")
    assert picture.shape > (400, 1000)
    assert len({tuple(pixel) for row in picture[::7, ::7, :3] for pixel in row.tolist()}) > 10


def test_a_resumed_log_has_every_step_once_though_the_process_was_killed(tmp_path: Path) -> None:
    with RunLog(tmp_path, 0) as killed:
        for step in (1, 2, 3):
            killed.write(step, "training", {"loss": float(step)})
    # Killed here, when half a line was written.
    with (tmp_path / LOG_FILE).open("a") as file:
        file.write('{"step": 4, "ki')
    # Events written in another second, and so under another name, are replaced, and profiles are not.
    (written,) = (tmp_path / "tensorboard").iterdir()
    written.rename(written.with_name("events.out.tfevents.1500000000.host"))
    profile = tmp_path / "tensorboard" / "plugins" / "profile" / "from-step-1-process-0" / "host.xplane.pb"
    profile.parent.mkdir(parents=True)
    profile.write_bytes(b"traced")
    with RunLog(tmp_path, resumed_from=2) as resumed:
        resumed.write(3, "training", {"loss": 30.0})
    assert [(line["step"], line["loss"]) for line in read_log(tmp_path)] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert events(tmp_path) == {("training/loss", 1, 1.0), ("training/loss", 2, 2.0), ("training/loss", 3, 30.0)}
    assert profile.read_bytes() == b"traced"


def test_tensorboard_shows_what_is_asked_of_a_run(
    small_model: ModelConfig, sample_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig(
        model=dataclasses.replace(small_model, num_layers=1, dropout=0.0, attention_dropout=0.0),
        global_batch=8, steps=5, log_every=2, evaluate_every=3, evaluation_rows=8, checkpoint_every=3,
    )  # fmt: skip
    monkeypatch.setattr(speed, "chip_of", lambda device: dataclasses.replace(CHIPS[0], peak_flops=1e9))
    begin = time.perf_counter()
    pretrain(config, sample_rows, tmp_path, profiler=Profiler(tmp_path, 1, 2))
    wall = time.perf_counter() - begin
    shown = {(tag, step): value for tag, step, value in events(tmp_path)}
    times = {f"seconds_{phase}" for phase in get_args(speed.Phase)}
    assert {tag for tag, _ in shown} >= {f"training/{name}" for name in times | {"loss", "accuracy", "tokens"}}
    assert {step for tag, step in shown if tag == "training/mfu"} == {2, 4, 5}
    assert {step for tag, step in shown if tag == "evaluation/hidden_base_accuracy"} == {3, 5}
    assert shown["training/mask_rate", 2] == pytest.approx(0.15)
    trained = shown["training/seconds_data", 4] + shown["training/seconds_step", 4]
    per_step = shown["training/mfu", 4] * 1e9 * 8 * trained / 2
    assert per_step == pytest.approx(step_flops(config.model, 8, 64, 0.15), rel=1e-5)
    # Figures are read one step later, when batch 5 was waited for already, and step 3 was followed by a pause.
    spent = {step: {name for name in times if shown[f"training/{name}", step] > 0} for step in (2, 4, 5)}
    assert spent[2] == {"seconds_startup", "seconds_data", "seconds_step", "seconds_profile"}
    assert spent[4] == {"seconds_data", "seconds_step", "seconds_checkpoint", "seconds_evaluation"}
    assert spent[5] == {"seconds_step"}
    assert sum(value for (tag, _), value in shown.items() if "seconds_" in tag) < wall


def test_a_damaged_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_bytes(b"\xff\x00\n")
    with pytest.raises(InputError, match=r"log\.jsonl is damaged"):
        RunLog(tmp_path, 0)
