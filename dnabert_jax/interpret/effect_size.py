"""How large the effect of a change is, as the original counts it (`SNP/SNP.py`).

Both take natural log-odds, not probabilities: a probability of 1 in float32 has no odds, and the log-odds that it was
made of have.
"""

import numpy as np
from jaxtyping import Float


def probability(log_odds: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Of natural log-odds."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(log_odds, np.float64)))


def weighted_difference(
    reference: Float[np.ndarray, " n"], changed: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """(p' - p) max(p, p') of the probabilities p of the reference and p' of the changed sequence."""
    before, after = probability(reference), probability(changed)
    return (after - before) * np.maximum(before, after)


def log_odds_ratio(reference: Float[np.ndarray, " n"], changed: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """log2 of the odds of the reference over those of the changed sequence: positive where the change costs."""
    return (np.asarray(reference, np.float64) - np.asarray(changed, np.float64)) / np.log(2)
