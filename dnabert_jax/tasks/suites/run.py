"""Runs a suite: sets are read as their turn comes, trained in lockstep with others, and written one by one.

The results come together in a directory, local or on a store: one file a set and model.

    evaluation.json         what is evaluated; what differs from it does not get in
    data/SET.json           digest of the files that its results are of
    METHOD/SET.json         a finished result; METHOD is one of METHODS
    vectors/SET.npz         what a probe reads of each sequence, by split, and the digest of the files they are of
    failures/METHOD/SET.json why there was none when it was last tried; it counts until there is one
    models/SET              the model of the best seed, if models are kept

Each file appears whole or not at all, so any number of processes may write here, and one that is stopped goes on where
it was.
"""

import dataclasses
import functools
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Float

from dnabert_jax import storage
from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError, device_memory_errors
from dnabert_jax.storage import Location, is_url, join
from dnabert_jax.tasks.baselines.baselines import BASELINES, baseline_scores
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.datasets.layout import DataOptions
from dnabert_jax.tasks.datasets.splits import count_duplicates, drop_duplicates, limit_training, read_splits
from dnabert_jax.tasks.finetuning.config import FinetuneConfig, FittingObserver
from dnabert_jax.tasks.finetuning.encoding import task_to_learn
from dnabert_jax.tasks.finetuning.finetune import RESAMPLES, finetune_sets, from_scratch, write_finetuned
from dnabert_jax.tasks.finetuning.probe import Vectors, embedded_set, fit_probe, forest_scores, probe_logits
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult, new_result
from dnabert_jax.tasks.suites.suite import METHODS, LabelledSet, Method, SuiteName, settings_of
from dnabert_jax.training.saved_model import DESCRIPTION_FILE, SavedModel
from dnabert_jax.typed_json import parse_json, to_json

_Record = TypeVar("_Record")
_EVALUATION = "evaluation.json"


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
class _Failure:
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
        saved = self._parse(Evaluation, _EVALUATION)
        old, new = ({**vars(each), **vars(each.settings)} for each in (saved, evaluation))
        for name in new:
            if name != "settings" and old[name] != new[name]:
                raise InputError(
                    f"{self.directory} has results of another evaluation: its {name} is {old[name]}, now it is "
                    f"{new[name]}. Choose another --out, or evaluate as before."
                )
        self._done = {name for name in present if name.endswith((".json", ".npz")) and name != _EVALUATION}

    def has(self, method: Method, data: LabelledSet) -> bool:
        """Returns whether a result is there; raises InputError if it is of other data."""
        if f"{method}/{data.name}.json" not in self._done:
            return False
        if self._parse(_Data, f"data/{data.name}.json").sha256 != data.digest():
            raise InputError(
                f"{data.path} is no longer what the results in {self.directory} are of: choose another --out, or "
                "remove its results."
            )
        return True

    def write(self, method: Method, result: Result, data: LabelledSet) -> None:
        """Writes a result of a set; it takes the place of a failure."""
        self._write(f"data/{data.name}.json", to_json(_Data(data.digest())))
        self._write(f"{method}/{result.name}.json", to_json(result))

    def vectors(self, data: LabelledSet, compute: Callable[[], Vectors]) -> Vectors:
        """Returns the vectors of each split of a set: those that were kept, or what is computed, which is kept."""
        name, digest = f"vectors/{data.name}.npz", data.digest()
        if name in self._done:
            with np.load(io.BytesIO(storage.read(join(self.directory, name)))) as file:
                saved = dict(file)
            if saved.pop("sha256").item() == digest:
                return saved
        vectors, written = compute(), io.BytesIO()
        arrays: dict[str, Any] = {**vectors, "sha256": np.array(digest)}
        np.savez(written, **arrays)
        self._write(name, written.getvalue())
        return vectors

    def fail(self, method: Method, name: str, reason: str) -> None:
        """Notes why a set has no result. It is tried again the next time."""
        self._write(f"failures/{method}/{name}.json", to_json(_Failure(reason)))

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
        failed = [name for name in present if name.startswith("failures/") and name.endswith(".json")]
        return {
            result.removesuffix(".json"): self._parse(_Failure, name).reason
            for name in failed
            if (result := name.removeprefix("failures/")) not in present
        }

    def _write(self, name: str, content: str | bytes) -> None:
        location = join(self.directory, name)
        if not is_url(location):
            Path(location).parent.mkdir(parents=True, exist_ok=True)
        storage.write(location, content.encode() if isinstance(content, str) else content)
        self._done.add(name)

    def _parse(self, cls: type[_Record], name: str) -> _Record:
        location = join(self.directory, name)
        return parse_json(cls, storage.read(location), str(location))


@dataclasses.dataclass
class SuiteRun:
    """One process's part of a suite."""

    model: SavedModel
    evaluation: Evaluation
    results: SuiteResults
    devices: Sequence[jax.Device]
    observer: FittingObserver
    keep_models: bool = False
    base_model: str = ""
    _sets: dict[str, LabelledSet] = dataclasses.field(default_factory=dict, init=False)

    def run(self, groups: Sequence[Sequence[LabelledSet]], methods: Sequence[Method]) -> None:
        """Evaluates groups of sets, one group after the other; what is done already is left alone.

        A set that cannot be read or trained is noted as a failure, and stops no other.

        Raises:
            StoreError: the results cannot be written.
        """
        for group in groups:
            self._sets = {data.name: data for data in group}
            wanted = {method: [data.name for data in group if not self.results.has(method, data)] for method in methods}
            for _ in range(len(group) * len(methods) - sum(map(len, wanted.values()))):
                self.observer.ended()
            read = self._read(wanted)
            for method, names in wanted.items():
                sets = {name: read[name] for name in names if name in read}
                if method in ("finetuned", "random"):
                    for settings, alike in self._alike(sets):
                        self._train(method, settings, alike)
                else:
                    for name, rows in sets.items():
                        try:
                            result = self._fitted(method, name, rows)
                        except (InputError, JobError) as error:
                            self._fail(method, name, error)
                        else:
                            self._write(method, result)

    def _read(self, wanted: Mapping[Method, Sequence[str]]) -> dict[str, LabelledData]:
        """Reads the sets of which a result is wanted, as `dnabert-jax finetune` does."""
        evaluation, seed, read = self.evaluation, self.evaluation.settings.seed, {}
        for name, each in self._sets.items():
            methods = [method for method, names in wanted.items() if name in names]
            if not methods:
                continue
            try:
                data = read_splits(each.path, self.model.config.tokenizer, evaluation, seed)
                data = count_duplicates(data)
                data = data if evaluation.keep_duplicates else drop_duplicates(data)
                read[name] = limit_training(data, evaluation.limit, seed) if evaluation.limit else data
            except InputError as error:
                for method in methods:
                    self._fail(method, name, error)
        return read

    def _alike(self, sets: Mapping[str, LabelledData]) -> list[tuple[FinetuneConfig, dict[str, LabelledData]]]:
        """Returns what may be trained in lockstep: of one problem, with equally many labels, by the same settings."""
        alike: dict[tuple[FinetuneConfig, TaskConfig], dict[str, LabelledData]] = {}
        for name, data in sets.items():
            settings = self.evaluation.settings
            if not self.evaluation.same_settings:
                settings = settings_of(self.evaluation.suite, name, settings)
            alike.setdefault((settings, task_to_learn(data, settings).without_names), {})[name] = data
        return [(settings, sets) for (settings, _), sets in alike.items()]

    def _train(self, method: Method, settings: FinetuneConfig, sets: dict[str, LabelledData]) -> None:
        model = from_scratch(self.model, settings) if method == "random" else self.model
        seeds = self.evaluation.seeds
        try:
            with device_memory_errors("use a smaller --batch-size, fewer sets --together, or fewer --seeds"):
                done = finetune_sets(model, sets, settings, seeds, self.devices, self.observer, None, self.base_model)
        except (InputError, JobError) as error:
            if len(sets) == 1:
                self._fail(method, next(iter(sets)), error)
                return
            # One of them is at fault: trained each by itself, all others get their result.
            for name, data in sets.items():
                self._train(method, settings, {name: data})
            return
        for name, trained in done.items():
            if method == "finetuned" and self.keep_models:
                directory = join(join(self.results.directory, "models"), name)
                # A process that was killed may have kept the model and not its result, which comes after.
                if DESCRIPTION_FILE not in storage.names(directory):
                    write_finetuned(directory, trained, self.model, sets[name], settings)
            self._write(method, trained.result)

    def _fitted(self, method: Method, name: str, data: LabelledData) -> Result:
        """Fits a baseline, or a probe of the model, with each seed, or once where nothing is random."""
        settings, begin = self.evaluation.settings, time.monotonic()
        seeds = range(settings.seed, settings.seed + self.evaluation.seeds)
        measured = functools.partial(self.observer.advanced, "compute intervals", total=RESAMPLES * len(seeds))
        baseline, results = BASELINES.get(method), []
        scores_of: Callable[[int], Float[np.ndarray, "n C"]] = (
            functools.partial(baseline_scores, method, data) if baseline else self._probe(method, name, data)
        )
        for seed in seeds if method in ("cnn", "probe-forest") else seeds[:1]:
            scores = scores_of(seed)
            seconds, labels = time.monotonic() - begin, data.splits["test"].labels
            metrics = measure(data.task, scores, labels, resamples=RESAMPLES, seed=seed, advance=measured)
            results.append(SeedResult(seed, seconds, metrics))
            begin = time.monotonic()
        if baseline:
            return new_result(name, baseline.description(data.task), data, tuple(results))
        model = f"{'random forest' if method == 'probe-forest' else 'regression'} on frozen vectors"
        return new_result(name, model, data, tuple(results), task_to_learn(data, settings), self.base_model)

    def _probe(self, method: Method, name: str, data: LabelledData) -> Callable[[int], Float[np.ndarray, "n C"]]:
        """Returns what fits a probe of the model with a seed, and returns its scores of the test split."""
        embedded, settings = functools.partial(self.observer.advanced, "embed"), self.evaluation.settings
        with device_memory_errors("use a smaller --batch-size"):
            vectors = self.results.vectors(
                self._sets[name], lambda: embedded_set(self.model, data, settings, self.devices, embedded)
            )
        if method == "probe-forest":
            return functools.partial(forest_scores, data, vectors)
        probe = fit_probe(data, settings.select_by, vectors)
        scores = data.task.kind.probabilities(probe_logits(probe, vectors["test"]))
        return lambda _: scores

    def _write(self, method: Method, result: Result) -> None:
        self.results.write(method, result, self._sets[result.name])
        self.observer.ended()

    def _fail(self, method: Method, name: str, error: InputError | JobError) -> None:
        self.results.fail(method, name, str(error))
        self.observer.ended(f"{method}, {name}: {error}")
