"""A map over processes whose results come in order, with a bounded number of tasks under way."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from dnabert_jax.errors import InputError

_TASKS_AHEAD = 2
"""Tasks under way for each process: enough that none waits, few enough that memory stays small."""

_Task = TypeVar("_Task")
_Settings = TypeVar("_Settings")
_Result = TypeVar("_Result")


def ordered_map(
    function: Callable[[_Task, _Settings], _Result], tasks: Iterable[_Task], settings: _Settings, processes: int
) -> Iterator[_Result]:
    """Yields function(task, settings) for each task, in order; with one process, in this one.

    Raises:
        InputError: a process was killed.
    """
    if processes == 1:
        for task in tasks:
            yield function(task, settings)
        return
    # Fresh interpreters: a fork would copy the threads' locks of whatever the caller has loaded.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[_Result]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(function, task, settings))
                if len(waiting) > _TASKS_AHEAD * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                "A process that cut windows was killed, perhaps for want of memory: try again with fewer processes."
            ) from error
        finally:
            for future in waiting:
                future.cancel()
