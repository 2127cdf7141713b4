"""How fast a run trains, where its time goes, and the FLOPs of a step, by which utilisation (MFU) is measured.

FLOPs are counted from the model's sizes. Matrix products only, a multiplication and an addition counting two, as in
Chowdhery et al. 2022 (arXiv 2204.02311, appendix B), with two differences: every token attends to its whole row, and
the head sees masked positions alone. What is computed on top does not count: heads padded to a register, or a layer
a second time in the backward pass.
H hidden, F feed-forward, L tokens of a row, V vocabulary.
"""

from jax.sharding import Mesh

from dnabert_jax.config import ModelConfig
from dnabert_jax.parallel.chips import chip_of
from dnabert_jax.telemetry.phases import Phases


class Speed:
    """Figures of the time since the figures before.

    Args:
        step_flops: of the model in one step, over all devices (`step_flops`).
    """

    def __init__(self, phases: Phases, step_flops: int, mesh: Mesh):
        chip = chip_of(mesh.devices.flat[0])
        self._phases, self._device_flops = phases, step_flops / mesh.devices.size
        self._peak = chip.peak_flops if chip else None

    def figures(self, steps: int, tokens: float) -> dict[str, float]:
        """Rates over the phases data and step, without start-up, checkpoints, evaluations and profiles.

        They are `tokens_per_second` of the whole run, `flops_per_second` of one device and, on a chip whose peak is
        known, `mfu`, model FLOPs utilisation: the share of its peak in bfloat16, whatever the compute_dtype is.
        `seconds_PHASE` is the time in each of the phases.

        Args:
            steps: that were made.
            tokens: of one of them on average, without padding.
        """
        seconds = self._phases.lap()
        # A clock may stand still between two laps.
        trained = max(seconds["data"] + seconds["step"], 1e-9)
        flops_per_second = steps * self._device_flops / trained
        figures = {"tokens_per_second": steps * tokens / trained, "flops_per_second": flops_per_second}
        if self._peak:
            figures["mfu"] = flops_per_second / self._peak
        return figures | {f"seconds_{phase}": value for phase, value in seconds.items()}


_FORWARD_AND_BACKWARD = 3
"""The backward pass has two products for each of the forward pass."""


def step_flops(model: ModelConfig, rows: int, row_length: int, mask_rate: float) -> int:
    """Returns the FLOPs of a step over all devices, forward and backward.

    Args:
        model: for its sizes; V is the number of ids that mean something.
        rows: of the global batch.
        row_length: tokens of a row; padding is computed and counts.
        mask_rate: share of tokens that are predicted.
    """
    hidden, width = model.hidden_size, model.intermediate_size
    # Query, key, value and output; the two feed-forward layers; scores and their product with the values.
    a_token = model.num_layers * (8 * hidden**2 + 4 * hidden * width + 4 * row_length * hidden)
    a_prediction = 2 * hidden**2 + 2 * hidden * model.vocabulary_size
    tokens = rows * row_length
    return _FORWARD_AND_BACKWARD * (tokens * a_token + round(tokens * mask_rate) * a_prediction)
