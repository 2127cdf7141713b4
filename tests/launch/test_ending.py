"""How real processes end: Ctrl-C at its worst moments, and what libraries say besides our sentence."""

import os
import signal
import subprocess
import sys

import pytest

_DEAF = """
import os, signal, sys
import launch.cli

number = int(sys.argv.pop())

def interrupt():
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass

class Importer:
    def find_spec(self, name, *_):
        if name == "jax":
            try:
                interrupt()
            except KeyboardInterrupt:
                sys.exit("dropped")

class Finaliser:
    def __del__(self):
        interrupt()

class Job:
    def run(self):
        Finaliser()

if sys.argv[1] == "import":
    sys.meta_path.insert(0, Importer())
else:
    launch.cli._parse = lambda _: Job()
sys.argv[1:] = ["export", ".", "--out", "model"]
launch.cli.main()
"""

_SIGNALLED = """
import signal
import launch.cli

class Job:
    def run(self):
        signal.raise_signal(signal.SIGUSR1)

launch.cli._parse = lambda _: Job()
launch.cli.main()
"""

_ORBAX = """
import launch.cli

async def read():
    pass

class Failing:
    def __init__(self, sentence):
        self.sentence = sentence

    def __del__(self):
        raise RuntimeError(self.sentence)

class Job:
    def run(self):
        read()
        Failing("Event loop is closed")
        {last}

launch.cli._parse = lambda _: Job()
launch.cli.main()
"""


def run_python(code: str, *arguments: str) -> tuple[int, str]:
    """Exit status and standard error."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["import", "finaliser"])
def test_signals_are_heard_where_a_keyboard_interrupt_would_be_dropped(where: str, number: signal.Signals) -> None:
    assert run_python(_DEAF, where, str(int(number))) == (128 + number, "Interrupted.\n")


def test_sigusr1_before_training_ends_nothing() -> None:
    assert run_python(_SIGNALLED, "pretrain") == (0, "")


def test_what_orbax_leaves_behind_is_not_shown_and_other_errors_are() -> None:
    assert run_python(_ORBAX.format(last=""), "export") == (0, "")
    assert "RuntimeError: another" in run_python(_ORBAX.format(last='Failing("another")'), "export")[1]


@pytest.mark.parametrize("command", [["--help"], ["pretrain", "--help"]], ids=" ".join)
def test_nothing_is_said_to_a_reader_that_is_gone(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "from launch.cli import main; main()"
    with os.fdopen(writing, "w") as out:
        done = subprocess.run([sys.executable, "-c", code, *command], stdout=out, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")
