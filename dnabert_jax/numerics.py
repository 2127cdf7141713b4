"""The settings of JAX that numbers depend on, and that the environment or another program may have changed."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

SETTINGS = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_disable_jit": False,
    "jax_transfer_guard": "allow",
}
"""What all computations here are written for. The precision of matrix products (jax_default_matmul_precision) and what
only looks for errors (jax_debug_nans) stay as they are set."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@contextlib.contextmanager
def fixed_settings() -> Iterator[None]:
    """Applies SETTINGS inside the block, in this thread only, so that a program that uses this library keeps its own.

    JAX can change the offset of random seeds only for a whole process, which the command line does.
    """
    import jax

    with contextlib.ExitStack() as stack:
        for name, value in SETTINGS.items():
            if (setting := getattr(jax, name.removeprefix("jax_"), None)) is not None:
                stack.enter_context(setting(value))
        yield


def with_fixed_settings(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Returns the function, run under `fixed_settings`; not for generators, whose settings would leak to the caller."""

    @functools.wraps(function)
    def run(*arguments: _Arguments.args, **settings: _Arguments.kwargs) -> _Result:
        with fixed_settings():
            return function(*arguments, **settings)

    return run
