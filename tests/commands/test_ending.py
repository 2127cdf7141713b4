"""How commands end in the environments that there are: signals at the worst moments, full disks, missing devices."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from unittest.mock import Mock

import pytest

import dnabert_jax.commands.cli
from dnabert_jax.numerics import SETTINGS
from tests.commands.conftest import Capture, Patch

_JOB = """
import os, signal, sys
import dnabert_jax.commands.cli

class Job:
    def run(self):
        {run}

{before}
dnabert_jax.commands.cli._parse = lambda _: Job()
dnabert_jax.commands.cli.main()
"""
_INTERRUPTED = """
def interrupt():
    os.kill(os.getpid(), {number})
    for _ in range(1000):
        pass

class Importer:
    def find_spec(self, name, *_):
        if name == "a_module":
            try:
                interrupt()
            except KeyboardInterrupt:
                sys.exit("dropped")

class Finaliser:
    def __del__(self):
        interrupt()

sys.meta_path.insert(0, Importer())
"""
_ORBAX = """
async def read():
    pass

class Failing:
    def __init__(self, sentence):
        self.sentence = sentence

    def __del__(self):
        raise RuntimeError(self.sentence)
"""
_DRAW = "import jax; print(jax.random.normal(jax.random.key(0), (2, 2)), (jax.numpy.arange(2) + 1.5).dtype)"


def job(run: str, before: str = "", **environment: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a job in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if name.lower() not in SETTINGS}
    command = [sys.executable, "-c", _JOB.format(run=run, before=before), "predict"]
    done = subprocess.run(command, capture_output=True, env={**inherited, **environment})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("code", ["import a_module", "Finaliser()"])
def test_signals_are_heard_where_a_keyboard_interrupt_would_be_dropped(code: str, number: signal.Signals) -> None:
    assert job(code, _INTERRUPTED.format(number=int(number))) == (128 + number, "", "Interrupted.\n")


def test_sigusr1_before_training_ends_nothing() -> None:
    assert job("signal.raise_signal(signal.SIGUSR1)") == (0, "", "")


def test_what_orbax_leaves_behind_is_not_shown_and_other_errors_are() -> None:
    assert job('read(); Failing("Event loop is closed")', _ORBAX) == (0, "", "")
    assert "RuntimeError: another" in job('Failing("another")', _ORBAX)[2]


@pytest.mark.parametrize("command", [["--help"], ["pretrain", "--help"]], ids=" ".join)
def test_nothing_is_said_to_a_reader_that_is_gone(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "from dnabert_jax.commands.cli import main; main()"
    with os.fdopen(writing, "w") as out:
        done = subprocess.run([sys.executable, "-c", code, *command], stdout=out, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_results_do_not_depend_on_settings_of_jax_in_the_environment() -> None:
    hostile = {
        "JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "unsafe_rbg", "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_RANDOM_SEED_OFFSET": "3", "JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_DISABLE_JIT": "1", "JAX_TRANSFER_GUARD": "disallow",
    }  # fmt: skip
    assert {name.lower() for name in hostile} == set(SETTINGS)
    status, printed, notes = job(_DRAW, **hostile)
    assert job(_DRAW) == (status, printed, "")
    assert status == 0
    assert all(f"{name}={value}" in notes for name, value in hostile.items())


@pytest.mark.parametrize("platform", ["cuda", "no_such_platform"])
def test_a_platform_that_is_not_there_is_one_sentence(platform: str) -> None:
    status, printed, errors = job("import jax.numpy; jax.numpy.zeros(3)", JAX_PLATFORMS=platform)
    assert (status, printed, "Traceback" in errors) == (2, "", False)
    assert f"JAX_PLATFORMS is {platform}" in errors


def test_output_is_utf8_in_any_locale() -> None:
    printing = job("print('Epichlo\\xeb \\udcff')", PYTHONIOENCODING="latin-1", LC_ALL="C", PYTHONUTF8="0")
    assert printing[:2] == (0, "Epichloë \\udcff\n")


def test_a_full_disk_is_said_once_by_whatever_meets_it_again() -> None:
    fail = "fail = lambda: (_ for _ in ()).throw(OSError(28, 'full', '/data/out'))"
    again = "import atexit, threading; thread = threading.Thread(target=fail); thread.start(); thread.join()"
    status, _, errors = job(f"{fail}; {again}; atexit.register(fail); fail()")
    assert (status, errors.count("full")) == (1, 1)


def ended_by(error: Exception, monkeypatch: Patch, capsys: Capture) -> tuple[int, str]:
    """Exit status and standard error of a job that fails."""
    failing = Mock(spec=["run"], run=Mock(side_effect=error))
    monkeypatch.setattr("dnabert_jax.commands.cli._parse", lambda _: failing)
    return dnabert_jax.commands.cli.run(["predict"]), capsys.readouterr().err


def test_full_disks_and_memory(capsys: Capture, monkeypatch: Patch) -> None:
    for error, status, said in (
        (OSError(errno.EIO, "went wrong"), 1, "went wrong"),
        *((OSError(number, "went wrong"), 2, "went wrong") for number in (errno.ENOENT, errno.EROFS)),
        (OSError(errno.ENOSPC, "full"), 1, tempfile.gettempdir()),
        (OSError(errno.ENOSPC, "full", tempfile.gettempdir()), 1, "TMPDIR"),
        (OSError(errno.ENOSPC, "full", "/data/out"), 1, "/data/out"),
        (ValueError("RESOURCE_EXHAUSTED: /data/out: No space left on device"), 1, "/data/out"),
        (RuntimeError("RESOURCE_EXHAUSTED: /data/out: Disk quota exceeded"), 1, "/data/out"),
        (RuntimeError("RESOURCE_EXHAUSTED: Attempting to allocate 3.5 GiB. That was not possible."), 1, "3.5 GiB"),
    ):
        ended, sentence = ended_by(error, monkeypatch, capsys)
        assert (ended, "memory" in sentence) == (status, "GiB" in said)
        assert said in sentence


@pytest.mark.parametrize("error", [RuntimeError("INTERNAL: another"), ValueError("another"), AssertionError()])
def test_other_errors_are_left_as_they_are(monkeypatch: Patch, capsys: Capture, error: Exception) -> None:
    with pytest.raises(type(error)):
        ended_by(error, monkeypatch, capsys)
