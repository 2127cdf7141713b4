"""A map over processes whose results come in order, with a bounded number of tasks under way."""

import contextlib
import os
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from dnabert_jax.errors import InputError

_TASKS_AHEAD = 2
"""Tasks under way for each process: enough that none waits, few enough that memory stays small."""

_Task = TypeVar("_Task")
_Settings = TypeVar("_Settings")
_Result = TypeVar("_Result")


def _end_with_parent() -> None:
    """Has this process end when the one that started it is gone, killed say: it would wait for tasks for ever."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Has processes that are started here ignore Ctrl-C, which goes to the whole group: this one tells them to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Has processes that are started here not import the main module.

    That of the command line takes longer to import than what they need, and a script may not be made to be imported.
    """
    before = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def ordered_map(
    function: Callable[[_Task, _Settings], _Result], tasks: Iterable[_Task], settings: _Settings, processes: int
) -> Iterator[_Result]:
    """Yields function(task, settings) for each task, in order; raises InputError if a process was killed.

    Args:
        function: of a module that can be imported, as multiprocessing demands; the main module is not.
    """
    if processes == 1:
        for task in tasks:
            yield function(task, settings)
        return
    # Fresh interpreters: a fork would copy the threads' locks of whatever the caller has loaded.
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_end_with_parent) as pool:
        waiting: deque[Future[_Result]] = deque()
        try:
            for task in tasks:
                with _interrupts_ignored(), _without_main_module():
                    waiting.append(pool.submit(function, task, settings))
                if len(waiting) > _TASKS_AHEAD * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                "A worker process was killed, perhaps for want of memory: try again with fewer --processes."
            ) from error
        finally:
            for future in waiting:
                future.cancel()
