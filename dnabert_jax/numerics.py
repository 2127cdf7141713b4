"""Fixes the settings of JAX that results depend on, which the environment or another program may have changed."""

import contextlib
from collections.abc import Iterator

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
"""The values that all computations here are written for. The precision of matrix products
(jax_default_matmul_precision) and checks for errors (jax_debug_nans) stay as they are set."""


@contextlib.contextmanager
def fixed_settings() -> Iterator[None]:
    """Applies SETTINGS inside a block or a decorated function, in this thread only; the caller keeps its settings.

    JAX can change the offset of random seeds only for a whole process, which the command line does. Do not decorate a
    generator: its settings would leak to the caller.
    """
    import jax

    with contextlib.ExitStack() as stack:
        for name, value in SETTINGS.items():
            if (setting := getattr(jax, name.removeprefix("jax_"), None)) is not None:
                stack.enter_context(setting(value))
        yield
