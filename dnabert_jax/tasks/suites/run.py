"""Runs a suite: sets are read as their turn comes, trained in lockstep with others, and written one by one."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import jax

from dnabert_jax import storage
from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError, device_memory_errors
from dnabert_jax.storage import Location, join
from dnabert_jax.tasks.baselines.baselines import run_baseline
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.datasets.splits import count_duplicates, drop_duplicates, limit_training, read_splits
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.encoding import task_to_learn
from dnabert_jax.tasks.finetuning.finetune import RESAMPLES, Finetuned, finetune_sets, from_scratch, write_finetuned
from dnabert_jax.tasks.finetuning.fitting import FittingObserver
from dnabert_jax.tasks.finetuning.probe import embedded_set, fit_probe, forest_scores, probe_logits
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult, new_result
from dnabert_jax.tasks.suites.directory import MODELS, Evaluation, SuiteResults
from dnabert_jax.tasks.suites.suite import LabelledSet, Method, settings_of
from dnabert_jax.training.saved_model import DESCRIPTION_FILE, SavedModel


@runtime_checkable
class SuiteObserver(FittingObserver, Protocol):
    """Is told what happens, for a progress bar."""

    def finished(self, method: Method, result: Result) -> None:
        """A result was written."""

    def skipped(self, method: Method, name: str) -> None:
        """A result was there already."""

    def failed(self, method: Method, name: str, reason: str) -> None:
        """A set has no result."""


@dataclasses.dataclass
class SuiteRun:
    """One process's part of a suite."""

    model: SavedModel
    evaluation: Evaluation
    results: SuiteResults
    devices: Sequence[jax.Device]
    observer: SuiteObserver
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
            self._sets = {each.name: each for each in group}
            wanted: dict[Method, list[str]] = {method: [] for method in methods}
            for method, names in wanted.items():
                for each in group:
                    if self.results.has(method, each):
                        self.observer.skipped(method, each.name)
                    else:
                        names.append(each.name)
            data = self._read(wanted)
            for method, names in wanted.items():
                sets = {name: data[name] for name in names if name in data}
                if method in ("finetuned", "random"):
                    for settings, alike in self._alike(sets):
                        self._train(method, settings, alike)
                else:
                    for name, rows in sets.items():
                        self._fit(method, name, rows)

    def _read(self, wanted: Mapping[Method, Sequence[str]]) -> dict[str, LabelledData]:
        """Reads the sets of which a result is wanted, as `dnabert-jax finetune` does."""
        evaluation, seed, read = self.evaluation, self.evaluation.settings.seed, {}
        for name, each in self._sets.items():
            methods = [method for method, names in wanted.items() if name in names]
            if not methods:
                continue
            try:
                data = read_splits(each.path, self.model.config.tokenizer, evaluation, seed)
                data = dataclasses.replace(data, notes=(*data.notes, *count_duplicates(data).sentences()))
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
                done = finetune_sets(
                    model, sets, settings, seeds, self.devices, self.observer, base_model=self.base_model
                )
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
                self._keep(join(join(self.results.directory, MODELS), name), trained, sets[name], settings)
            self._write(method, trained.result)

    def _keep(self, directory: Location, done: Finetuned, data: LabelledData, settings: FinetuneConfig) -> None:
        # A process that was killed may have kept the model and not its result, which comes after.
        if DESCRIPTION_FILE not in storage.names(directory):
            write_finetuned(directory, done, self.model, data, settings)

    def _fit(self, method: Method, name: str, data: LabelledData) -> None:
        """Fits a baseline, or a probe of the model."""
        seeds = range(self.evaluation.settings.seed, self.evaluation.settings.seed + self.evaluation.seeds)
        total = RESAMPLES * len(seeds)

        def measured(done: int) -> None:
            self.observer.advanced("compute intervals", done, total)

        try:
            if method in ("probe", "probe-forest"):
                result = self._probe(method, name, data, seeds, measured)
            else:
                result = run_baseline(method, data, name, seeds, resamples=RESAMPLES, advance=measured)
        except (InputError, JobError) as error:
            self._fail(method, name, error)
            return
        self._write(method, result)

    def _probe(
        self, method: Method, name: str, data: LabelledData, seeds: range, measured: Callable[[int], object]
    ) -> Result:
        begin = time.monotonic()
        embedded = functools.partial(self.observer.advanced, "embed")
        with device_memory_errors("use a smaller --batch-size"):
            vectors = self.results.vectors(
                self._sets[name],
                lambda: embedded_set(self.model, data, self.evaluation.settings, self.devices, embedded),
            )
        labels = {str(split): rows.labels for split, rows in data.splits.items()}
        results = []
        # Nothing is random in a regression.
        for seed in seeds if method == "probe-forest" else seeds[:1]:
            if method == "probe-forest":
                scores = forest_scores(data.task, vectors, labels, seed)
            else:
                probe = fit_probe(data.task, self.evaluation.settings.select_by, vectors, labels)
                scores = data.task.kind.probabilities(probe_logits(probe, vectors["test"]))
            seconds = time.monotonic() - begin
            metrics = measure(data.task, scores, labels["test"], resamples=RESAMPLES, seed=seed, advance=measured)
            results.append(SeedResult(seed, seconds, metrics))
            begin = time.monotonic()
        kind = "random forest" if method == "probe-forest" else "regression"
        task = task_to_learn(data, self.evaluation.settings)
        return new_result(name, f"{kind} on frozen vectors", data, tuple(results), task, self.base_model)

    def _write(self, method: Method, result: Result) -> None:
        self.results.write(method, result, self._sets[result.name])
        self.observer.finished(method, result)

    def _fail(self, method: Method, name: str, error: InputError | JobError) -> None:
        self.results.fail(method, name, str(error))
        self.observer.failed(method, name, str(error))
