"""What `dnabert-jax plan` needs around the compilers of accelerators that are not there: environment, name, a clock."""

import importlib.metadata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from launch.progress import progress_bar

_Result = TypeVar("_Result")

ENVIRONMENT = {
    # No device is opened, also where there is one, and another process may train on it.
    "JAX_PLATFORMS": "cpu",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # What is compiled without a device cannot be read back from the cache, and JAX says so at length.
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    # libtpu would ask Google's metadata server what machine this is, and complain on any other.
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
"""Of this process, before JAX is loaded."""


def compiler_version(devices: Sequence[object]) -> str:
    """Which compiler it is, with its version."""
    import jax

    on_tpu = devices[0].platform == "tpu"  # type: ignore[attr-defined]
    package = "libtpu" if on_tpu else "jax-cuda13-plugin"
    return f"the compiler (jax {jax.__version__}, {package} {importlib.metadata.version(package)})"


def with_clock(compute: Callable[[], _Result]) -> _Result:
    """Computes in a thread, so that the time can be shown meanwhile and an interrupt is heard."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(compute)
    with progress_bar("compile", "s", bar_format="{desc}: {elapsed}") as bar:
        while wait([future], timeout=1).not_done:
            bar.update()
    pool.shutdown()
    return future.result()
