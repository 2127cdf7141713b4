"""Joins and leaves the other processes of a job: several hosts of a pod, or several processes on one machine."""

import os
import socket
import sys
import threading
import traceback

from dnabert_jax.commands.console import print_error
from dnabert_jax.commands.signals import EXIT_FAILED, EXIT_SIGNALLED
from dnabert_jax.config import require
from dnabert_jax.errors import JobError, first_line

HEARTBEAT_SECONDS = 60
"""How long a process may be silent before JAX takes it for dead, and aborts the others: they may wait for it in a
computation that cannot be interrupted. A thread sends the sign of life, whatever else the process does."""

_SECONDS_TO_LEAVE = 10.0


def check_flags(
    distributed: bool, coordinator: str | None, processes: int | None, process: int | None, timeout: int
) -> None:
    """Raises InputError unless the flags make sense together."""
    named = (coordinator is not None) + (processes is not None) + (process is not None)
    joins = distributed or not named
    require(joins, "--coordinator, --processes and --process are for several processes: add --distributed.")
    together = "Give --coordinator, --processes and --process together; or none, where JAX finds them by itself."
    require(named in (0, 3), together)
    require(timeout >= 1, f"--join-timeout is {timeout}: give at least 1 second.")
    if coordinator is None or processes is None or process is None:
        return
    host, _, port = coordinator.rpartition(":")
    is_address = host and port.isdecimal() and 0 < int(port) < 2**16
    require(bool(is_address), f"--coordinator {coordinator} is no HOST:PORT, such as 10.0.0.2:8476.")
    impossible = f"--process {process} is impossible: the {processes} of --processes are numbered from 0."
    require(0 <= process < processes, impossible)


def join(coordinator: str | None, processes: int | None, process: int | None, timeout: int) -> None:
    """Connects this process with the others; must come before anything else that JAX does.

    Args:
        coordinator: HOST:PORT of process 0, which listens there; found by JAX if not given, as the others are.
        timeout: seconds to wait for all of them; then the process ends with exit status 1.

    Raises:
        JobError: they cannot be joined. A process never goes on alone.
    """
    import jax

    place = f" at {coordinator}" if coordinator else ""
    # JAX cannot be interrupted.
    deadline = _end_after(
        timeout,
        EXIT_FAILED,
        f"The processes did not all meet{place} in {timeout} s: are all of them started, with the same coordinator and "
        "number of processes?",
    )
    try:
        if coordinator is not None and process == 0:
            # JAX may crash where it cannot listen.
            socket.create_server(("", int(coordinator.rpartition(":")[2]))).close()
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            # What is said is not looked for: that asks a metadata server, which off the cloud is not there.
            cluster_detection_method="deactivate" if coordinator else None,
            # JAX aborts the process when its time is up: the deadline comes first, and says so in a sentence.
            initialization_timeout=2 * timeout,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    # What JAX raises where it finds no cluster, or a connection fails.
    except (RuntimeError, ValueError, OSError) as error:
        remedy = "" if coordinator else "; where JAX finds no cluster give --coordinator, --processes and --process"
        raise JobError(f"The other processes cannot be joined ({first_line(error)}){remedy}.") from error
    finally:
        deadline.cancel()


def _end_after(seconds: float, status: int, sentence: str = "") -> threading.Timer:
    """Ends the process with this exit status after this time, unless the timer is cancelled before."""

    def end() -> None:
        if sentence:
            print_error(sentence)
        os._exit(status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


def leave(status: int) -> None:
    """Leaves the other processes, if this one has joined any, and ends it with this exit status.

    The end of process 0, where they meet, aborts the others, so they end together. After an error each waits for a
    while only, as the others may be dead, or wait for this one in a computation.
    """
    if "jax" not in sys.modules or not sys.modules["jax"].distributed.is_initialized():
        return
    if sys.exc_info()[1] is not None:
        traceback.print_exc()  # which nobody else would: the process ends here
    import jax
    from jax.experimental import multihost_utils

    # Ctrl-C stops all of them in order, as SIGTERM does.
    if status not in (0, *EXIT_SIGNALLED):
        _end_after(_SECONDS_TO_LEAVE, status)
    else:
        # Until all are here JAX listens for SIGTERM; once it no longer does, the signal would kill.
        multihost_utils.sync_global_devices("leaving")
    jax.distributed.shutdown()
    sys.stdout.flush()
    os._exit(status)
