"""A probe is the regression that scikit-learn fits to the frozen vectors, and fine-tuning from it is never worse."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.linear_model import LogisticRegression, Ridge

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.classification import PooledBackbone
from dnabert_jax.tasks.datasets.labelled import LabelledData, read_labelled
from dnabert_jax.tasks.finetuning.config import MASK_RATE, FinetuneConfig
from dnabert_jax.tasks.finetuning.encoding import encode_split
from dnabert_jax.tasks.finetuning.finetune import Finetuned, finetune_sets
from dnabert_jax.tasks.finetuning.fitting import Fitting
from dnabert_jax.tasks.finetuning.probe import fit_probe, pooled_vectors
from dnabert_jax.training.saved_model import Description, SavedModel
from tests.tasks.finetuning.test_finetune_sets import Silent

MODEL = ModelConfig(
    k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16, max_positions=32, initializer_range=0.3
)


def pretrained(seed: int = 0) -> SavedModel:
    backbone = nnx.to_pure_dict(nnx.state(PooledBackbone(MODEL, rngs=nnx.Rngs(seed)), nnx.Param))["backbone"]
    return SavedModel(Description(MODEL, None, {}), 0, {"backbone": jax.device_get(backbone)})


def data(path: Path, every: int = 2) -> LabelledData:
    """Sequences of which those with label 1, one in `every`, have more G and C."""
    draw, rows = np.random.default_rng(0), []
    for split, count in (("train", 60), ("dev", 40), ("test", 40)):
        for number in range(count):
            label = int(number % every == 0)
            letters = "".join(draw.choice(list("ACTG"), 20, p=[0.3 - 0.2 * label, 0.2 + 0.2 * label] * 2))
            rows.append(f"{split},{letters},{label}\n")
    path.write_text("split,sequence,label\n" + "".join(rows))
    return read_labelled(path, MODEL.tokenizer)


def probed(rows: LabelledData, **changed: object) -> Finetuned:
    config = FinetuneConfig(**{"train": "probe", "strands": "both", "batch_size": 8, "epochs": 2} | changed)
    return finetune_sets(pretrained(), {"it": rows}, config, 1, jax.devices()[:1], Silent())["it"]


@pytest.mark.parametrize("problem", ["two", "three", "a class without examples", "several", "numbers"])
def test_the_last_layer_is_the_regression_on_scaled_vectors(problem: str) -> None:
    draw = np.random.default_rng(0)
    vectors = {"train": draw.normal(3, 2, (40, 2, 5)), "validation": draw.normal(3, 2, (40, 2, 5))}
    signal = {split: rows.mean(axis=1) - 3 + draw.normal(0, 1, (40, 5)) for split, rows in vectors.items()}
    if problem == "numbers":
        task, labels = TaskConfig("regression", ("x", "y")), {split: rows[:, :2] for split, rows in signal.items()}
    elif problem == "several":
        task = TaskConfig("multi_label_classification", ("x", "y"))
        labels = {split: (rows[:, :2] > 0).astype(int) for split, rows in signal.items()}
    else:
        task = TaskConfig("single_label_classification", ("x", "y") if problem == "two" else ("x", "y", "z"))
        classes = 3 if problem == "three" else 2
        labels = {split: rows[:, :classes].argmax(axis=1) for split, rows in signal.items()}
    probe = fit_probe(task, "loss", vectors, labels)
    strands = vectors["train"].reshape(80, 5)
    scaled = (strands - strands.mean(axis=0)) / strands.std(axis=0)
    target = np.repeat(labels["train"], 2, axis=0)
    columns = target.T if target.ndim > 1 else [target]
    expected = np.zeros((80, len(task.labels)))
    for number, column in enumerate(columns):
        if problem == "numbers":
            expected[:, number] = Ridge(1 / probe.inverse_penalty).fit(scaled, column).predict(scaled)
        else:
            scores = LogisticRegression(C=probe.inverse_penalty).fit(scaled, column).predict_proba(scaled)
            if problem == "several":
                expected[:, number] = scores[:, 1]
            else:
                expected[:, : scores.shape[1]] = scores
    assert task.kind.probabilities(probe.logits(strands[:, None])) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("pooling", ["mean", "cls", "mean-max"])
def test_vectors_are_those_of_both_strands(tmp_path: Path, pooling: str) -> None:
    rows = data(tmp_path / "rows.csv")
    task = TaskConfig("single_label_classification", ("0", "1"), pooling=pooling, strands="both")
    config, parameters = FinetuneConfig(pooling=pooling, batch_size=8), pretrained().parameters
    fitting = Fitting(MODEL, parameters, task, config, lambda *_: 0.0, lambda *_: False, jax.devices()[:1])
    split = encode_split(rows.splits["test"], task, MODEL.tokenizer, MODEL.max_positions)
    network = PooledBackbone(MODEL, task, rngs=nnx.Rngs(0))
    nnx.update(network, jax.tree.map(jnp.asarray, parameters))
    if pooling == "cls":
        pooler = nnx.to_pure_dict(nnx.state(network.pooler, nnx.Param))
        fitting.parameters["pooler"] = jax.device_get(pooler)
    both = [
        network.pooled(jnp.asarray(strand.rows(np.arange(40), (20,)), jnp.int32)).vector
        for strand in (split, split.other_strand)
    ]
    found = pooled_vectors(fitting, 0, {"test": split})["test"]
    assert found == pytest.approx(np.stack(both, axis=1), abs=1e-5)


def test_a_probe_leaves_the_encoder_as_it_is(tmp_path: Path) -> None:
    done = probed(data(tmp_path / "rows.csv"))
    (fitted,) = done.fitted
    jax.tree.map(np.testing.assert_array_equal, fitted.parameters["backbone"], pretrained().parameters["backbone"])
    assert fitted.epoch == 0
    assert fitted.losses == fitted.figures == []
    assert fitted.figure > 0.8
    assert done.result.seeds[0].metrics.values["roc_auc"].value > 0.8


@pytest.mark.parametrize("flat", [False, True])
def test_fine_tuning_that_starts_from_the_probe_is_never_worse(
    tmp_path: Path, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a strong penalty it says the same of every sequence, and may rank them well."""
    rows = data(tmp_path / "rows.csv", every=3 if flat else 2)
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


@pytest.mark.parametrize(("setting", "default"), [("dropout", None), ("mask_rate", MASK_RATE)])
def test_nothing_is_dropped_or_masked_after_a_start_from_the_probe_unless_asked_for(
    setting: str, default: float | None
) -> None:
    given: Any = {setting: 0.2}
    assert getattr(FinetuneConfig(start="probe").resolved(16), setting) == 0
    assert getattr(FinetuneConfig(start="probe", **given).resolved(16), setting) == 0.2
    assert getattr(FinetuneConfig().resolved(16), setting) == default
