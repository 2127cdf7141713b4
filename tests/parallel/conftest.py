"""Programs that see the devices of TPU slices that are not there."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def run_with_tpu_compiler() -> Callable[[str], list[str]]:
    """Gives the lines that a program prints in a process of its own: libtpu reads its environment once."""
    if not importlib.util.find_spec("libtpu"):
        pytest.skip("libtpu is not installed (x86-64 Linux only)")
    settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}

    def lines(program: str) -> list[str]:
        result = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True, text=True, env=os.environ | settings, cwd=Path(__file__).parents[2], check=True,
        )  # fmt: skip
        return result.stdout.splitlines()

    return lines
