"""What cuDNN is asked for is plain attention: shown with XLA in cuDNN's place, since its kernel needs a GPU."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnabert_jax.model.attention import Heads, cudnn_attention, xla_attention


def test_what_cudnn_is_asked_for_is_plain_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = jax.random.normal(jax.random.key(0), (3, 2, 16, 4 * 8))
    segments = jnp.array([[1] * 7 + [2] * 6 + [0] * 3, [1] * 16])
    real = jax.nn.dot_product_attention

    def with_xla(*arguments: Any, implementation: str, **settings: Any) -> jax.Array:
        assert implementation == "cudnn"
        return real(*arguments, implementation="xla", **settings)

    monkeypatch.setattr(jax.nn, "dot_product_attention", with_xla)
    heads = Heads(*inputs, segments, size=8)
    np.testing.assert_allclose(cudnn_attention(heads), xla_attention(heads), atol=2e-6)
