"""Analytic FLOPs against XLA's count of a network whose every product is plain."""

import jax
import jax.numpy as jnp
import pytest

from dnabert_jax.config import ModelConfig
from dnabert_jax.families import PRESETS
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import bind, parameter_shapes
from dnabert_jax.telemetry.speed import step_flops


def test_a_forward_pass_has_the_products_that_xla_counts() -> None:
    """XLA counts products and the rest of the work: the share of the products grows with the sizes."""
    model = ModelConfig(k=3, hidden_size=2048, num_layers=1, num_heads=4, intermediate_size=8192, max_positions=256)
    parameters = parameter_shapes(LanguageModel, model)
    ids, predict_at = jnp.zeros((2, 256), jnp.int32), jnp.zeros((2, 40), jnp.int32)
    forward = jax.jit(lambda parameters, ids, at: bind(LanguageModel, parameters, model)(ids, at))
    counted = forward.lower(parameters, ids, predict_at).cost_analysis()["flops"]
    gather = 2 * 2 * 40 * 256 * 2048  # masked positions are gathered by a product with zeros and ones
    padding = 2 * 2 * 40 * 2048 * (model.padded_vocabulary_size - model.vocabulary_size)
    analytic = step_flops(model, 2, 256, 40 / 256) / 3
    assert analytic == pytest.approx(counted - gather - padding, rel=0.01)
    assert analytic < counted


def test_the_papers_model_costs_what_arithmetic_says() -> None:
    """12 layers at 6 FLOPs a weight and token, and the scores and their product with the values, of a row of 512."""
    a_token = step_flops(PRESETS["dnabert6"].model, 1, 512, 0.0) / 512
    assert a_token == 6 * 12 * (4 * 768**2 + 2 * 768 * 3072) + 3 * 12 * 4 * 512 * 768
