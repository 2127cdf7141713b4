"""Sets that are fine-tuned together ask the same of a model, and settings that mean nothing for them are refused."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
import pytest

from dnabert_jax.config import ModelConfig, TaskConfig, TrainingLengths
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.datasets.labelled import LabelledData, read_labelled
from dnabert_jax.tasks.finetuning.checkpoint import FittingCheckpoint, StoppedError
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.finetune import Finetuned, finetune_sets
from dnabert_jax.tasks.finetuning.starting_point import StartingPoint
from dnabert_jax.training.saved_model import Description, SavedModel

MODEL = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16, max_positions=12)
FROM_SCRATCH = SavedModel(Description(MODEL, None, {}), 0, {})


START = StartingPoint("model", 0, "w", TaskConfig("single_label_classification", ("0", "1")), {}, 1, FinetuneConfig())


class Silent:
    def stepped(self, done: int, total: int) -> None:
        pass

    def epoch_ended(self, job: str, epoch: int, loss: float, figure: float) -> None:
        pass

    def advanced(self, what: str, done: int, total: int) -> None:
        pass

    def restarted(self, job: str, seed: int) -> None:
        pass


def data(path: Path, labels: Sequence[str], bases: int = 10) -> LabelledData:
    rows = [
        f"{split},{'ACGT'[number % 4] * (bases - 1)}G,{labels[number % len(labels)]}\n"
        for split in ("train", "dev", "test")
        for number in range(4)
    ]
    path.write_text("split,sequence,label\n" + "".join(rows))
    return read_labelled(path, MODEL.tokenizer)


def finetuned(sets: dict[str, LabelledData], **changed: object) -> dict[str, Finetuned]:
    config = FinetuneConfig(epochs=1, batch_size=4, restarts=0, **changed)
    return finetune_sets(FROM_SCRATCH, sets, config, 1, jax.devices()[:1], Silent())


def test_the_metric_of_one_label_selects_by_its_name(tmp_path: Path) -> None:
    several = data(tmp_path / "several.csv", ("CTCF", "MAX", "CTCF;MAX", ""))
    done = finetuned({"several": several}, select_by="accuracy/MAX")["several"]
    assert done.fitted[0].figures[0] in (0, 0.25, 0.5, 0.75, 1)
    others = data(tmp_path / "others.csv", ("MAX", "MYC", "MAX;MYC", ""))
    with pytest.raises(InputError, match="do not ask the same of a model"):
        finetuned({"several": several, "others": others}, select_by="accuracy/MAX")


def test_sets_whose_windows_are_laid_side_by_side_have_equally_many(tmp_path: Path) -> None:
    """Else the network of one would depend on its neighbours."""
    sets = {str(bases): data(tmp_path / f"{bases}.csv", ("0", "1"), bases) for bases in (20, 40)}
    with pytest.raises(InputError, match="20, 40 do not ask the same of a model"):
        finetuned(sets, long="concatenation")


@pytest.mark.parametrize("labels", [("0.5", "1.5"), ("a;b", "b", "a", "")])
def test_balanced_weights_are_of_labels_that_exclude_each_other(tmp_path: Path, labels: Sequence[str]) -> None:
    with pytest.raises(InputError, match="class_weights is balanced"):
        finetuned({"one": data(tmp_path / "one.csv", labels)}, class_weights="balanced")


@pytest.mark.parametrize("number", [1, 2])
def test_a_stop_after_the_training_is_heard_and_a_resumed_run_ends_the_same(tmp_path: Path, number: int) -> None:
    """The first part after it predicts, the second resamples."""
    sets = {"one": data(tmp_path / "one.csv", ("0", "1"))}
    whole = finetuned(sets)["one"]
    config = FinetuneConfig(epochs=1, batch_size=4, restarts=0)
    parts: list[str] = []

    class Observer(Silent):
        def advanced(self, what: str, done: int, total: int) -> None:
            parts.extend([what] * (what not in parts))

    def run(stop: Callable[[], bool]) -> Finetuned:
        with FittingCheckpoint(tmp_path / "run", START, "mcc", stop) as checkpoint:
            return finetune_sets(FROM_SCRATCH, sets, config, 1, jax.devices()[:1], Observer(), checkpoint)["one"]

    with pytest.raises(StoppedError):
        run(lambda: len(parts) == number)
    assert len(parts) == number
    resumed = run(lambda: False)
    assert resumed.result.seeds[0].metrics == whole.result.seeds[0].metrics
    np.testing.assert_array_equal(resumed.scores, whole.scores)
    assert (resumed.result.lengths, resumed.result.counts["test"]) == (TrainingLengths(10, 10, 10), (2, 2))
