"""FLOPs of a training step, counted from the model's sizes: what utilisation (MFU) is measured by.

Matrix products only, a multiplication and an addition counting two, as in Chowdhery et al. 2022 (arXiv 2204.02311,
appendix B), with two differences: every token attends to its whole row, and the head sees masked positions alone. What
is computed on top does not count: heads padded to a register, say, or a layer a second time in the backward pass.
H hidden, F feed-forward, L tokens of a row, V vocabulary.
"""

from dnabert_jax.config import ModelConfig, PretrainConfig

_FORWARD_AND_BACKWARD = 3
"""The backward pass has two products for each of the forward pass."""


def training_flops(model: ModelConfig, rows: int, row_length: int, predicted_positions: int) -> int:
    """FLOPs of a step, forward and backward.

    Args:
        model: for its sizes; V is the number of ids that mean something.
        rows: of the global batch.
        row_length: tokens of a row; padding is computed and counts.
        predicted_positions: whose k-mers are predicted, in the whole batch.
    """
    hidden, width = model.hidden_size, model.intermediate_size
    # Query, key, value and output; the two feed-forward layers; scores and their product with the values.
    a_token = model.num_layers * (8 * hidden**2 + 4 * hidden * width + 4 * row_length * hidden)
    a_prediction = 2 * hidden**2 + 2 * hidden * model.vocabulary_size
    return _FORWARD_AND_BACKWARD * (rows * row_length * a_token + predicted_positions * a_prediction)


def step_flops(config: PretrainConfig, row_length: int) -> int:
    """FLOPs of a step of a run, over all devices, at its early mask rate."""
    predicted = round(config.global_batch * row_length * config.masking.rate)
    return training_flops(config.model, config.global_batch, row_length, predicted)
