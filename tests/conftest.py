"""Tests run on eight CPU devices with the shapes of every signature checked at run time."""

import atexit
import os
import shutil
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
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

from jaxtyping import install_import_hook

# Before the packages are imported: the hook rewrites them as they load.
install_import_hook(["dnabert_jax", "data_prep"], "beartype.beartype")

import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, ClassVar  # noqa: E402

import fsspec  # noqa: E402
import pytest  # noqa: E402
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402

from data_prep.genome import prepare_genome  # noqa: E402
from data_prep.genome_job import GenomeJob  # noqa: E402
from dnabert_jax import storage  # noqa: E402
from dnabert_jax.config import ModelConfig  # noqa: E402
from dnabert_jax.sample import HELDOUT_FASTA, TRAIN_FASTA  # noqa: E402

SMALL_MODEL = ModelConfig(k=3, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=64, max_positions=64)


@pytest.fixture(scope="session")
def small_model() -> ModelConfig:
    """A network that runs in milliseconds, with dropout."""
    return SMALL_MODEL


@pytest.fixture(scope="session")
def sample_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded sample in 3-mers, in rows of 64 tokens that fit the small model."""
    out = tmp_path_factory.mktemp("sample") / "rows"
    prepare_genome(GenomeJob(fasta=(TRAIN_FASTA,), heldout_fasta=(HELDOUT_FASTA,), out=out, k=3, row_length=64))
    return out


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
