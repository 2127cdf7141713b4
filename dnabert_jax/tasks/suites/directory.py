"""The directory in which a suite's results come together, local or on a store: one file a set and model.

    evaluation.json         what is evaluated; what differs from it does not get in
    data/SET.json           digest of the files that its results are of
    METHOD/SET.json         a finished result; METHOD is one of METHODS
    vectors/SET.npz         what a probe reads of each sequence, by split, and the digest of the files they are of
    failures/METHOD/SET.json why there was none when it was last tried; it counts until there is one

Each file appears whole or not at all, so any number of processes may write here, and one that is stopped goes on where
it was.
"""

import dataclasses
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32

from dnabert_jax import storage
from dnabert_jax.errors import InputError
from dnabert_jax.storage import Location, is_url, join
from dnabert_jax.tasks.datasets.options import DataOptions
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.measures.results import Result
from dnabert_jax.tasks.suites.suite import METHODS, LabelledSet, Method, SuiteName
from dnabert_jax.typed_json import parse_json, to_json

MODELS = "models"
"""Where models are kept, if they are."""

_Record = TypeVar("_Record")
_DIGEST = "sha256"
_EVALUATION, _FAILURES, _DATA, _VECTORS = "evaluation.json", "failures", "data", "vectors"


@dataclasses.dataclass(frozen=True)
class Evaluation(DataOptions):
    """What is evaluated, and how each of its sets is read.

    Attributes:
        model: digest of the weights.
        same_settings: whether all sets are trained by these, whatever the suite's protocol says.
        limit: most training rows of a set; 0 for all.
    """

    suite: SuiteName
    model: str
    seeds: int
    settings: FinetuneConfig
    same_settings: bool = False
    limit: int = 0


@dataclasses.dataclass(frozen=True)
class _Data:
    """The digest of the files that the results of a set are of."""

    sha256: str


@dataclasses.dataclass(frozen=True)
class Failure:
    """The reason for which a set has no result."""

    reason: str


class SuiteResults:
    """The results of one evaluation."""

    def __init__(self, directory: Location, evaluation: Evaluation):
        self.directory = directory
        if not is_url(directory):
            Path(directory).mkdir(parents=True, exist_ok=True)
        # What a process has half written, or left so when it was killed, is nothing.
        present = [name for name in storage.names(directory) if not name.endswith(".partial")]
        if not present:
            storage.write(join(directory, _EVALUATION), to_json(evaluation).encode())
        elif _EVALUATION not in present:
            raise InputError(f"{directory} holds something else than results of a suite: choose another --out.")
        # Also of what was just written: another process may have begun at the same time, with something else.
        self._check(evaluation)
        self._done = {name for name in present if name.endswith((".json", ".npz")) and name != _EVALUATION}

    def has(self, method: Method, data: LabelledSet) -> bool:
        """Returns whether a result is there; raises InputError if it is of other data."""
        if f"{method}/{data.name}.json" not in self._done:
            return False
        if self._parse(_Data, f"{_DATA}/{data.name}.json").sha256 != data.digest():
            raise InputError(
                f"{data.path} is no longer what the results in {self.directory} are of: choose another --out, or "
                "remove its results."
            )
        return True

    def write(self, method: Method, result: Result, data: LabelledSet) -> None:
        """Writes a result of a set; it takes the place of a failure."""
        self._write(f"{_DATA}/{data.name}.json", to_json(_Data(data.digest())))
        self._write(f"{method}/{result.name}.json", to_json(result))

    def vectors(
        self, data: LabelledSet, compute: Callable[[], Mapping[str, Float32[np.ndarray, "n S P"]]]
    ) -> Mapping[str, Float32[np.ndarray, "n S P"]]:
        """Returns the vectors of each split of a set: those that were kept, or what is computed, which is kept."""
        name, digest = f"{_VECTORS}/{data.name}.npz", data.digest()
        if name in self._done:
            with np.load(io.BytesIO(storage.read(join(self.directory, name)))) as kept:
                found = dict(kept)
            if found.pop(_DIGEST).item() == digest:
                return found
        vectors, file = compute(), io.BytesIO()
        arrays: dict[str, Any] = {**vectors, _DIGEST: np.array(digest)}
        np.savez(file, **arrays)
        self._write(name, file.getvalue())
        return vectors

    def fail(self, method: Method, name: str, reason: str) -> None:
        """Notes why a set has no result. It is tried again the next time."""
        self._write(f"{_FAILURES}/{method}/{name}.json", to_json(Failure(reason)))

    def read(self) -> dict[Method, list[Result]]:
        """Returns all results that are there now, of other processes too, by method, in the order of their names."""
        names = [name for name in storage.names(self.directory) if name.endswith(".json")]
        results: dict[Method, list[Result]] = {
            method: [self._parse(Result, name) for name in names if name.startswith(f"{method}/")] for method in METHODS
        }
        return {method: read for method, read in results.items() if read}

    def failures(self) -> dict[str, str]:
        """Returns the reasons by METHOD/SET, of other processes too, of those that have no result."""
        present = storage.names(self.directory)
        failed = [name.removeprefix(f"{_FAILURES}/") for name in present if name.startswith(f"{_FAILURES}/")]
        return {
            name.removesuffix(".json"): self._parse(Failure, f"{_FAILURES}/{name}").reason
            for name in failed
            if name.endswith(".json") and name not in present
        }

    def _check(self, evaluation: Evaluation) -> None:
        old, new = (
            {**vars(each), **vars(each.settings)} for each in (self._parse(Evaluation, _EVALUATION), evaluation)
        )
        for name in new:
            if name != "settings" and old[name] != new[name]:
                raise InputError(
                    f"{self.directory} has results of another evaluation: its {name} is {old[name]}, now it is "
                    f"{new[name]}. Choose another --out, or evaluate as before."
                )

    def _write(self, name: str, content: str | bytes) -> None:
        location = join(self.directory, name)
        if not is_url(location):
            Path(location).parent.mkdir(parents=True, exist_ok=True)
        storage.write(location, content.encode() if isinstance(content, str) else content)
        self._done.add(name)

    def _parse(self, cls: type[_Record], name: str) -> _Record:
        location = join(self.directory, name)
        return parse_json(cls, storage.read(location), str(location))
