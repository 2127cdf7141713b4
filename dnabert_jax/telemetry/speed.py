"""How fast a run trains, and where its time goes."""

from jax.sharding import Mesh

from dnabert_jax.parallel.chips import chip_of
from dnabert_jax.telemetry.phases import Phases


class Speed:
    """Figures of the time since the figures before.

    Args:
        step_flops: of the model in one step, over all devices (`flops.step_flops`).
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
