"""Effect sizes are those of the original's arithmetic on probabilities, and stay finite where a probability is 1."""

import numpy as np

from dnabert_jax.interpret.effect_size import log_odds_ratio, weighted_difference


def test_sizes_are_those_of_the_originals_arithmetic() -> None:
    before, after = np.random.default_rng(0).uniform(0.01, 0.99, (2, 50))
    log_odds = [np.log(p / (1 - p)) for p in (before, after)]
    # SNP/SNP.py, the lines that fill `diff` and `logOR`.
    diff = (after - before) * np.max([before, after], axis=0)
    ratio = np.log2(before / (1 - before)) - np.log2(after / (1 - after))
    np.testing.assert_allclose(weighted_difference(*log_odds), diff, atol=1e-12)
    np.testing.assert_allclose(log_odds_ratio(*log_odds), ratio, atol=1e-12)


def test_a_certain_reference_has_odds() -> None:
    assert np.isfinite(log_odds_ratio(np.array([90.0]), np.array([-90.0]))).all()
