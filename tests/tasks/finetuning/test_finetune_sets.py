"""Sets that are fine-tuned together ask the same of a model; a probe is the regression that scikit-learn fits."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from dnabert_jax.config import ModelConfig, TaskConfig, TrainingLengths
from dnabert_jax.errors import InputError
from dnabert_jax.model.binding import bind, random_parameters
from dnabert_jax.model.classification import PooledBackbone
from dnabert_jax.tasks.datasets.labelled import LabelledData, LabelledSplit, read_labelled
from dnabert_jax.tasks.datasets.sequences import Sequences
from dnabert_jax.tasks.finetuning.checkpoint import FittingCheckpoint, StartingPoint, StoppedError
from dnabert_jax.tasks.finetuning.config import FinetuneConfig, FittingObserver
from dnabert_jax.tasks.finetuning.encoding import encode_split
from dnabert_jax.tasks.finetuning.finetune import Finetuned, finetune_sets
from dnabert_jax.tasks.finetuning.fitting import Fitting
from dnabert_jax.tasks.finetuning.probe import fit_probe, pooled_vectors, probe_logits
from dnabert_jax.training.saved_model import Description, SavedModel
from tests.tasks.conftest import write_table
from tests.tasks.finetuning.conftest import TASK

MODEL = ModelConfig(
    k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16, max_positions=32, initializer_range=0.3
)
FROM_SCRATCH = SavedModel(Description(MODEL, None, {}), 0, {})
SILENT = FittingObserver()


def data(path: Path, labels: Sequence[str], bases: int = 10) -> LabelledData:
    write_table(path, (4, 4, 4), lambda number: ("ACGT"[number % 4] * (bases - 1) + "G", labels[number % len(labels)]))
    return read_labelled(path, MODEL.tokenizer)


def finetuned(
    sets: dict[str, LabelledData], *checkpoint: FittingCheckpoint, observer: FittingObserver = SILENT, **changed
) -> dict[str, Finetuned]:
    config = FinetuneConfig(epochs=1, batch_size=4, restarts=0, **changed)
    return finetune_sets(FROM_SCRATCH, sets, config, 1, jax.devices()[:1], observer, *checkpoint)


def test_the_metric_of_one_label_selects_by_its_name_and_sets_that_differ_are_refused(tmp_path: Path) -> None:
    several = data(tmp_path / "several.csv", ("CTCF", "MAX", "CTCF;MAX", ""))
    done = finetuned({"several": several}, select_by="accuracy/MAX")["several"]
    assert done.fitted[0].figures[0] in (0, 0.25, 0.5, 0.75, 1)
    others = data(tmp_path / "others.csv", ("MAX", "MYC", "MAX;MYC", ""))
    with pytest.raises(InputError, match="several, others"):
        finetuned({"several": several, "others": others}, select_by="accuracy/MAX")
    # Of windows that lie side by side, each set has equally many, else the network would depend on its neighbours.
    sets = {str(bases): data(tmp_path / f"{bases}.csv", ("0", "1"), bases) for bases in (20, 40)}
    with pytest.raises(InputError, match="20, 40"):
        finetuned(sets, long="concatenation", window=10)


@pytest.mark.parametrize("labels", [("0.5", "1.5"), ("a;b", "b", "a", "")])
def test_balanced_weights_are_of_labels_that_exclude_each_other(tmp_path: Path, labels: Sequence[str]) -> None:
    with pytest.raises(InputError, match="class_weights"):
        finetuned({"one": data(tmp_path / "one.csv", labels)}, class_weights="balanced")


@pytest.mark.parametrize("number", [1, 2])
def test_a_stop_after_the_training_is_heard_and_a_resumed_run_ends_the_same(tmp_path: Path, number: int) -> None:
    """The first part after it predicts, the second resamples."""
    sets = {"one": data(tmp_path / "one.csv", ("0", "1"))}
    whole = finetuned(sets)["one"]
    start = StartingPoint("model", 0, "w", TASK, {}, 1, FinetuneConfig())
    parts: list[str] = []

    class Observer(FittingObserver):
        def advanced(self, what: str, done: int, total: int) -> None:
            parts.extend([what] * (what not in parts))

    def run(stop: Callable[[], bool]) -> Finetuned:
        with FittingCheckpoint(tmp_path / "run", start, "mcc", stop) as checkpoint:
            return finetuned(sets, checkpoint, observer=Observer())["one"]

    with pytest.raises(StoppedError):
        run(lambda: len(parts) == number)
    assert len(parts) == number
    resumed = run(lambda: False)
    assert resumed.result.seeds[0].metrics == whole.result.seeds[0].metrics
    np.testing.assert_array_equal(resumed.scores, whole.scores)
    assert (resumed.result.lengths, resumed.result.counts["test"]) == (TrainingLengths(10, 10, 10), (2, 2))


def pretrained() -> SavedModel:
    backbone = random_parameters(PooledBackbone, jax.random.key(0), MODEL)["backbone"]
    return dataclasses.replace(FROM_SCRATCH, parameters={"backbone": jax.device_get(backbone)})


def gc_rich(path: Path, every: int = 2) -> LabelledData:
    """Sequences of which those with label 1, one in `every`, have more G and C."""
    draw = np.random.default_rng(0)

    def row(number: int) -> tuple[str, int]:
        label = int(number % every == 0)
        return "".join(draw.choice(list("ACTG"), 20, p=[0.3 - 0.2 * label, 0.2 + 0.2 * label] * 2)), label

    return read_labelled(write_table(path, (60, 40, 40), row), MODEL.tokenizer)


def probed(rows: LabelledData, **changed: object) -> Finetuned:
    config = FinetuneConfig(**{"train": "probe", "strands": "both", "batch_size": 8, "epochs": 2} | changed)
    return finetune_sets(pretrained(), {"it": rows}, config, 1, jax.devices()[:1], SILENT)["it"]


@pytest.mark.parametrize(
    ("problem", "outputs", "classes"),
    [
        ("single_label_classification", 2, 2),
        ("single_label_classification", 3, 3),
        ("single_label_classification", 3, 2),  # one has no examples
        ("multi_label_classification", 2, 0),
        ("regression", 2, 0),
    ],
)
def test_the_last_layer_is_the_regression_on_scaled_vectors(
    problem: Any, outputs: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, task = np.random.default_rng(0), TaskConfig(problem, ("x", "y", "z")[:outputs])
    vectors = {"train": draw.normal(3, 2, (40, 2, 5)), "validation": draw.normal(3, 2, (40, 2, 5))}
    learned = {
        "single_label_classification": lambda signal: signal[:, :classes].argmax(axis=1).astype(np.int32),
        "multi_label_classification": lambda signal: (signal[:, :2] > 0).astype(np.uint8),
        "regression": lambda signal: signal[:, :2].astype(np.float32),
    }[problem]
    labels = {split: learned(rows.mean(axis=1) - 3 + draw.normal(0, 1, (40, 5))) for split, rows in vectors.items()}
    monkeypatch.setattr("dnabert_jax.tasks.finetuning.probe.INVERSE_PENALTIES", (0.1,))
    strands, target = vectors["train"].reshape(80, 5), np.repeat(labels["train"], 2, axis=0)
    scaled = (strands - strands.mean(axis=0)) / strands.std(axis=0)
    expected = np.zeros((80, outputs))
    if classes:
        expected[:, :classes] = LogisticRegression(C=0.1).fit(scaled, target).predict_proba(scaled)
    elif task.kind.has_classes:
        both = [LogisticRegression(C=0.1).fit(scaled, column).predict_proba(scaled)[:, 1] for column in target.T]
        expected = np.stack(both, axis=1)
    else:
        expected = Ridge(10).fit(scaled, target).predict(scaled)
    splits = {split: LabelledSplit(Sequences.of([]), rows, np.arange(1, 41), "x.csv") for split, rows in labels.items()}
    logits = probe_logits(fit_probe(LabelledData(task, splits), "loss", vectors), strands[:, None])
    assert task.kind.probabilities(logits) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("pooling", ["mean", "cls", "mean-max"])
def test_vectors_are_those_of_both_strands(tmp_path: Path, pooling: str) -> None:
    rows = gc_rich(tmp_path / "rows.csv")
    task = TaskConfig("single_label_classification", ("0", "1"), pooling=pooling, strands="both")
    parameters = random_parameters(PooledBackbone, jax.random.key(0), MODEL, task)
    config = FinetuneConfig(pooling=pooling, batch_size=8)
    fitting = Fitting(MODEL, jax.device_get(parameters), task, config, jax.devices()[:1])
    split = encode_split(rows.splits["test"], task, MODEL)
    network = bind(PooledBackbone, parameters, MODEL, task)
    strands = (strand.rows(np.arange(40), (20,)).astype(np.int32) for strand in (split, split.other_strand))
    both = [network.pooled(jnp.asarray(ids)).vector for ids in strands]
    advanced: list[tuple[int, int]] = []
    vectors = pooled_vectors(fitting, 0, {"test": split}, lambda done, total: advanced.append((done, total)))["test"]
    assert vectors == pytest.approx(np.stack(both, axis=1), abs=1e-5)
    assert (sum(done for done, _ in advanced), {total for _, total in advanced}) == (80, {80})


def test_a_probe_leaves_the_encoder_as_it_is(tmp_path: Path) -> None:
    done = probed(gc_rich(tmp_path / "rows.csv"))
    (fitted,) = done.fitted
    jax.tree.map(np.testing.assert_array_equal, fitted.parameters["backbone"], pretrained().parameters["backbone"])
    assert (fitted.epoch, fitted.losses, fitted.figures) == (0, [], [])
    assert min(fitted.figure, done.result.seeds[0].metrics.values["roc_auc"].value) > 0.8


@pytest.mark.parametrize("flat", [False, True])
def test_fine_tuning_that_starts_from_the_probe_is_never_worse(
    tmp_path: Path, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a strong penalty it says the same of every sequence, and may rank them well."""
    rows = gc_rich(tmp_path / "rows.csv", every=3 if flat else 2)
    if flat:
        monkeypatch.setattr("dnabert_jax.tasks.finetuning.probe.INVERSE_PENALTIES", (1e-6,))
    probe = probed(rows)
    assert probe.fitted[0].figure > 0.7
    assert len(set(probe.scores.argmax(axis=1))) == (1 if flat else 2)
    assert probe.result.seeds[0].collapsed is False
    ruined = probed(rows, train="full", start="probe", peak_learning_rate=30.0, restarts=0)
    assert max(ruined.fitted[0].figures) < ruined.fitted[0].figure == probe.fitted[0].figure
    assert ruined.fitted[0].epoch == 0
    assert ruined.scores == pytest.approx(probe.scores, abs=1e-5)
    better = probed(rows, train="full", start="probe", epochs=4)
    assert better.fitted[0].figure == max(probe.fitted[0].figure, *better.fitted[0].figures)


def test_nothing_is_dropped_or_masked_after_a_start_from_the_probe_unless_asked_for() -> None:
    configs = FinetuneConfig(), FinetuneConfig(start="probe"), FinetuneConfig(start="probe", dropout=0.2, mask_rate=0.2)
    resolved = [config.resolved(16) for config in configs]
    assert [(config.dropout, config.mask_rate) for config in resolved] == [(None, 0.3), (0, 0), (0.2, 0.2)]
