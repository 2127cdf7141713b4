"""A fine-tuning that is stopped anywhere and goes on ends to the bit as one that was not."""

import dataclasses
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.interop.huggingface import abstract_parameters
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, SEP
from dnabert_jax.tasks.finetuning.checkpoint import FittingCheckpoint, StoppedError, check_unfinished
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS
from dnabert_jax.tasks.finetuning.fitting import Fitted, Fitting
from dnabert_jax.tasks.finetuning.jobs import EncodedSplit, Job
from dnabert_jax.tasks.finetuning.starting_point import StartingPoint
from dnabert_jax.telemetry.run_log import read_log

MODEL = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16, max_positions=16)
TASK = TaskConfig("single_label_classification", ("no", "yes"))
CONFIG = dataclasses.replace(
    FINETUNE_PRESETS["dnabert"], train="head", epochs=3, batch_size=8, peak_learning_rate=1e-2, restarts=1
)
START = StartingPoint("model", 7, "w", TASK, {"train": "a", "validation": "b", "test": "c"}, 2, CONFIG)
"""Training the head alone compiles in a moment, and the state is of the same kind."""


class Silent:
    def __init__(self) -> None:
        self.steps: list[int] = []

    def stepped(self, done: int, total: int) -> None:
        self.steps.append(done)

    def epoch_ended(self, job: str, epoch: int, loss: float, figure: float) -> None:
        pass

    def advanced(self, what: str, done: int, total: int) -> None:
        pass

    def restarted(self, job: str, seed: int) -> None:
        pass


def sequences(count: int, seed: int) -> EncodedSplit:
    generator = np.random.default_rng(seed)
    rows = [np.array([CLS, *generator.integers(NUM_SPECIAL, 69, 12), SEP], np.uint16) for _ in range(count)]
    targets = np.eye(2, dtype=np.float32)[generator.integers(0, 2, count)]
    return EncodedSplit(np.concatenate(rows), np.cumsum([0, *map(len, rows)]), targets, MODEL.tokenizer)


@pytest.fixture(scope="module")
def run() -> Callable[..., list[Fitted]]:
    """Three jobs, of which one is shorter and another collapses at first: 3 x 5 steps, then 3 x 4."""
    shapes = abstract_parameters(MODEL, None, ["backbone"])
    generator = np.random.default_rng(0)
    parameters = jax.tree.map(lambda leaf: generator.normal(0, 0.1, leaf.shape).astype(np.float32), shapes)
    jobs = [Job(str(size), sequences(size, size), sequences(8 + size, size + 1), size) for size in (40, 17, 30)]

    def score(logits: np.ndarray, targets: np.ndarray) -> float:
        return float((np.asarray(jax.nn.log_softmax(logits)) * targets).sum(axis=1).mean())

    def collapsed(logits: np.ndarray, targets: np.ndarray) -> bool:
        return len(targets) == 38

    def fit(checkpoint: FittingCheckpoint | None, devices: int = 2, observer: Silent | None = None) -> list[Fitted]:
        fitting = Fitting(MODEL, parameters, TASK, CONFIG, score, collapsed, jax.devices()[:devices])
        return fitting.run(jobs, observer or Silent(), checkpoint)

    return fit


@pytest.fixture(scope="module")
def whole(run: Callable[..., list[Fitted]]) -> list[Fitted]:
    return run(None)


def stopping_after(out: Path, steps: int) -> FittingCheckpoint:
    """Of a run that is asked to stop after some steps, or at the end of an epoch, whichever it asks first."""
    asked = itertools.count(1)
    return FittingCheckpoint(out, START, "loss", lambda: next(asked) > steps)


def assert_same(ones: list[Fitted], others: list[Fitted], atol: float = 0) -> None:
    for one, other in zip(ones, others, strict=True):
        assert (one.name, one.seed, one.epoch, one.collapsed) == (other.name, other.seed, other.epoch, other.collapsed)
        np.testing.assert_allclose(one.losses, other.losses, atol=atol, rtol=0)
        np.testing.assert_allclose(one.figures, other.figures, atol=atol, rtol=0)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=0), one.parameters, other.parameters)


def test_stopped_again_and_again_it_ends_the_same(
    run: Callable[..., list[Fitted]], whole: list[Fitted], tmp_path: Path
) -> None:
    """Within an epoch, at the end of one, at the end of the attempt, and among the restarts."""
    out = tmp_path / "run"
    for asked, step in ((2, 3), (1, 5), (9, 15), (4, 20)):
        with stopping_after(out, asked) as checkpoint, pytest.raises(StoppedError, match=f"after step {step},"):
            run(checkpoint)
        assert checkpoint.saved_steps == step
    observer = Silent()
    with FittingCheckpoint(out, START, "loss", lambda: False) as checkpoint:
        assert_same(run(checkpoint, observer=observer), whole)
    assert observer.steps == [15, 5, *[1] * 7]
    assert [one.collapsed for one in whole] == [0, 0, 2]
    log = read_log(checkpoint.directory)
    kinds = [*[kind for _ in range(3) for kind in ("40", "17", "30")], *["30, attempt 2"] * 3]
    assert [(line["step"], line["kind"]) for line in log] == list(
        zip([*np.repeat([5, 10, 15], 3), 19, 23, 27], kinds, strict=True)
    )
    # The loss is better, the lower it is: figures are kept with the sign turned, and logged as they are.
    last = {line["kind"]: (line["loss"], -line["validation_loss"]) for line in log}
    assert last["40"] == (whole[0].losses[-1], whole[0].figures[-1])
    assert last["30, attempt 2"] == (whole[2].losses[-1], whole[2].figures[-1])


def test_it_goes_on_with_another_number_of_devices(
    run: Callable[..., list[Fitted]], whole: list[Fitted], tmp_path: Path
) -> None:
    """Three jobs fill the places of one device, and leave one of four on two."""
    with stopping_after(tmp_path / "run", 7) as checkpoint, pytest.raises(StoppedError):
        run(checkpoint, devices=1)
    with FittingCheckpoint(tmp_path / "run", START, "loss", lambda: False) as checkpoint:
        assert_same(run(checkpoint, devices=2), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"config": dataclasses.replace(CONFIG, epochs=4)}, "started with epochs 3: it cannot be resumed with 4"),
        ({"seeds": 3}, "started with seeds 2: it cannot be resumed with 3"),
        ({"weights": "v"}, "started with other weights than model at step 7 has now"),
        ({"weights": "v", "step": 8}, "with the model model at step 7: it cannot be resumed with model at step 8"),
        ({"task": TaskConfig("regression", ("y",))}, "other labels"),
        ({"splits": {"train": "a", "validation": "b", "test": "d"}}, "other data: the test split differs"),
    ],
)  # fmt: skip
def test_another_start_is_refused_by_what_differs(
    run: Callable[..., list[Fitted]], unfinished: Path, changed: dict, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        FittingCheckpoint(unfinished, dataclasses.replace(START, **changed), "loss", lambda: False)
    # A copy of the model elsewhere is the same model.
    FittingCheckpoint(unfinished, dataclasses.replace(START, model="moved"), "loss", lambda: False)


@pytest.fixture(scope="module")
def unfinished(run: Callable[..., list[Fitted]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    with stopping_after(out, 2) as checkpoint, pytest.raises(StoppedError):
        run(checkpoint)
    return out


def test_what_is_there_is_gone_on_with_only_on_request(unfinished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --resume to go on with it"):
        check_unfinished(unfinished, resume=False)
    check_unfinished(unfinished, resume=True)
    (tmp_path / "other.unfinished").mkdir()
    check_unfinished(tmp_path / "other", resume=False)
    (tmp_path / "other.unfinished/notes.txt").touch()
    for resume in (False, True):
        with pytest.raises(InputError, match="unfinished fine-tuning"):
            check_unfinished(tmp_path / "other", resume)


def test_two_jobs_do_not_go_on_with_the_same(run: Callable[..., list[Fitted]], unfinished: Path) -> None:
    with FittingCheckpoint(unfinished, START, "loss", lambda: False) as one, one.attempt(0, []):
        other = FittingCheckpoint(unfinished, START, "loss", lambda: False)
        with other, pytest.raises(InputError, match="Another job is writing"):
            run(other)


def test_a_damaged_checkpoint_is_named(run: Callable[..., list[Fitted]], unfinished: Path, tmp_path: Path) -> None:
    shutil.copytree(unfinished.with_name("run.unfinished"), tmp_path / "run.unfinished")
    (state,) = tmp_path.glob("run.unfinished/attempt-1/checkpoints/*/state")
    shutil.rmtree(state / "d")
    checkpoint = FittingCheckpoint(tmp_path / "run", START, "loss", lambda: False)
    with checkpoint, pytest.raises(InputError, match="checkpoints/3 cannot be read"):
        run(checkpoint)


def test_losses_that_are_not_finite_are_not_saved(run: Callable[..., list[Fitted]], tmp_path: Path) -> None:
    """Not even when it is asked to stop."""
    broken = dataclasses.replace(CONFIG, peak_learning_rate=1e30, clip_norm=1e30, train="full", warmup_share=0.0)
    parameters = jax.tree.map(
        lambda leaf: np.full(leaf.shape, 1.0, np.float32), abstract_parameters(MODEL, None, ["backbone"])
    )
    fitting = Fitting(MODEL, parameters, TASK, broken, lambda *_: 0.0, lambda *_: False, jax.devices()[:1])
    with stopping_after(tmp_path / "run", 3) as checkpoint, pytest.raises(JobError, match="not finite") as raised:
        fitting.run([Job("a", sequences(80, 0), sequences(8, 1), 0)], Silent(), checkpoint)
    assert not isinstance(raised.value, StoppedError)
    assert checkpoint.saved_steps == 0
