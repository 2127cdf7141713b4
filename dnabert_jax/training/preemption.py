"""Stopping a run in time, before its machines are taken away: after which step is agreed between all processes."""

from collections.abc import Callable

import jax
from jax.experimental import multihost_utils


def stops_after(step: int, requested: Callable[[], bool]) -> bool:
    """Whether the run stops after this step; every process must ask after every step, and all get the same answer.

    Where processes are connected, JAX listens for SIGTERM in each of them and announces one that comes to all, which
    stop after the step that follows the furthest of any; only looking at memory, this costs no time. Else `requested`
    says it.
    """
    if jax.distributed.is_initialized():
        return multihost_utils.reached_preemption_sync_point(step)
    return requested()
