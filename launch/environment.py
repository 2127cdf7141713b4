"""Handles what the environment asks of JAX: settings that would change results, and platforms that are missing."""

import os
import sys

from dnabert_jax.errors import first_line
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


def missing_device(error: Exception) -> str | None:
    """Returns a sentence for the user if an error came because JAX cannot start a device, else None."""
    jax, reason = sys.modules.get("jax"), str(error) and first_line(error)
    # For some platforms JAX raises an assertion without a word. Other errors are no reason to start a device.
    if jax is None or isinstance(error, ValueError) or (reason and "backend" not in reason):
        return None
    try:
        jax.devices()
    except (RuntimeError, AssertionError):
        platform = os.environ.get("JAX_PLATFORMS", "")
        problem = f"JAX_PLATFORMS is {platform}, which JAX cannot use here" if platform else "JAX finds no device"
        return (
            f"{problem}{f' ({reason})' if reason else ''}. Install its plugin, for example with pip install "
            "'jax[cuda13]' (the extra cuda) or 'jax[tpu]' (the extra tpu), or set JAX_PLATFORMS=cpu."
        )
    return None
