"""The sums over masked tokens are those of log_softmax and argmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnabert_jax.training.objectives import masked_token_sums


def test_sums_are_of_log_softmax_and_of_the_first_largest_logit() -> None:
    random = np.random.default_rng(0)
    # Of few values, so that several logits of a token are the largest; the last columns are padding of the vocabulary.
    logits = jnp.asarray(random.integers(0, 3, (4, 50, 8)), jnp.float32).at[..., 6:].set(-jnp.inf)
    labels = jnp.asarray(random.integers(0, 6, (4, 50)))
    weights = jnp.asarray(random.integers(0, 2, (4, 50)), jnp.float32)
    labels = jnp.where(weights > 0, labels, 7)  # a filler may bear any label
    sums = masked_token_sums(logits, labels, weights)
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)[..., 0]
    assert float(sums.loss) == pytest.approx(float(losses[weights > 0].sum()), rel=1e-5)
    assert sums.correct == ((logits.argmax(axis=-1) == labels) & (weights > 0)).sum()
    assert sums.tokens == weights.sum()
    gradient = jax.grad(lambda logits: masked_token_sums(logits, labels, weights).loss)(logits)
    assert np.isfinite(gradient).all()
