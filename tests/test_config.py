"""Presets are the paper's, configurations survive JSON, and what contradicts itself fails at once."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dnabert_jax.config import (
    MaskingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    TaskConfig,
)
from dnabert_jax.errors import InputError
from dnabert_jax.families import PRESETS
from dnabert_jax.typed_json import read_json, to_json


@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_the_dnabert_presets_are_the_papers_recipe(k: int) -> None:
    config = PRESETS[f"dnabert{k}"]
    model, masking, optimizer = config.model, config.masking, config.optimizer
    assert (model.k, model.num_layers, model.hidden_size, model.num_heads) == (k, 12, 768, 12)
    assert (model.intermediate_size, model.max_positions, model.layer_norm_epsilon) == (3072, 512, 1e-12)
    assert (model.dropout, model.attention_dropout, model.initializer_range) == (0.1, 0.1, 0.02)
    assert (masking.rate, masking.late_rate, masking.late_from_step) == (0.15, 0.20, 100_000)
    assert (optimizer.peak_learning_rate, optimizer.warmup_steps, optimizer.schedule_steps) == (4e-4, 10_000, 200_000)
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.weight_decay) == (0.9, 0.98, 1e-6, 0.01)
    assert (config.steps, config.global_batch % 256) == (120_000, 0)


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_json(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(to_json(PRESETS[name]))
    assert read_json(PretrainConfig, tmp_path / "config.json") == PRESETS[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(colour="red"), "colour"),
        (lambda c: c["model"].update(depth=3), "depth"),
        (lambda c: c.update(seed="0"), "seed"),
        (lambda c: c["model"].update(compute_dtype="float8"), "compute_dtype"),
        (lambda c: c["optimizer"].update(beta1=2.0), "beta1 is 2.0"),
        (lambda c: c.update(model=3), "model"),
    ],
)
def test_a_damaged_configuration_is_refused_by_name(write: Callable[..., Path], change, message: str) -> None:
    content = json.loads(to_json(PRESETS["tiny"]))
    change(content)
    path = write("config.json", json.dumps(content))
    with pytest.raises(InputError, match=rf"config\.json cannot be used as PretrainConfig: .*{message}"):
        read_json(PretrainConfig, path)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"3"])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json cannot be used"):
        read_json(PretrainConfig, tmp_path / "config.json")


@pytest.mark.parametrize(
    "build",
    [
        lambda: ModelConfig(hidden_size=100, num_heads=12),
        lambda: ModelConfig(k=9),
        lambda: ModelConfig(num_layers=0),
        lambda: ModelConfig(dropout=1.0),
        lambda: MaskingConfig(rate=0.0),
        lambda: MaskingConfig(mask_share=0.8, random_share=0.3),
        lambda: OptimizerConfig(warmup_steps=10, schedule_steps=10),
        lambda: OptimizerConfig(peak_learning_rate=0.0),
        lambda: OptimizerConfig(weight_decay=float("nan")),
        lambda: OptimizerConfig(epsilon=-1.0),
        lambda: OptimizerConfig(peak_learning_rate=float("inf")),
        lambda: ModelConfig(layer_norm_epsilon=-1e-12),
        lambda: MeshConfig(data=0),
        lambda: MeshConfig(tensor=-1),
        lambda: PretrainConfig(steps=200_001),
        lambda: PretrainConfig(global_batch=0),
        lambda: PretrainConfig(seed=-1),
    ],
)
def test_contradictions_fail_at_the_start(build) -> None:
    with pytest.raises(InputError):
        build()


def test_the_vocabulary_is_padded_to_a_multiple_of_128() -> None:
    sizes = [ModelConfig(k=k).padded_vocabulary_size for k in (3, 4, 5, 6)]
    assert sizes == [128, 384, 1152, 4224]


@pytest.mark.parametrize(
    "long",
    [
        {"long": "gru", "split": 3, "num_rnn_layer": 2, "rnn_dropout": 0.2},
        {"long": "attention", "split": 3, "window": 510, "overlap": 63},
    ],
)
def test_a_task_survives_json(tmp_path: Path, long: dict) -> None:
    task = TaskConfig("regression", ("signal", "fold"), **long)
    (tmp_path / "task.json").write_text(to_json(task))
    assert read_json(TaskConfig, tmp_path / "task.json") == task


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"problem": "single_label_classification", "labels": ("one",)}, "at least 2"),
        ({"problem": "regression", "labels": ()}, "at least 1"),
        ({"problem": "multi_label_classification", "labels": ("a", "")}, "none empty"),
        ({"problem": "multi_label_classification", "labels": ("a", "b", "a")}, "no two the same"),
        ({"problem": "regression", "labels": ("a",), "dropout": 1.0}, "dropout is 1.0"),
        ({"problem": "regression", "labels": ("a",), "long": "lstm", "rnn_dropout": -0.1}, "rnn_dropout is -0.1"),
        ({"problem": "regression", "labels": ("a",), "split": 2}, "split is 2: only with"),
        ({"problem": "regression", "labels": ("a",), "long": "gru", "num_rnn_layer": 0}, "num_rnn_layer is 0"),
        ({"problem": "regression", "labels": ("a",), "window": 10}, "window is 10: only with"),
        ({"problem": "regression", "labels": ("a",), "long": "mean"}, "window is 0: mean is over windows"),
        ({"problem": "regression", "labels": ("a",), "long": "gru", "overlap": 1}, "overlap is 1"),
        ({"problem": "regression", "labels": ("a",), "long": "gru", "window": 9, "overlap": 9}, "overlap is 9"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TaskConfig(**settings)
