"""What a fine-tuning tells while it runs, for a progress bar."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class FittingObserver(Protocol):
    """Is told what happens, for a progress bar."""

    def stepped(self, done: int, total: int) -> None:
        """`done` more steps of lockstep are made, of `total` at most; many at once where a run is resumed."""

    def epoch_ended(self, job: str, epoch: int, loss: float, figure: float) -> None:
        """A job made an epoch."""

    def restarted(self, job: str, seed: int) -> None:
        """A job collapsed and begins anew with another seed."""

    def advanced(self, what: str, done: int, total: int) -> None:
        """Part of what follows the training was done, of `total`: sequences predicted, or resamples measured."""
