"""Presets are the paper's, configurations survive JSON, and what contradicts itself fails at once."""

from pathlib import Path

import pytest

from dnabert_jax.config import MaskingConfig, MeshConfig, ModelConfig, OptimizerConfig, PretrainConfig, TaskConfig
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

    assert ModelConfig(k=k).padded_vocabulary_size == -(-model.vocabulary_size // 128) * 128


@pytest.mark.parametrize(
    "value",
    [
        *PRESETS.values(),
        TaskConfig("regression", ("signal", "fold"), long="gru", split=3, num_rnn_layer=2, rnn_dropout=0.2),
    ],
)
def test_a_configuration_survives_json(tmp_path: Path, value: PretrainConfig | TaskConfig) -> None:
    (tmp_path / "config.json").write_text(to_json(value))
    assert read_json(type(value), tmp_path / "config.json") == value


def test_a_damaged_configuration_is_refused_by_name(tmp_path: Path) -> None:
    path, sound = tmp_path / "config.json", to_json(PRESETS["tiny"])
    for before, after, message in (
        ('"seed": 0', '"seed": "0"', "seed"),
        ('"seed": 0', '"seed": 0, "colour": "red"', "colour"),
        ('"k": ', '"depth": 3, "k": ', "depth"),
        ('"compute_dtype": "', '"compute_dtype": "x', "compute_dtype"),
        ('"beta1": 0', '"beta1": 2', "beta1 is 2"),
        (sound, "{", ""),
        (sound, "3", ""),
        (sound, "\ud800", ""),
    ):
        assert sound.count(before) == 1
        path.write_bytes(sound.replace(before, after).encode("utf-8", "surrogatepass"))
        with pytest.raises(InputError, match=rf"config\.json cannot be used as PretrainConfig.*{message}"):
            read_json(PretrainConfig, path)


def test_contradictions_fail_at_the_start() -> None:
    for part, settings in (
        (ModelConfig, {"hidden_size": 100, "num_heads": 12}),
        *((ModelConfig, setting) for setting in ({"k": 9}, {"num_layers": 0}, {"dropout": 1.0})),
        *((MaskingConfig, setting) for setting in ({"rate": 0.0}, {"mask_share": 0.8, "random_share": 0.3})),
        (OptimizerConfig, {"warmup_steps": 10, "schedule_steps": 10}),
        *((OptimizerConfig, {"peak_learning_rate": rate}) for rate in (0.0, float("inf"), float("nan"))),
        *((MeshConfig, setting) for setting in ({"data": 0}, {"tensor": -1})),
        *((PretrainConfig, setting) for setting in ({"steps": 200_001}, {"global_batch": 0}, {"seed": -1})),
    ):
        with pytest.raises(InputError):
            part(**settings)


def test_a_task_that_contradicts_itself_is_refused() -> None:
    for settings, message in (
        ({"problem": "single_label_classification"}, "at least 2"),
        ({"labels": ()}, "at least 1"),
        ({"problem": "multi_label_classification", "labels": ("a", "")}, "none empty"),
        ({"problem": "multi_label_classification", "labels": ("a", "b", "a")}, "no two the same"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"long": "lstm", "rnn_dropout": -0.1}, "rnn_dropout is -0.1"),
        ({"split": 2}, "split is 2: only with"),
        ({"long": "gru", "num_rnn_layer": 0}, "num_rnn_layer is 0"),
        ({"window": 10}, "window is 10: only with"),
        ({"long": "mean"}, "window is 0: mean is over windows"),
        ({"long": "gru", "overlap": 1}, "overlap is 1"),
        ({"long": "gru", "window": 9, "overlap": 9}, "overlap is 9"),
    ):
        with pytest.raises(InputError, match=message):
            TaskConfig(**{"problem": "regression", "labels": ("a",)} | settings)
