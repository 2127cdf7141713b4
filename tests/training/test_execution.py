"""What cannot be executed as asked is refused with a sentence; `auto` always can."""

import dataclasses

import pytest

from dnabert_jax.config import ModelConfig
from dnabert_jax.errors import InputError
from dnabert_jax.model.attention import Attend, cudnn_attention, xla_attention
from dnabert_jax.training.execution import choose_attention

DNABERT = ModelConfig(compute_dtype="bfloat16")
WITHOUT_DROPOUT = dataclasses.replace(DNABERT, attention_dropout=0.0)


def choose(platform: str, model: ModelConfig, wish: str, tensor: int = 1, training: bool = True) -> Attend:
    return choose_attention(model, wish, platform, tensor, training)


def test_auto_takes_the_fused_kernel_where_it_computes_the_same() -> None:
    assert choose("cpu", DNABERT, "auto") is xla_attention
    assert choose("gpu", DNABERT, "auto") is xla_attention, "cuDNN's kernel drops no probabilities out"
    assert choose("gpu", DNABERT, "auto", training=False).__wrapped__ is cudnn_attention
    assert choose("gpu", WITHOUT_DROPOUT, "auto").__wrapped__ is cudnn_attention
    assert choose("gpu", dataclasses.replace(WITHOUT_DROPOUT, compute_dtype="float32"), "auto") is xla_attention
    assert choose("tpu", DNABERT, "auto") not in (xla_attention, cudnn_attention)
    assert choose("tpu", DNABERT, "xla") is xla_attention


@pytest.mark.parametrize(
    ("platform", "model", "wish", "tensor"),
    [
        ("cpu", DNABERT, "pallas", 1),
        ("tpu", dataclasses.replace(DNABERT, max_positions=500), "pallas", 1),
        ("tpu", DNABERT, "pallas", 12),
        ("gpu", DNABERT, "cudnn", 1),
        ("tpu", WITHOUT_DROPOUT, "cudnn", 1),
        ("gpu", dataclasses.replace(WITHOUT_DROPOUT, compute_dtype="float32"), "cudnn", 1),
    ],
    ids=["no TPU", "length", "one head a device", "dropout", "no GPU", "float32"],
)
def test_a_kernel_that_cannot_run_is_refused(platform: str, model: ModelConfig, wish: str, tensor: int) -> None:
    with pytest.raises(InputError, match=f"(not for|not {platform}).*choose --execution.attention auto"):
        choose(platform, model, wish, tensor)
