"""Tests run on eight CPU devices with the shapes of every signature checked at run time."""

import atexit
import multiprocessing
import os
import shutil
import socket
import tempfile

# Before JAX is imported: it reads these once.
os.environ["JAX_PLATFORMS"] = "cpu"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Many tests compile the same small programs: the workers and the processes that tests start share them.
    cache = tempfile.mkdtemp(prefix="dnabert-jax-tests-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# Most of what the tests take is compilation. Machine code that is slower, without LLVM's passes and by XLA's former
# emitter, is made in about half the time, here and in processes that tests start. XLA's own passes are the same.
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 XLA_FLAGS=--xla_cpu_use_fusion_emitters=true is the code that users run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count=8 --xla_cpu_use_fusion_emitters=false {os.environ.get('XLA_FLAGS', '')}"
)

from pathlib import Path

from jaxtyping import install_import_hook

# Before the modules are imported: the hook rewrites them as they load. Flags of commands may have no value at first.
_MODULES = {path.stem for path in Path(__file__).parents[1].joinpath("dnabert_jax").iterdir()}
install_import_hook([f"dnabert_jax.{name}" for name in _MODULES - {"commands", "__init__"}], "beartype.beartype")

import dataclasses  # noqa: E402
import gc  # noqa: E402
import importlib  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, ClassVar  # noqa: E402

import fsspec  # noqa: E402
import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402

from dnabert_jax import storage  # noqa: E402
from dnabert_jax.config import ModelConfig, OptimizerConfig, PretrainConfig  # noqa: E402
from dnabert_jax.data_prep.genome import prepare_genome  # noqa: E402
from dnabert_jax.data_prep.genome_job import GenomeJob  # noqa: E402
from dnabert_jax.sample import HELDOUT_FASTA, TRAIN_FASTA  # noqa: E402

# The same examples each time, however slow the machine is.
hypothesis.settings.register_profile("hermetic", derandomize=True, deadline=None, database=None, max_examples=50)
hypothesis.settings.load_profile("hermetic")

SMALL_MODEL = ModelConfig(k=3, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=64, max_positions=64)


def pytest_collection_finish() -> None:
    """What is imported by now stays: the collector of garbage need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def optimized_compilation() -> Iterator[None]:
    """For what runs for longer than it is compiled."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def small_model() -> ModelConfig:
    """A network that runs in milliseconds, with dropout."""
    return SMALL_MODEL


@pytest.fixture(scope="session")
def uncompiled_memelite() -> None:
    """memelite's tomtom as Python, which takes two seconds; compiled, it takes a minute and a half, and is the same."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # read once, as numba is imported
    tomtom = importlib.import_module("memelite.tomtom")

    class Modulo:
        """A table of 64 whose index may have the bits that its 64-bit product would have lost."""

        table = tomtom._DEBRUIJN.tolist()

        def __getitem__(self, index: int) -> int:
            return self.table[index % 64]

    # NumPy makes floats of sums of signed and unsigned numbers, which numba does not.
    tomtom.uint64, tomtom._DEBRUIJN = int, Modulo()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file, given its content or the values of each row of a table."""

    def make(name: str, *content: str | bytes | Sequence[object]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = "\t" if ".tsv" in name else ","
        lines = (part if isinstance(part, str | bytes) else mark.join(map(str, part)) + "\n" for part in content)
        path.write_bytes(b"".join(line.encode() if isinstance(line, str) else line for line in lines))
        return path

    return make


@pytest.fixture(scope="session")
def sample_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded sample in 3-mers, in rows of 64 tokens that fit the small model."""
    out = tmp_path_factory.mktemp("sample") / "rows"
    prepare_genome(GenomeJob(fasta=(TRAIN_FASTA,), heldout_fasta=(HELDOUT_FASTA,), out=out, k=3, row_length=64))
    return out


@pytest.fixture(scope="session")
def trained_run(small_model: ModelConfig, sample_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps at a rate that takes every parameter away from where it began."""
    from dnabert_jax.training.loop import pretrain

    run = tmp_path_factory.mktemp("trained") / "run"
    optimizer = OptimizerConfig(peak_learning_rate=0.05, warmup_steps=1, schedule_steps=9)
    sizes = {"global_batch": 8, "steps": 3, "checkpoint_every": 1, "evaluation_rows": 8}
    pretrain(PretrainConfig(small_model, optimizer=optimizer, **sizes), sample_rows, run)
    return run


_COMMAND = """
import os, resource, sys

log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(log, 1)
os.dup2(log, 2)
if largest_file:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
import jax

jax.config.update("jax_num_cpu_devices", devices)
if largest_file:
    jax.config.update("jax_enable_compilation_cache", False)
import dnabert_jax.commands.distributed
from dnabert_jax.commands.cli import main

dnabert_jax.commands.distributed.HEARTBEAT_SECONDS = 15  # so that no test waits for the default
sys.argv = ["dnabert-jax", *arguments]

main()
"""


@dataclasses.dataclass(frozen=True)
class Started:
    """A process that runs a command."""

    process: Any
    log: Path

    def wait(self, seconds: float = 300) -> tuple[int, str]:
        """Exit status, that of a killed one negative, and all that was printed."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still running: {self.log.read_text()}"
        return self.process.exitcode, self.log.read_text()


def free_address() -> str:
    """HOST:PORT where a coordinator may listen."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Commands:
    """Runs `dnabert-jax` in real processes, forked from one that has loaded the libraries, which takes seconds."""

    def __init__(self, directory: Path):
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            ["dnabert_jax.training.loop", "dnabert_jax.tasks.suites.run", "dnabert_jax.commands.cli",
             "matplotlib.pyplot", "sklearn.linear_model", "tensorboardX"]
        )  # fmt: skip
        self._directory = directory
        self.started: list[Started] = []

    def start(self, arguments: list[str], devices: int = 8, largest_file: int = 0) -> Started:
        """Starts one, with CPU devices and a limit in bytes on the files that it writes, if not 0."""
        log = self._directory / f"{len(self.started)}.log"
        settings = {
            "arguments": arguments, "devices": devices, "output": str(log), "largest_file": largest_file,
        }  # fmt: skip
        process = self._context.Process(target=exec, args=(_COMMAND, settings))
        process.start()
        self.started.append(Started(process, log))
        return self.started[-1]

    def start_several(
        self, arguments: list[str], processes: int, devices: int = 8, own: list[list[str]] | None = None
    ) -> list[Started]:
        """Starts as many that share the devices, each with arguments of its own besides."""
        if processes == 1:
            return [self.start(arguments, devices)]
        own = own or [[]] * processes
        join = ["--distributed", "--coordinator", free_address(), "--processes", str(processes), "--process"]
        return [
            self.start([*arguments, *own[process], *join, str(process)], devices // processes)
            for process in range(processes)
        ]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """What starts real processes; none outlives the tests of a file."""
    commands = Commands(tmp_path_factory.mktemp("logs"))
    yield commands
    for started in commands.started:
        started.process.kill()
        started.process.join()


class Store(MemoryFileSystem):
    """fsspec's memory file system as `store://`, which fails, hangs or changes when told to.

    `trouble` has for a method's name what befalls its next calls: an exception to raise, one in a tuple to raise when
    the call is done, seconds to sleep, a function to call, or None; once it is used up, all is well again.
    """

    protocol = "store"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False
    trouble: ClassVar[dict[str, Iterator[Any]]] = {}

    def __getattribute__(self, name: str) -> Any:
        if name in type(self).trouble:
            event = next(type(self).trouble[name], None)
            if isinstance(event, Exception):
                raise event
            if isinstance(event, tuple):
                return self._answer_lost(super().__getattribute__(name), event[0])
            if callable(event):
                event()
            elif event:
                time.sleep(event)
        return super().__getattribute__(name)

    def _answer_lost(self, method: Callable[..., Any], error: Exception) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            method(*arguments, **settings)
            raise error

        return call


fsspec.register_implementation("store", Store)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Store]]:
    """An empty store, waited for briefly."""
    monkeypatch.setattr(storage, "PATIENCE", storage.Patience(attempts=3, seconds=5.0, pause=0.01))
    yield Store
    Store.trouble.clear()
    Store.store.clear()
    Store.pseudo_dirs[:] = [""]
