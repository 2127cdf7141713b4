"""Stopping a run: after a step that all processes agree on, or because one of them ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
from jax.experimental import multihost_utils

from dnabert_jax.errors import JobError, first_line


class OtherProcessEndedError(JobError):
    """What was to be computed together cannot be: there is nothing to wait for."""


def stops_after(step: int, requested: Callable[[], bool]) -> bool:
    """Whether the run stops after this step; every process must ask after every step, and all get the same answer.

    Where processes are connected, JAX listens for SIGTERM in each of them and announces one that comes to all, which
    stop after the step that follows the furthest of any; asking looks at memory only. Else `requested` says it.
    """
    if jax.distributed.is_initialized():
        return multihost_utils.reached_preemption_sync_point(step)
    return requested()


@contextmanager
def while_all_run() -> Iterator[None]:
    """Raises OtherProcessEndedError, which says what it most likely means, if a computation with others fails."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        raise OtherProcessEndedError(
            f"A computation with the other processes failed, as it does when one of them ends "
            f"({first_line(error)}): see what they say, then start all of them again with --resume."
        ) from error
