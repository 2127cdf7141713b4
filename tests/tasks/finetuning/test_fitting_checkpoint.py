"""A fine-tuning that is stopped anywhere and goes on ends to the bit as one that was not."""

import contextlib
import dataclasses
import functools
import itertools
from pathlib import Path

import jax
import numpy as np
import pytest

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.tasks.finetuning import fitting
from dnabert_jax.tasks.finetuning.checkpoint import (
    FittingCheckpoint,
    StartingPoint,
    StoppedError,
    check_unfinished,
    weights_digest,
)
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FittingObserver
from dnabert_jax.tasks.finetuning.fitting import Fitted, Job
from dnabert_jax.tasks.finetuning.lockstep import Lockstep
from dnabert_jax.telemetry.run_log import read_log
from dnabert_jax.training.saved_model import Description, SavedModel
from tests.tasks.finetuning.conftest import TASK, Counting, Judged, assert_same, random_parts, sequences

MODEL = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16, max_positions=16)
CONFIG = dataclasses.replace(
    FINETUNE_PRESETS["dnabert"], train="head", epochs=3, batch_size=8, peak_learning_rate=1e-2, restarts=1
)
"""Training the head alone compiles in a moment, and the state is of the same kind."""
START = StartingPoint("model", 7, "w", TASK, {"train": "a", "validation": "b", "test": "c"}, 2, CONFIG)
SILENT = FittingObserver()


def job(name: str, count: int, validated: int, seed: int) -> Job:
    train, validation = (sequences(MODEL, size, seed + size, 12, 12) for size in (count, validated))
    return Job(name, train, validation, seed)


def run(
    *checkpoint: FittingCheckpoint, devices: int = 2, observer: FittingObserver = SILENT, train: str = "head"
) -> list[Fitted]:
    """Three jobs, of which one is shorter and another collapses at first: 3 x 5 steps, then 3 x 4."""
    parameters, settings = random_parts(MODEL, None, ["backbone"]), {"collapsed": lambda _, targets: len(targets) == 38}
    config = dataclasses.replace(CONFIG, train=train)
    judged = Judged(MODEL, parameters, TASK, config, jax.devices()[:devices], **settings)
    return judged.run([job(str(size), size, 8 + size, size) for size in (40, 17, 30)], observer, *checkpoint)


@pytest.fixture(scope="module")
def whole() -> list[Fitted]:
    return run()


def stopping_after(out: Path, steps: int) -> FittingCheckpoint:
    """Of a run that is asked to stop after some steps, or at the end of an epoch, whichever it asks first."""
    asked = itertools.count(1)
    return FittingCheckpoint(out, START, "loss", lambda: next(asked) > steps)


def test_stopped_again_and_again_it_ends_the_same(whole: list[Fitted], tmp_path: Path) -> None:
    """Within an epoch, at the end of one, at the end of the attempt, and among the restarts."""
    out = tmp_path / "run"
    for asked, step in ((2, 3), (1, 5), (9, 15), (4, 20)):
        with stopping_after(out, asked) as checkpoint, pytest.raises(StoppedError):
            run(checkpoint)
        assert checkpoint.saved_steps == step
    observer = Counting()
    with FittingCheckpoint(out, START, "loss", lambda: False) as checkpoint:
        assert_same(run(checkpoint, observer=observer), whole)
    assert observer.steps == [15, 5, *[1] * 7]
    assert [one.collapsed for one in whole] == [0, 0, 2]
    log = read_log(checkpoint.directory)
    first, second = (
        itertools.product((5, 10, 15), ("40", "17", "30")),
        ((step, "30, attempt 2") for step in (19, 23, 27)),
    )
    assert [(line["step"], line["kind"]) for line in log] == [*first, *second]
    # The loss is better, the lower it is: figures are kept with the sign turned, and logged as they are.
    last = {line["kind"]: (line["loss"], -line["validation_loss"]) for line in log}
    assert last["40"] == (whole[0].losses[-1], whole[0].figures[-1])
    assert last["30, attempt 2"] == (whole[2].losses[-1], whole[2].figures[-1])


def test_it_goes_on_with_another_number_of_devices(whole: list[Fitted], tmp_path: Path) -> None:
    """Three jobs fill the places of one device, and leave one of four on two."""
    with stopping_after(tmp_path / "run", 7) as checkpoint, pytest.raises(StoppedError):
        run(checkpoint, devices=1)
    with FittingCheckpoint(tmp_path / "run", START, "loss", lambda: False) as checkpoint:
        assert_same(run(checkpoint, devices=2), whole, atol=1e-5)


def test_an_encoder_goes_on_in_parts_on_more_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three jobs, each on a device, become four on two groups of four devices."""
    expected = run(devices=1, train="full")
    monkeypatch.setattr(fitting, "Lockstep", functools.partial(Lockstep, whole_up_to=0))
    with stopping_after(tmp_path / "run", 7) as checkpoint, pytest.raises(StoppedError):
        run(checkpoint, devices=1, train="full")
    with FittingCheckpoint(tmp_path / "run", START, "loss", lambda: False) as checkpoint:
        assert_same(run(checkpoint, devices=8, train="full"), expected, atol=1e-5)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    with stopping_after(out, 2) as checkpoint, pytest.raises(StoppedError):
        run(checkpoint)
    return out


def test_the_digest_of_a_model_is_that_of_earlier_versions() -> None:
    """Else what they have begun could not be resumed."""
    model = SavedModel(Description(MODEL, None, {}), 0, {"backbone": {"table": np.zeros((2, 3), np.float32)}})
    assert weights_digest(model) == "b1ac134a01d010185a1b73823808c7c6d434b08fa2197feb0a574ec7b53f9eb5"


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"config": dataclasses.replace(CONFIG, epochs=4)}, "epochs 3"),
        ({"seeds": 3}, "seeds 2"),
        ({"weights": "v", "step": 8}, "step 7"),
        ({"task": TaskConfig("regression", ("y",))}, "no, yes"),
        ({"splits": {"train": "a", "validation": "b", "test": "d"}}, "test split"),
        # A copy of the model elsewhere is the same model.
        ({"model": "moved"}, ""),
    ],
)
def test_another_start_is_refused_by_what_differs(unfinished: Path, changed: dict, difference: str) -> None:
    start = dataclasses.replace(START, **changed)
    assert difference in start.difference(START)
    with pytest.raises(InputError, match=difference) if difference else contextlib.nullcontext():
        FittingCheckpoint(unfinished, start, "loss", lambda: False)


def test_what_is_there_is_gone_on_with_on_request_and_by_one_job(unfinished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--resume"):
        check_unfinished(unfinished, resume=False)
    check_unfinished(unfinished, resume=True)
    (tmp_path / "other.unfinished").mkdir()
    check_unfinished(tmp_path / "other", resume=False)
    (tmp_path / "other.unfinished/notes.txt").touch()
    for resume in (False, True):
        with pytest.raises(InputError, match=r"other\.unfinished"):
            check_unfinished(tmp_path / "other", resume)
    with FittingCheckpoint(unfinished, START, "loss", lambda: False) as one, one.attempt(0, []):
        other = FittingCheckpoint(unfinished, START, "loss", lambda: False)
        with other, pytest.raises(InputError, match="Another job"):
            run(other)


def test_losses_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    """Not even when it is asked to stop."""
    broken = dataclasses.replace(CONFIG, peak_learning_rate=1e30, clip_norm=1e30, train="full", warmup_share=0.0)
    fitting = Judged(MODEL, random_parts(MODEL, None, ["backbone"]), TASK, broken, jax.devices()[:1])
    with stopping_after(tmp_path / "run", 3) as checkpoint, pytest.raises(JobError, match=r"^a: .* step \d") as raised:
        fitting.run([job("a", 80, 8, 0)], SILENT, checkpoint)
    assert not isinstance(raised.value, StoppedError)
    assert checkpoint.saved_steps == 0
