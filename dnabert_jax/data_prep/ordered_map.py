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
def _detached_processes() -> Iterator[None]:
    """Has processes that are started here ignore Ctrl-C, and not import the main module.

    Ctrl-C goes to the whole group: this process tells them to end. The main module of the command line takes longer to
    import than what they need, and a script may not be made to be imported.
    """
    main, in_main_thread = sys.modules["__main__"], threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)


def ordered_map(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], processes: int
) -> Iterator[tuple[_Task, _Result]]:
    """Yields each task and its result, in order; raises InputError if a process was killed.

    Args:
        function: of a module that can be imported, as multiprocessing demands; the main module is not.
    """
    if processes == 1:
        for task in tasks:
            yield task, function(task)
        return
    # Fresh interpreters: a fork would copy the threads' locks of whatever the caller has loaded.
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_end_with_parent) as pool:
        waiting: deque[tuple[_Task, Future[_Result]]] = deque()
        try:
            for task in tasks:
                with _detached_processes():
                    waiting.append((task, pool.submit(function, task)))
                if len(waiting) > _TASKS_AHEAD * processes:
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        except BrokenProcessPool as error:
            raise InputError(
                "A worker process was killed, perhaps for want of memory: try again with fewer --processes."
            ) from error
        finally:
            for _, future in waiting:
                future.cancel()
