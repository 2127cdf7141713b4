"""What the environment asks of JAX: settings that would change results, and platforms that are not there."""

import os
import sys

from dnabert_jax.errors import InputError
from dnabert_jax.numerics import SETTINGS
from launch.ending import print_note

_TRUE = ("1", "on", "t", "true", "y", "yes")


def set_environment() -> None:
    """Makes JAX compute with dnabert_jax.numerics.SETTINGS, whatever the environment says; before JAX is loaded."""
    for name, value in SETTINGS.items():
        variable, before = name.upper(), os.environ.get(name.upper())
        os.environ[variable] = str(int(value) if isinstance(value, bool) else value)
        if before is not None and str(value) != (str(before.lower() in _TRUE) if isinstance(value, bool) else before):
            print_note(f"{variable}={before} is ignored, as results depend on it: it is {os.environ[variable]} here.")


def missing_device() -> InputError | None:
    """Returns what to tell the user if JAX, where it is loaded, cannot start a device; None if it can."""
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    try:
        jax.devices()
    # For some platforms JAX raises an assertion without a word.
    except (RuntimeError, AssertionError) as cause:
        reason = str(cause).partition("\n")[0].partition(" (set JAX_PLATFORMS")[0].rstrip(".")[:300]
        wanted = os.environ.get("JAX_PLATFORMS", "")
        # For "gpu" it says that there is no ROCm, the last of what it tried.
        reason = f" ({reason})" if f"'{wanted}'" in reason or (reason and not wanted) else ""
        if wanted:
            return InputError(
                f"JAX_PLATFORMS is {wanted}, which JAX cannot use here{reason}: install its plugin, for example with "
                "pip install 'jax[cuda13]' or 'jax[tpu]', set JAX_PLATFORMS=cpu, or unset it to use what is there."
            )
        return InputError(f"JAX finds no device{reason}: install its plugin, or set JAX_PLATFORMS=cpu.")
    return None
