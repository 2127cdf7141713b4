"""What the environment may say: settings of JAX, platforms that are not there, locales, full disks."""

import errno
import os
import subprocess
import sys
import tempfile

import pytest

import launch.cli
from dnabert_jax.numerics import SETTINGS

_JOB = """
import launch.cli

class Job:
    def run(self):
        {run}

launch.cli._parse = lambda _: Job()
launch.cli.main()
"""
_DRAW = "import jax; print(jax.random.normal(jax.random.key(0), (2, 2)), (jax.numpy.arange(2) + 1.5).dtype)"


def run(code: str, **environment: str) -> tuple[int, bytes, str]:
    """Exit status, standard output and standard error of a job."""
    before = {name: value for name, value in os.environ.items() if name.lower() not in SETTINGS}
    command = [sys.executable, "-c", _JOB.format(run=code), "predict"]
    done = subprocess.run(command, capture_output=True, env={**before, **environment})
    return done.returncode, done.stdout, done.stderr.decode()


def test_results_do_not_depend_on_settings_of_jax_in_the_environment() -> None:
    hostile = {
        "JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "unsafe_rbg", "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_RANDOM_SEED_OFFSET": "3", "JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_DISABLE_JIT": "1", "JAX_TRANSFER_GUARD": "disallow",
    }  # fmt: skip
    assert {name.lower() for name in hostile} == set(SETTINGS)
    plain = run(_DRAW)
    status, printed, notes = run(_DRAW, **hostile)
    assert plain[0] == status == 0
    assert plain[1] == printed
    assert plain[2] == ""
    assert all(f"{name}={value}" in notes for name, value in hostile.items())


@pytest.mark.parametrize("platform", ["cuda", "no_such_platform"])
def test_a_platform_that_is_not_there_is_one_sentence(platform: str) -> None:
    status, printed, errors = run("import jax.numpy; jax.numpy.zeros(3)", JAX_PLATFORMS=platform)
    assert (status, printed) == (2, b"")
    assert f"JAX_PLATFORMS is {platform}" in errors
    assert "Traceback" not in errors


def test_output_is_utf8_in_any_locale() -> None:
    status, printed, _ = run("print('Epichlo\\xeb \\udcff')", PYTHONIOENCODING="latin-1", LC_ALL="C", PYTHONUTF8="0")
    assert (status, printed) == (0, "Epichloë \\udcff\n".encode())


class Raising:
    """A job that fails."""

    def __init__(self, error: Exception):
        self.error = error

    def run(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), tempfile.gettempdir()),
        (OSError(errno.ENOSPC, "No space left on device", tempfile.gettempdir()), "TMPDIR"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/out"), "/data/out"),
        (ValueError("RESOURCE_EXHAUSTED: /data/out: No space left on device"), "/data/out"),
        (RuntimeError("RESOURCE_EXHAUSTED: /data/out: Disk quota exceeded"), "/data/out"),
    ],
)
def test_a_full_disk_is_named_and_not_called_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    monkeypatch.setattr("launch.cli._parse", lambda _: Raising(error))
    assert launch.cli.run(["predict"]) == 1
    sentence = capsys.readouterr().err
    assert place in sentence
    assert "memory" not in sentence


@pytest.mark.parametrize("error", [RuntimeError("another"), ValueError("another"), AssertionError()])
def test_other_errors_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr("launch.cli._parse", lambda _: Raising(error))
    with pytest.raises(type(error)):
        launch.cli.run(["predict"])


def test_a_full_disk_is_said_once_by_whatever_meets_it_again() -> None:
    again = "import atexit, threading; thread = threading.Thread(target=job); thread.start(); thread.join()"
    code = (
        f"job = lambda: (_ for _ in ()).throw(OSError(28, 'full', '/data/out')); {again}; atexit.register(job); job()"
    )
    status, _, errors = run(code)
    assert status == 1
    assert errors.count("full") == 1
