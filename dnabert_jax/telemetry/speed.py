"""How fast a run trains: tokens and FLOPs by the time in which it trained."""

from collections.abc import Mapping

from jax.sharding import Mesh

from dnabert_jax.parallel.chips import chip_of
from dnabert_jax.telemetry.phases import Phase


class Speed:
    """Rates over the phases data and step; the others (start-up, checkpoints, evaluations, profiles) are left out.

    Args:
        step_flops: of the model in one step, over all devices (`training_flops`).
        mesh: of the run.
    """

    def __init__(self, step_flops: float, mesh: Mesh):
        chip = chip_of(mesh.devices.flat[0])
        self._device_flops = step_flops / mesh.devices.size
        self._peak = chip.peak_flops if chip else None

    def figures(self, steps: int, tokens: float, seconds: Mapping[Phase, float]) -> dict[str, float]:
        """`tokens_per_second` of the whole run, `flops_per_second` of a device, and `mfu` on a known chip.

        MFU, model FLOPs utilisation, is the share of the chip's published bfloat16 peak, whatever the compute_dtype.

        Args:
            steps: that were made.
            tokens: in them, without padding.
            seconds: since the figures before (`Phases.lap`).
        """
        trained = max(seconds["data"] + seconds["step"], 1e-9)
        flops_per_second = steps * self._device_flops / trained
        figures = {"tokens_per_second": tokens / trained, "flops_per_second": flops_per_second}
        return figures | ({"mfu": flops_per_second / self._peak} if self._peak else {})
