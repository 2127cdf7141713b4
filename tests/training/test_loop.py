"""A run that was stopped and resumed ends with the parameters, to the bit, of one that was not."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from dnabert_jax.config import ExecutionConfig, MeshConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.errors import InputError
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.telemetry.run_log import read_log
from dnabert_jax.training.evaluation import Evaluation
from dnabert_jax.training.loop import RunResult, pretrain
from dnabert_jax.training.run_directory import read_run_config
from dnabert_jax.training.saved_model import read_saved_model
from dnabert_jax.typed_json import to_json


class Recorder:
    """Keeps what the loop tells, and can stop it as a signal would."""

    def __init__(self, stop_after: int | None = None):
        self.stop_after = stop_after
        self.checked_bytes = 0
        self.steps: list[int] = []
        self.figures: dict[int, dict[str, float]] = {}
        self.evaluations: dict[int, Evaluation] = {}

    def checked(self, done: int, total: int) -> None:
        self.checked_bytes += done
        self.data_bytes = total

    def started(self, step: int, steps: int, heldout: bool) -> None:
        self.start = (step, steps, heldout)

    def stepped(self, step: int) -> None:
        self.steps.append(step)
        if step == self.stop_after:
            raise KeyboardInterrupt

    def trained(self, step: int, figures: dict[str, float]) -> None:
        self.figures[step] = figures

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        self.evaluations[step] = evaluation


def saved_steps(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit())


def leaves(run: Path) -> list[np.ndarray]:
    return jax.tree.leaves(read_saved_model(run).parameters)


def untimed(lines: list[dict]) -> list[dict]:
    return [{name: line[name] for name in line if "second" not in name} for line in lines]


Whole = tuple[Path, Recorder, RunResult]


@pytest.fixture(scope="module")
def every_step(config: PretrainConfig) -> PretrainConfig:
    """Logged at every step."""
    return dataclasses.replace(config, log_every=1)


@pytest.fixture(scope="module")
def whole(every_step: PretrainConfig, sample_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """An undisturbed run, what was told of it, and how it ended."""
    out, recorder = tmp_path_factory.mktemp("whole") / "run", Recorder()
    return out, recorder, pretrain(every_step, sample_rows, out, [recorder])


@pytest.fixture(scope="module")
def after_two(config: PretrainConfig, sample_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, with one checkpoint, to be copied."""
    out = tmp_path_factory.mktemp("after-two") / "run"
    pretrain(dataclasses.replace(config, steps=2), sample_rows, out)
    return out


def test_observers_are_told_of_every_step_and_evaluation(whole: Whole) -> None:
    _, recorder, result = whole
    assert result.step == 6
    assert result.evaluation == recorder.evaluations[6]
    assert recorder.checked_bytes == recorder.data_bytes > 0
    assert recorder.steps == [1, 2, 3, 4, 5, 6]
    assert sorted(recorder.figures) == [1, 2, 3, 4, 5, 6]
    assert sorted(recorder.evaluations) == [3, 6]


@pytest.mark.parametrize(("checkpoint", "stop_after"), [(2, 4), (4, 6)])
def test_a_stopped_and_resumed_run_ends_as_an_undisturbed_one(
    every_step: PretrainConfig, sample_rows: Path, whole: Whole, tmp_path: Path, checkpoint: int, stop_after: int
) -> None:
    """Stopped between the figures of a step and its checkpoint, with lines in the log that are to happen again."""
    undisturbed, _, result = whole
    with pytest.raises(KeyboardInterrupt):
        pretrain(every_step, sample_rows, tmp_path / "stopped", [Recorder(stop_after=stop_after)])
    logged = [line["step"] for line in read_log(tmp_path / "stopped")]
    assert logged[-1] > checkpoint, "something was logged that will happen again"
    resumed = Recorder()
    again = pretrain(every_step, sample_rows, tmp_path / "stopped", [resumed], resume=True)
    assert resumed.start == (checkpoint, 6, True)
    assert again.evaluation == result.evaluation
    for ours, theirs in zip(leaves(tmp_path / "stopped"), leaves(undisturbed), strict=True):
        assert np.array_equal(ours, theirs)
    assert untimed(read_log(tmp_path / "stopped")) == untimed(read_log(undisturbed))


def test_a_finished_run_resumes_to_nothing_and_can_be_prolonged(
    config: PretrainConfig, sample_rows: Path, finished: Path, whole: Whole, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    assert pretrain(config, sample_rows, tmp_path / "run", resume=True) == whole[2]
    longer = dataclasses.replace(config, steps=8, mesh=MeshConfig(data=4, tensor=2))
    assert pretrain(longer, sample_rows, tmp_path / "run", resume=True).step == 8
    assert read_run_config(tmp_path / "run") == longer
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit()) == [
        "6",
        "8",
    ]


def test_the_log_tells_what_happened(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    lines = read_log(tmp_path / "run")
    assert [(line["step"], line["kind"]) for line in lines] == [
        (2, "training"), (3, "evaluation"), (4, "training"), (6, "training"), (6, "evaluation"),
    ]  # fmt: skip
    training = lines[0]
    assert training["loss"] == pytest.approx(np.log(64), rel=0.05)
    assert 400 < training["tokens"] <= 8 * 64
    # A process killed while it wrote left half a line: the rest can still be read.
    log = tmp_path / "run" / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 7, "ki')
    assert read_log(tmp_path / "run") == lines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "started with seed 0: it cannot be resumed with 1"),
        ({"global_batch": 16}, "started with global_batch 8"),
        ({"optimizer": OptimizerConfig()}, "started with optimizer.peak_learning_rate 0.001"),
    ],
)
def test_another_run_is_not_resumed(
    config: PretrainConfig, sample_rows: Path, tmp_path: Path, change: dict, message: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(to_json(config))
    with pytest.raises(InputError, match=message):
        pretrain(dataclasses.replace(config, **change), sample_rows, tmp_path / "run", resume=True)


def test_other_data_are_refused_on_resume(
    config: PretrainConfig, sample_rows: Path, after_two: Path, tmp_path: Path
) -> None:
    shutil.copytree(after_two, tmp_path / "run")
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    (tmp_path / "run" / "data.json").write_text(json.dumps(data | {"seed": 5}, indent=2) + "\n")
    with pytest.raises(InputError, match="data differ"):
        pretrain(config, sample_rows, tmp_path / "run", resume=True)


def test_a_shard_that_changed_under_the_same_manifest_is_refused_on_resume(
    config: PretrainConfig, sample_rows: Path, after_two: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(sample_rows, tmp_path / "rows")
    shutil.copytree(after_two, tmp_path / "run")
    (shard,) = data.glob("train-*")
    content = shard.read_bytes()
    half = len(content) // 2
    shard.write_bytes(content[half:] + content[:half])
    with pytest.raises(InputError, match=r"train-00000-of-00001\.tfrecord is not the file"):
        pretrain(config, data, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ModelConfig(k=4)}, "--k 4"),
        ({"model": ModelConfig(k=3, max_positions=32)}, "Rows of 64 tokens do not fit .* --row-length 32"),
        ({"mesh": MeshConfig(data=3)}, "impossible on 8 devices"),
        ({"global_batch": 9}, "does not divide"),
        (
            {"global_batch": 48, "execution": ExecutionConfig(gradient_accumulation=4)},
            "48 rows .* in 4 parts: choose a multiple of 32",
        ),
    ],
)
def test_what_does_not_fit_together_leaves_no_run_behind(
    config: PretrainConfig, sample_rows: Path, tmp_path: Path, change: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pretrain(dataclasses.replace(config, **change), sample_rows, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_left_alone(config: PretrainConfig, sample_rows: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("keep")
    with pytest.raises(InputError, match="--resume"):
        pretrain(config, sample_rows, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def test_data_without_a_heldout_part_train_without_evaluation(
    config: PretrainConfig, sample_rows: Path, tmp_path: Path
) -> None:
    prepare_genome(GenomeJob((HELDOUT_FASTA,), tmp_path / "rows", k=3, row_length=64, heldout_fraction=0.0))
    recorder = Recorder()
    result = pretrain(config, tmp_path / "rows", tmp_path / "run", [recorder])
    assert recorder.start == (0, 6, False)
    assert result.evaluation is None
    assert read_saved_model(tmp_path / "run").description.provenance["pretraining"]["evaluation"] is None


def test_a_run_is_not_resumed_to_a_step_before_its_checkpoint(
    config: PretrainConfig, sample_rows: Path, after_two: Path, tmp_path: Path
) -> None:
    shutil.copytree(after_two, tmp_path / "run")
    with pytest.raises(InputError, match="at step 2 already, beyond the 1 steps"):
        pretrain(dataclasses.replace(config, steps=1), sample_rows, tmp_path / "run", resume=True)
    assert read_run_config(tmp_path / "run").steps == 2


def test_a_run_killed_before_it_began_is_started(config: PretrainConfig, sample_rows: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "data.json").write_text("half of it")
    assert pretrain(dataclasses.replace(config, steps=1), sample_rows, tmp_path / "run", resume=True).step == 1


@pytest.mark.parametrize(("asked_after", "expected"), [(3, [2, 3]), (4, [2, 4])])
def test_a_run_that_is_asked_to_stop_saves_once_and_goes_on_as_if_nothing_happened(
    config: PretrainConfig, sample_rows: Path, finished: Path, whole: Whole, tmp_path: Path, asked_after: int,
    expected: list[int],
) -> None:  # fmt: skip
    recorder = Recorder()
    run = tmp_path / "run"
    stopped = pretrain(
        config, sample_rows, run, [recorder], stop_requested=lambda: len(recorder.steps) >= asked_after - 1
    )
    assert stopped.step == asked_after
    assert saved_steps(run) == expected
    assert max(recorder.figures) == asked_after, "what was not yet logged is"
    assert pretrain(config, sample_rows, run, resume=True) == whole[2]
    for ours, theirs in zip(leaves(run), leaves(finished), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("damage", ["no metadata", "metadata", "no parameters", "cut short", "empty"])
def test_a_damaged_checkpoint_is_refused_with_its_place(after_two: Path, tmp_path: Path, damage: str) -> None:
    run = shutil.copytree(after_two, tmp_path / "run")
    checkpoint = run / "checkpoints" / "2"
    if damage == "no metadata":
        (checkpoint / "_CHECKPOINT_METADATA").unlink()
    elif damage == "metadata":
        path = checkpoint / "_CHECKPOINT_METADATA"
        path.write_bytes(path.read_bytes().replace(b"evaluation", b"evaluatiom"))
    elif damage == "no parameters":
        shutil.rmtree(checkpoint / "parameters")
    elif damage == "cut short":
        for path in (checkpoint / "parameters").rglob("d/*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:10])
    else:
        (run / "checkpoints" / "99").mkdir()
    remedy = "there is no earlier one" if damage != "empty" else "export step 2 with --step 2"
    with pytest.raises(
        InputError, match=rf"checkpoints/(2|99) cannot be read, as files of it are missing or damaged: .*{remedy}"
    ):
        read_saved_model(run)


def test_reading_leaves_alone_what_a_running_job_writes(after_two: Path, tmp_path: Path) -> None:
    shutil.copytree(after_two, tmp_path / "run")
    unfinished = tmp_path / "run" / "checkpoints" / "8.orbax-checkpoint-tmp"
    unfinished.mkdir()
    (unfinished / "half").write_text("written")
    assert read_saved_model(tmp_path / "run").step == 2
    assert (unfinished / "half").read_text() == "written"


def test_damaged_heldout_rows_are_found_before_training(
    config: PretrainConfig, sample_rows: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(sample_rows, tmp_path / "rows")
    (shard,) = data.glob("heldout-*")
    content = bytearray(shard.read_bytes())
    content[100::100] = bytes(len(content[100::100]))
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"heldout-00000-of-00001\.tfrecord is not the file"):
        pretrain(config, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
